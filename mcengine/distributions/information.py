"""Entropy, Kullback-Leibler divergence and self-information in closed form, in nats."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma, gammaln
from jaxtyping import Array, Float

from mcengine.distributions.categorical import Bernoulli, Categorical
from mcengine.distributions.exponential import Exponential
from mcengine.distributions.extreme_value import Gumbel
from mcengine.distributions.foreign import as_distribution
from mcengine.distributions.gamma import Gamma
from mcengine.distributions.lognormal import LogNormal
from mcengine.distributions.multivariate_normal import MultivariateNormal
from mcengine.distributions.normal import LOG_SQRT_2PI, Normal
from mcengine.distributions.poisson import Poisson
from mcengine.distributions.product import Product
from mcengine.distributions.special import deviance
from mcengine.distributions.uniform import Uniform
from mcengine.distributions.univariate import broadcast_parameters


def self_information(p: Any, x: Any) -> Float[Array, ""]:
    """-log p(x), the self-information of x, in nats; for a continuous p it depends on the unit of x."""
    return -as_distribution(p).log_prob(x)


def entropy(p: Any) -> Float[Array, ""]:
    """H(p) = E_p[-log p(X)], the mean self-information; for a continuous p the differential entropy, which may be < 0.

    **Raises:** `TypeError` for a family without a closed form here.
    """
    p = as_distribution(p)
    rule = _ENTROPIES.get(type(p))
    if rule is None:
        raise TypeError(
            f"entropy: no closed form for {type(p).__name__}; there is one for "
            f"{', '.join(family.__name__ for family in _ENTROPIES)}. Estimate it instead: "
            "mcengine.Expectation(lambda x: -p.log_prob(x), target=p)."
        )
    return rule(p)


def kl_divergence(p: Any, q: Any) -> Float[Array, ""]:
    """KL(p || q) = E_p[log p(X) - log q(X)] >= 0; infinite where q has no density and p has.

    For example KL(N(5, 1) || N(2, 1)) = 4.5, half the squared distance of the means in standard deviations.

    **Raises:** `TypeError` for a pair without a closed form here; `ValueError` for events that differ.
    """
    p, q = as_distribution(p), as_distribution(q)
    rule = _DIVERGENCES.get((type(p), type(q)))
    if rule is None:
        pairs = ", ".join(f"({a.__name__}, {b.__name__})" for a, b in _DIVERGENCES)
        raise TypeError(
            f"kl_divergence: no closed form for ({type(p).__name__}, {type(q).__name__}); there is one for {pairs}. "
            "Estimate it instead: mcengine.Expectation(lambda x: p.log_prob(x) - q.log_prob(x), target=p)."
        )
    return rule(p, q)


def _pairs(p_parameters: Sequence[Array], q_parameters: Sequence[Array]) -> tuple[Array, ...]:
    """The parameters of both distributions at the shape of the event, which must be the same."""
    p_parameters, q_parameters = broadcast_parameters(*p_parameters), broadcast_parameters(*q_parameters)
    if p_parameters[0].shape != q_parameters[0].shape:
        raise ValueError(
            f"kl_divergence: the events differ, p's have shape {p_parameters[0].shape}, q's {q_parameters[0].shape}."
        )
    return *p_parameters, *q_parameters


def _normal_entropy(p: Normal) -> Float[Array, ""]:
    _, scale = broadcast_parameters(p.loc, p.scale)
    return jnp.sum(0.5 + LOG_SQRT_2PI + jnp.log(scale))


def _multivariate_normal_entropy(p: MultivariateNormal) -> Float[Array, ""]:
    return p.loc.shape[0] * (0.5 + LOG_SQRT_2PI) + jnp.sum(jnp.log(jnp.diagonal(p.factor)))


def _lognormal_entropy(p: LogNormal) -> Float[Array, ""]:
    loc, scale = broadcast_parameters(p.loc, p.scale)
    return jnp.sum(loc) + _normal_entropy(Normal(loc, scale))


def _exponential_entropy(p: Exponential) -> Float[Array, ""]:
    return jnp.sum(1.0 - jnp.log(p.rate))


def _uniform_entropy(p: Uniform) -> Float[Array, ""]:
    lower, upper = broadcast_parameters(p.lower, p.upper)
    return jnp.sum(jnp.log(upper - lower))


def _gumbel_entropy(p: Gumbel) -> Float[Array, ""]:
    _, scale = broadcast_parameters(p.loc, p.scale)
    return jnp.sum(jnp.log(scale) + 1.0 + float(np.euler_gamma))


def _gamma_entropy(p: Gamma) -> Float[Array, ""]:
    a, rate = broadcast_parameters(p.shape, p.rate)
    return jnp.sum(a - jnp.log(rate) + gammaln(a) + (1.0 - a) * digamma(a))


def _categorical_entropy(p: Categorical) -> Float[Array, ""]:
    log_p = p.log_probabilities
    return -jnp.sum(_expected(log_p, log_p))


def _bernoulli_entropy(p: Bernoulli) -> Float[Array, ""]:
    log_p = _both_outcomes(p)
    return -jnp.sum(_expected(log_p, log_p))


def _product_entropy(p: Product) -> Float[Array, ""]:
    return sum((entropy(component) for component in p.components[1:]), start=entropy(p.components[0]))


def _normal_divergence(p: Normal, q: Normal) -> Float[Array, ""]:
    p_loc, p_scale, q_loc, q_scale = _pairs((p.loc, p.scale), (q.loc, q.scale))
    ratio = p_scale / q_scale
    return jnp.sum(0.5 * ((p_loc - q_loc) / q_scale) ** 2 + 0.5 * (ratio**2 - 1.0) - jnp.log(ratio))


def _lognormal_divergence(p: LogNormal, q: LogNormal) -> Float[Array, ""]:
    return _normal_divergence(Normal(p.loc, p.scale), Normal(q.loc, q.scale))


def _multivariate_normal_divergence(p: MultivariateNormal, q: MultivariateNormal) -> Float[Array, ""]:
    _pairs((p.loc,), (q.loc,))
    exact = jax.lax.Precision.HIGHEST
    relative = jnp.matmul(q.inverse, p.factor, precision=exact)
    distance = jnp.matmul(q.inverse, p.loc - q.loc, precision=exact)
    log_det = jnp.sum(jnp.log(jnp.diagonal(relative)))
    return 0.5 * (jnp.sum(distance**2) + jnp.sum(relative**2) - p.loc.shape[0]) - log_det


def _exponential_divergence(p: Exponential, q: Exponential) -> Float[Array, ""]:
    p_rate, q_rate = _pairs((p.rate,), (q.rate,))
    return jnp.sum(deviance(p_rate, q_rate) / p_rate)  # log(p/q) + q/p - 1


def _poisson_divergence(p: Poisson, q: Poisson) -> Float[Array, ""]:
    p_rate, q_rate = _pairs((p.rate,), (q.rate,))
    return jnp.sum(deviance(p_rate, q_rate))


def _gamma_divergence(p: Gamma, q: Gamma) -> Float[Array, ""]:
    a, a_rate, b, b_rate = _pairs((p.shape, p.rate), (q.shape, q.rate))
    ratio = b_rate / a_rate
    return jnp.sum((a - b) * digamma(a) - gammaln(a) + gammaln(b) - b * jnp.log(ratio) + a * (ratio - 1.0))


def _uniform_divergence(p: Uniform, q: Uniform) -> Float[Array, ""]:
    p_lower, p_upper, q_lower, q_upper = _pairs((p.lower, p.upper), (q.lower, q.upper))
    inside = (p_lower >= q_lower) & (p_upper <= q_upper)
    return jnp.sum(jnp.where(inside, jnp.log((q_upper - q_lower) / (p_upper - p_lower)), jnp.inf))


def _categorical_divergence(p: Categorical, q: Categorical) -> Float[Array, ""]:
    _pairs((p.logits,), (q.logits,))
    return _discrete_divergence(p.log_probabilities, q.log_probabilities)


def _bernoulli_divergence(p: Bernoulli, q: Bernoulli) -> Float[Array, ""]:
    _pairs((p.logits,), (q.logits,))
    return _discrete_divergence(_both_outcomes(p), _both_outcomes(q))


def _discrete_divergence(log_p: Float[Array, "*event k"], log_q: Float[Array, "*event k"]) -> Float[Array, ""]:
    return jnp.sum(_expected(log_p, log_p) - _expected(log_p, log_q))


def _both_outcomes(p: Bernoulli) -> Float[Array, "*event 2"]:
    return jnp.stack([jax.nn.log_sigmoid(-p.logits), jax.nn.log_sigmoid(p.logits)], axis=-1)


def _expected(log_p: Float[Array, "*event k"], values: Float[Array, "*event k"]) -> Float[Array, "*event k"]:
    """Each p times its value, 0 where p is 0, NaN where p is."""
    possible = log_p != -jnp.inf
    return jnp.where(possible, jnp.exp(log_p) * jnp.where(possible, values, 0.0), 0.0)


_ENTROPIES = {
    Normal: _normal_entropy,
    MultivariateNormal: _multivariate_normal_entropy,
    LogNormal: _lognormal_entropy,
    Exponential: _exponential_entropy,
    Uniform: _uniform_entropy,
    Gumbel: _gumbel_entropy,
    Gamma: _gamma_entropy,
    Categorical: _categorical_entropy,
    Bernoulli: _bernoulli_entropy,
    Product: _product_entropy,
}
_DIVERGENCES = {
    (Normal, Normal): _normal_divergence,
    (MultivariateNormal, MultivariateNormal): _multivariate_normal_divergence,
    (LogNormal, LogNormal): _lognormal_divergence,
    (Exponential, Exponential): _exponential_divergence,
    (Gamma, Gamma): _gamma_divergence,
    (Poisson, Poisson): _poisson_divergence,
    (Uniform, Uniform): _uniform_divergence,
    (Categorical, Categorical): _categorical_divergence,
    (Bernoulli, Bernoulli): _bernoulli_divergence,
}
