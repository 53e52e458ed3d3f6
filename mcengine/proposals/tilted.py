"""Exponential tilting: of all distributions with a given mean of tilt . x, the one closest to the target (in KL)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from mcengine.distributions import (
    Affine,
    Bernoulli,
    Categorical,
    Distribution,
    Exponential,
    Gamma,
    Mixture,
    MultivariateNormal,
    Normal,
    Poisson,
    Product,
    Truncated,
    Uniform,
    as_distribution,
)
from mcengine.distributions.foreign import family_name
from mcengine.distributions.triangular import product
from mcengine.distributions.univariate import broadcast_parameters
from mcengine.numerics.values import Parameter
from mcengine.proposals.cumulants import (
    as_tilt,
    check_below,
    inner_tilt,
    mixture_terms,
    refuse_heavy_tails,
    tilted_logits,
)
from mcengine.proposals.event_arguments import split_event


def tilted(distribution: Any, tilt: Parameter) -> Distribution:
    """q(x) = p(x) exp(tilt . x - K(tilt)), K(tilt) = log E_p[exp(tilt . X)], again as a distribution.

    log w = log p - log q = K(tilt) - tilt . x is bounded above wherever tilt . x is bounded below, as it is on the tail
    {tilt . x >= threshold}. The mean of q is K'(tilt), so choose the tilt with K'(tilt) = threshold.

    **Arguments:** `distribution`, a Normal, MultivariateNormal, Exponential, Gamma, Poisson, Bernoulli, Categorical or
    Uniform, or a Product, Mixture, Affine or Truncated one of those; `tilt`, a scalar or an array of the event's shape.

    **Raises:** `ValueError` for distributions with heavy tails, whose K is infinite, and for a tilt at which K is
    infinite; `TypeError` for other families.
    """
    distribution = as_distribution(distribution)
    refuse_heavy_tails(distribution)
    rule = _RULES.get(type(distribution))
    if rule is None:
        names = ", ".join(family.__name__ for family in _RULES)
        raise TypeError(f"tilted: {family_name(distribution)} cannot be tilted; {names} can.")
    return rule(distribution, tilt)


def _normal(p: Normal, tilt: Parameter) -> Normal:
    loc, scale = broadcast_parameters(p.loc, p.scale)
    return Normal(loc + as_tilt(p, tilt) * scale**2, scale)


def _multivariate_normal(p: MultivariateNormal, tilt: Parameter) -> MultivariateNormal:
    moved = p.loc + product(p.factor, product(p.factor.T, as_tilt(p, tilt)))
    return eqx.tree_at(lambda d: d.loc, p, moved)  # keeps the inverse factor, which is expensive


def _exponential(p: Exponential, tilt: Parameter) -> Exponential:
    t = as_tilt(p, tilt)
    check_below("Exponential", "rate", t, p.rate)
    return Exponential(p.rate - t)


def _gamma(p: Gamma, tilt: Parameter) -> Gamma:
    shape, rate = broadcast_parameters(p.shape, p.rate)
    t = as_tilt(p, tilt)
    check_below("Gamma", "rate", t, rate)
    return Gamma(shape, rate - t)


def _poisson(p: Poisson, tilt: Parameter) -> Poisson:
    return Poisson(p.rate * jnp.exp(as_tilt(p, tilt)))


def _bernoulli(p: Bernoulli, tilt: Parameter) -> Bernoulli:
    return Bernoulli(logits=p.logits + as_tilt(p, tilt))


def _categorical(p: Categorical, tilt: Parameter) -> Categorical:
    return Categorical(logits=tilted_logits(p, tilt))


def _uniform(p: Uniform, tilt: Parameter) -> Affine:
    lower, upper = broadcast_parameters(p.lower, p.upper)
    t = as_tilt(p, tilt)
    # Exponential decay from the end with the larger density; a rate of 0 is replaced by one without effect.
    rate = jnp.maximum(jnp.abs(t), 1e-6 / (upper - lower))
    decay = Truncated(Exponential(rate), jnp.zeros_like(rate), upper - lower)
    return Affine(decay, jnp.where(t > 0, upper, lower), jnp.where(t > 0, -1.0, 1.0))


def _product(p: Product, tilt: Parameter) -> Product:
    parts = split_event("tilted: tilt", p, tilt)
    return Product([tilted(component, part) for component, part in zip(p.components, parts, strict=True)])


def _mixture(p: Mixture, tilt: Parameter) -> Mixture:
    return Mixture([tilted(component, tilt) for component in p.components], jax.nn.softmax(mixture_terms(p, tilt)))


def _affine(p: Affine, tilt: Parameter) -> Affine:
    return Affine(tilted(p.distribution, inner_tilt(p, tilt)), p.loc, p.scale, factor=p.factor)


def _truncated(p: Truncated, tilt: Parameter) -> Truncated:
    return Truncated(tilted(p.distribution, tilt), p.lower, p.upper)


_RULES = {
    Normal: _normal,
    MultivariateNormal: _multivariate_normal,
    Exponential: _exponential,
    Gamma: _gamma,
    Poisson: _poisson,
    Bernoulli: _bernoulli,
    Categorical: _categorical,
    Uniform: _uniform,
    Product: _product,
    Mixture: _mixture,
    Affine: _affine,
    Truncated: _truncated,
}
