"""Cumulant generating functions, K(t) = log E[exp(t . X)]."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.distributions import (
    Affine,
    Bernoulli,
    Categorical,
    Distribution,
    Exponential,
    Gamma,
    GeneralisedPareto,
    LogNormal,
    Mixture,
    MultivariateNormal,
    Normal,
    Poisson,
    Product,
    StudentT,
    Weibull,
    as_distribution,
)
from mcengine.distributions.foreign import family_name
from mcengine.distributions.triangular import product
from mcengine.distributions.univariate import broadcast_parameters
from mcengine.numerics.values import Parameter, concrete
from mcengine.proposals.event_arguments import of_event_shape, split_event


def cumulant_generating(distribution: Any, tilt: Parameter) -> Float[Array, ""]:
    """K(tilt) = log E[exp(tilt . X)], in closed form; its first two derivatives are the tilted mean and variance.

    **Arguments:** `distribution`, as in `tilted`, but not a `Uniform` or a `Truncated`; `tilt`, a scalar or an array of
    the event's shape.

    **Raises:** as `tilted`; `TypeError` for a family without a closed form here.
    """
    distribution = as_distribution(distribution)
    refuse_heavy_tails(distribution)
    cumulant = _CUMULANTS.get(type(distribution))
    if cumulant is None:
        names = ", ".join(family.__name__ for family in _CUMULANTS)
        raise TypeError(
            f"cumulant_generating: no closed form for {family_name(distribution)}; there is one for {names}."
        )
    return cumulant(distribution, tilt)


def refuse_heavy_tails(distribution: Distribution) -> None:
    """Raise for distributions whose moment generating function is infinite for every positive tilt."""
    family = type(distribution).__name__
    if isinstance(distribution, StudentT | LogNormal):
        heavy = True
    elif isinstance(distribution, GeneralisedPareto):
        known = concrete(distribution.shape)
        heavy = known is not None and bool(np.any(known > 0))
    elif isinstance(distribution, Weibull):
        known = concrete(distribution.shape)
        heavy = known is not None and bool(np.any(known < 1))
    else:
        heavy = False
    if heavy:
        raise ValueError(
            f"tilted: the moment generating function of {family} does not exist (its tail is heavier than "
            "exponential), so it cannot be tilted. Use mcengine.proposals.shifted, scaled or defensive."
        )


def check_below(family: str, bound_name: str, tilt: Float[Array, "..."], bound: Float[Array, "..."]) -> None:
    """Raise where a concrete tilt reaches the bound beyond which the moment generating function is infinite."""
    known_tilt, known_bound = concrete(tilt), concrete(bound)
    if known_tilt is not None and known_bound is not None and not np.all(known_tilt < known_bound):
        raise ValueError(
            f"tilted: {family} has a moment generating function only for tilt < {bound_name} = {known_bound}, "
            f"got tilt = {known_tilt}."
        )


def as_tilt(distribution: Distribution, tilt: Parameter) -> Float[Array, "..."]:
    """The tilt at the event's shape."""
    return of_event_shape("tilted: tilt", distribution, tilt)


def tilted_logits(p: Categorical, tilt: Parameter) -> Float[Array, "..."]:
    """log p_j + tilt j for category j: unnormalised log-probabilities of the tilted distribution."""
    t = as_tilt(p, tilt)[..., None]
    numbers = jnp.arange(p.logits.shape[-1], dtype=t.dtype)
    return p.log_probabilities + t * numbers.reshape((1,) * (t.ndim - 1) + numbers.shape)


def mixture_terms(p: Mixture, tilt: Parameter) -> Float[Array, " k"]:
    """log weight_k + K_k(tilt): how much of the tilted mass comes from each component."""
    cumulants = jnp.stack([cumulant_generating(component, tilt) for component in p.components])
    positive = p.weights > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, p.weights, 1.0)) + cumulants, -jnp.inf)


def inner_tilt(p: Affine, tilt: Parameter) -> Float[Array, "..."]:
    """The tilt of Y that tilts loc + scale Y."""
    t = as_tilt(p, tilt)
    return t * p.scale if p.factor is None else product(p.factor.T, t)


def _normal_cumulant(p: Normal, tilt: Parameter) -> Float[Array, ""]:
    loc, scale = broadcast_parameters(p.loc, p.scale)
    t = as_tilt(p, tilt)
    return jnp.sum(t * (loc + 0.5 * t * scale**2))


def _multivariate_normal_cumulant(p: MultivariateNormal, tilt: Parameter) -> Float[Array, ""]:
    t = as_tilt(p, tilt)
    return jnp.sum(t * p.loc) + 0.5 * jnp.sum(product(p.factor.T, t) ** 2)


def _exponential_cumulant(p: Exponential, tilt: Parameter) -> Float[Array, ""]:
    t = as_tilt(p, tilt)
    check_below("Exponential", "rate", t, p.rate)
    return -jnp.sum(jnp.log1p(-t / p.rate))


def _gamma_cumulant(p: Gamma, tilt: Parameter) -> Float[Array, ""]:
    shape, rate = broadcast_parameters(p.shape, p.rate)
    t = as_tilt(p, tilt)
    check_below("Gamma", "rate", t, rate)
    return -jnp.sum(shape * jnp.log1p(-t / rate))


def _poisson_cumulant(p: Poisson, tilt: Parameter) -> Float[Array, ""]:
    return jnp.sum(p.rate * jnp.expm1(as_tilt(p, tilt)))


def _bernoulli_cumulant(p: Bernoulli, tilt: Parameter) -> Float[Array, ""]:
    return jnp.sum(jax.nn.softplus(p.logits + as_tilt(p, tilt)) - jax.nn.softplus(p.logits))


def _categorical_cumulant(p: Categorical, tilt: Parameter) -> Float[Array, ""]:
    return jnp.sum(jax.nn.logsumexp(tilted_logits(p, tilt), axis=-1))


def _product_cumulant(p: Product, tilt: Parameter) -> Float[Array, ""]:
    parts = split_event("tilted: tilt", p, tilt)
    total = jnp.asarray(0.0, parts[0].dtype)
    for component, part in zip(p.components, parts, strict=True):
        total = total + cumulant_generating(component, part)
    return total


def _mixture_cumulant(p: Mixture, tilt: Parameter) -> Float[Array, ""]:
    return jax.nn.logsumexp(mixture_terms(p, tilt)) - jnp.log(jnp.sum(p.weights))


def _affine_cumulant(p: Affine, tilt: Parameter) -> Float[Array, ""]:
    return jnp.sum(as_tilt(p, tilt) * p.loc) + cumulant_generating(p.distribution, inner_tilt(p, tilt))


_CUMULANTS = {
    Normal: _normal_cumulant,
    MultivariateNormal: _multivariate_normal_cumulant,
    Exponential: _exponential_cumulant,
    Gamma: _gamma_cumulant,
    Poisson: _poisson_cumulant,
    Bernoulli: _bernoulli_cumulant,
    Categorical: _categorical_cumulant,
    Product: _product_cumulant,
    Mixture: _mixture_cumulant,
    Affine: _affine_cumulant,
}
