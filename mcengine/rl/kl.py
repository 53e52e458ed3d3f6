"""Divergences and entropies of policies at many states at once: exact ones, and estimates from the actions taken.

Closed forms of single laws are `mc.kl_divergence` and `mc.entropy`; here they run over leading axes. A squashed
Gaussian has none: `mc.estimate` of `mc.Expectation(lambda x: p.log_prob(x) - q.log_prob(x), p)` gives it with its
error bar.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.distributions import Categorical, MultivariateNormal, Normal, entropy, kl_divergence
from mcengine.rl.inputs import require_shapes

Steps = Float[Array, "*shape"]
ESTIMATORS = ("k1", "k2", "k3")


def categorical_kl(logits_p: ArrayLike, logits_q: ArrayLike) -> Steps:
    """KL(p || q) = sum_a p (log p - log q) over the last axis; logits need not be normalised, -inf is never taken."""
    require_shapes("categorical_kl", jnp.shape(logits_p), logits_q=logits_q)
    return _over(1, lambda p, q: kl_divergence(Categorical(logits=p), Categorical(logits=q)), logits_p, logits_q)


def diagonal_gaussian_kl(
    loc_p: ArrayLike,
    scale_p: ArrayLike,
    loc_q: ArrayLike,
    scale_q: ArrayLike,
) -> Steps:
    """KL(N(loc_p, scale_p^2) || N(loc_q, scale_q^2)), independent coordinates along the last axis."""
    require_shapes("diagonal_gaussian_kl", jnp.shape(loc_p), scale_p=scale_p, loc_q=loc_q, scale_q=scale_q)
    return _over(1, lambda *p: kl_divergence(Normal(*p[:2]), Normal(*p[2:])), loc_p, scale_p, loc_q, scale_q)


def gaussian_kl(
    loc_p: ArrayLike,
    covariance_p: ArrayLike,
    loc_q: ArrayLike,
    covariance_q: ArrayLike,
) -> Steps:
    """KL(N(loc_p, covariance_p) || N(loc_q, covariance_q))."""
    require_shapes("gaussian_kl", jnp.shape(loc_p), loc_q=loc_q)
    require_shapes("gaussian_kl", jnp.shape(covariance_p), covariance_q=covariance_q)

    def of_one(*p: Array) -> Array:
        laws = [MultivariateNormal(loc, covariance=covariance) for loc, covariance in (p[:2], p[2:])]
        return kl_divergence(*laws)

    leading = jnp.ndim(loc_p) - 1
    parameters = (jnp.asarray(x) for x in (loc_p, covariance_p, loc_q, covariance_q))
    return jax.vmap(of_one)(*(x.reshape(-1, *x.shape[leading:]) for x in parameters)).reshape(jnp.shape(loc_p)[:-1])


def categorical_entropy(logits: ArrayLike) -> Steps:
    """-sum_a p log p over the last axis, in nats."""
    return _over(1, lambda p: entropy(Categorical(logits=p)), logits)


def diagonal_gaussian_entropy(scale: ArrayLike) -> Steps:
    """Differential entropy of independent normals along the last axis."""
    return _over(1, lambda s: entropy(Normal(jnp.zeros_like(s), s)), scale)


def _over(axes: int, function: Any, *arrays: Any) -> Array:
    """A function of single events, at every leading index."""
    shape = jnp.shape(arrays[0])
    flat = [jnp.reshape(x, (-1, *shape[len(shape) - axes :])) for x in arrays]
    return jax.vmap(function)(*flat).reshape(shape[: len(shape) - axes])


def kl_estimate(log_p: ArrayLike, log_q: ArrayLike, estimator: str = "k3") -> Steps:
    """An estimate of KL(q || p) from each x ~ q, with log r = log p - log q.

    - k1 = -log r: unbiased, of large variance (std / true = 20 where the means of two normals differ by 0.1);
    - k2 = (log r)^2 / 2: biased (.625 for .5 where they differ by 1);
    - k3 = r - 1 - log r: unbiased, never negative.

    A value to watch. As a loss its gradient is wrong for k1 and k3: use `kl_loss`.

    Source: Schulman, Approximating KL divergence (2020).
    """
    log_p, log_q = jnp.asarray(log_p), jnp.asarray(log_q)
    require_shapes("kl_estimate", log_p.shape, log_q=log_q)
    log_r = weights.log_ratio(log_p, log_q)
    if estimator == "k1":
        return -log_r
    if estimator == "k2":
        return 0.5 * log_r * log_r
    if estimator == "k3":
        # expm1: r - 1 rounds to 0 where the policies are close.
        return jnp.expm1(log_r) - log_r
    raise ValueError(f"kl_estimate: estimator must be one of {ESTIMATORS}, got {estimator!r}.")


def kl_loss(
    log_pi: ArrayLike,
    log_reference: ArrayLike,
    *,
    value: str = "k3",
    gradient: str = "k2",
    weight: ArrayLike | None = None,
) -> Steps:
    """KL(pi || reference) at every action taken by pi: the value of one estimator, the gradient of another.

    Through the samples' own log-probabilities, E[grad k1] = 0, E[grad k2] = grad KL(pi || reference), and E[grad k3] =
    grad KL(reference || pi): only k2 has the right one. Where another policy mu took the actions, give `weight`
    pi / mu (held fixed).

    **Raises:** `ValueError` for an unknown estimator and shapes that differ.
    """
    log_reference = lax.stop_gradient(jnp.asarray(log_reference))
    by_gradient = kl_estimate(log_reference, log_pi, gradient)
    by_value = kl_estimate(log_reference, lax.stop_gradient(log_pi), value)
    loss = by_gradient + (by_value - lax.stop_gradient(by_gradient))
    return loss if weight is None else lax.stop_gradient(jnp.asarray(weight)) * loss


def entropy_estimate(log_pi: ArrayLike) -> Steps:
    """-log pi at every action taken by pi: the self-information, whose mean is the entropy and whose gradient is its.

    The gradient of the mean of -log pi by itself is 0 in expectation; here it is that of -(log pi)^2 / 2.
    """
    log_pi = jnp.asarray(log_pi)
    by_gradient = -0.5 * log_pi * log_pi
    return by_gradient + lax.stop_gradient(-log_pi - by_gradient)
