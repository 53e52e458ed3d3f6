"""Divergences and entropies of policies at many states at once: exact ones, and estimates from the actions taken.

Closed forms of single laws are `mc.kl_divergence` and `mc.entropy`; here they run over leading axes. A squashed
Gaussian has none: `mc.estimate` of `mc.Expectation(lambda x: p.log_prob(x) - q.log_prob(x), p)` gives it with its
error bar.

Where a `mask` [...] of states or steps is given, the others are 0, whatever they hold, in value and gradient.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.distributions import Categorical, MultivariateNormal, Normal, entropy, kl_divergence
from mcengine.rl.inputs import (
    as_mask,
    require_finite,
    require_logits,
    require_positive,
    require_shapes,
    require_steps_or_one,
)

Steps = Float[Array, "*shape"]
ESTIMATORS = ("k1", "k2", "k3")


def categorical_kl(logits_p: ArrayLike, logits_q: ArrayLike, *, mask: Any = None) -> Steps:
    """KL(p || q) = sum_a p (log p - log q) over the last axis; logits need not be normalised, -inf is never taken.

    **Raises:** `ValueError` for logits that are no policy (NaN, +inf, -inf throughout), which give NaN inside a trace.
    """
    require_shapes("categorical_kl", jnp.shape(logits_p), logits_q=logits_q)
    p, q = _filled("categorical_kl", mask, (logits_p, logits_q), (0.0, 0.0))
    require_logits("categorical_kl", logits_p=p, logits_q=q)
    return _over(mask, lambda p, q: kl_divergence(Categorical(logits=p), Categorical(logits=q)), p, q)


def diagonal_gaussian_kl(
    loc_p: ArrayLike,
    scale_p: ArrayLike,
    loc_q: ArrayLike,
    scale_q: ArrayLike,
    *,
    mask: Any = None,
) -> Steps:
    """KL(N(loc_p, scale_p^2) || N(loc_q, scale_q^2)), independent coordinates along the last axis.

    **Raises:** `ValueError` for shapes that differ, a loc that is not finite and a scale that is not positive.
    """
    owner = "diagonal_gaussian_kl"
    require_shapes(owner, jnp.shape(loc_p), scale_p=scale_p, loc_q=loc_q, scale_q=scale_q)
    parameters = _filled(owner, mask, (loc_p, scale_p, loc_q, scale_q), (0.0, 1.0, 0.0, 1.0))
    require_finite(owner, loc_p=parameters[0], loc_q=parameters[2])
    require_positive(owner, scale_p=parameters[1], scale_q=parameters[3])
    return _over(mask, lambda *p: kl_divergence(Normal(*p[:2]), Normal(*p[2:])), *parameters)


def gaussian_kl(
    loc_p: ArrayLike,
    covariance_p: ArrayLike,
    loc_q: ArrayLike,
    covariance_q: ArrayLike,
    *,
    mask: Any = None,
) -> Steps:
    """KL(N(loc_p, covariance_p) || N(loc_q, covariance_q)); loc [..., d], covariance [..., d, d].

    **Raises:** `ValueError` for shapes that differ and what is not finite.
    """
    owner, shape = "gaussian_kl", jnp.shape(loc_p)
    require_shapes(owner, shape, loc_q=loc_q)
    require_shapes(owner, (*shape, *shape[-1:]), covariance_p=covariance_p, covariance_q=covariance_q)
    identity = jnp.eye(shape[-1]) if shape else 1.0
    parameters = _filled(owner, mask, (loc_p, covariance_p, loc_q, covariance_q), (0.0, identity, 0.0, identity))
    require_finite(owner, **dict(zip(("loc_p", "covariance_p", "loc_q", "covariance_q"), parameters, strict=True)))

    def of_one(*p: Array) -> Array:
        laws = [MultivariateNormal(loc, covariance=covariance) for loc, covariance in (p[:2], p[2:])]
        return kl_divergence(*laws)

    return _over(mask, of_one, *parameters)


def categorical_entropy(logits: ArrayLike, *, mask: Any = None) -> Steps:
    """-sum_a p log p over the last axis, in nats.

    **Raises:** `ValueError` for logits that are no policy (NaN, +inf, -inf throughout), which give NaN inside a trace.
    """
    (logits,) = _filled("categorical_entropy", mask, (logits,), (0.0,))
    require_logits("categorical_entropy", logits=logits)
    return _over(mask, lambda p: entropy(Categorical(logits=p)), logits)


def diagonal_gaussian_entropy(scale: ArrayLike, *, mask: Any = None) -> Steps:
    """Differential entropy of independent normals along the last axis.

    **Raises:** `ValueError` for a scale that is not positive.
    """
    (scale,) = _filled("diagonal_gaussian_entropy", mask, (scale,), (1.0,))
    require_positive("diagonal_gaussian_entropy", scale=scale)
    return _over(mask, lambda s: entropy(Normal(jnp.zeros_like(s), s)), scale)


def _filled(owner: str, mask: Any, parameters: tuple[Any, ...], fillers: tuple[Any, ...]) -> list[Array]:
    """Parameters of laws at many states, the first [..., d], with `fillers` at masked states: a law without NaN."""
    arrays = [jnp.asarray(x) for x in parameters]
    if arrays[0].ndim == 0:
        raise ValueError(f"{owner}: the parameters must have an axis of actions or coordinates, got one number.")
    if mask is None:
        return arrays
    mask = as_mask(owner, mask, arrays[0].shape[:-1])
    return [
        jnp.where(
            mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x, jnp.broadcast_to(filler, x.shape).astype(x.dtype)
        )
        for x, filler in zip(arrays, fillers, strict=True)
    ]


def _over(mask: Any, function: Callable[..., Array], *arrays: Array) -> Array:
    """A function of single states, at every leading index of the arrays, the first [..., d]; 0 where masked."""
    leading = arrays[0].shape[:-1]
    found = jax.vmap(function)(*(x.reshape(-1, *x.shape[len(leading) :]) for x in arrays)).reshape(leading)
    return found if mask is None else jnp.where(jnp.asarray(mask, bool), found, 0.0)


def kl_estimate(log_p: ArrayLike, log_q: ArrayLike, estimator: str = "k3", *, mask: Any = None) -> Steps:
    """An estimate of KL(q || p) from each x ~ q, with log r = log p - log q.

    - k1 = -log r: unbiased, of large variance (std / true = 20 where the means of two normals differ by 0.1);
    - k2 = (log r)^2 / 2: biased (.625 for .5 where they differ by 1);
    - k3 = r - 1 - log r: unbiased, never negative.

    A value to watch. As a loss its gradient is wrong for k1 and k3: use `kl_loss`.

    Source: Schulman, Approximating KL divergence (2020).
    """
    log_p, log_q = jnp.asarray(log_p), jnp.asarray(log_q)
    require_shapes("kl_estimate", log_p.shape, log_q=log_q)
    log_r = weights.log_ratio(_kept("kl_estimate", log_p, mask), _kept("kl_estimate", log_q, mask))
    if estimator == "k1":
        return -log_r
    if estimator == "k2":
        return 0.5 * log_r * log_r
    if estimator == "k3":
        return weights.excess_over_log(log_r)
    raise ValueError(f"kl_estimate: estimator must be one of {ESTIMATORS}, got {estimator!r}.")


def _kept(owner: str, steps: Array, mask: Any) -> Array:
    """0 where masked: what padding holds must not reach a gradient."""
    return steps if mask is None else jnp.where(as_mask(owner, mask, steps.shape), steps, 0.0)


def kl_loss(
    log_pi: ArrayLike,
    log_reference: ArrayLike,
    *,
    value: str = "k3",
    gradient: str = "k2",
    weight: ArrayLike | None = None,
    mask: Any = None,
) -> Steps:
    """KL(pi || reference) at every action taken by pi: the value of one estimator, the gradient of another.

    Through the samples' own log-probabilities, E[grad k1] = 0, E[grad k2] = grad KL(pi || reference), and E[grad k3] =
    grad KL(reference || pi): only k2 has the right one. Where another policy mu took the actions, give `weight`
    pi / mu (held fixed), [..., T] or [..., 1].

    **Raises:** `ValueError` for an unknown estimator and shapes that differ.
    """
    log_reference = lax.stop_gradient(jnp.asarray(log_reference))
    by_gradient = kl_estimate(log_reference, log_pi, gradient, mask=mask)
    by_value = kl_estimate(log_reference, lax.stop_gradient(log_pi), value, mask=mask)
    loss = by_gradient + (by_value - lax.stop_gradient(by_gradient))
    if weight is None:
        return loss
    weight = jnp.asarray(weight)
    require_steps_or_one("kl_loss", loss.shape, weight=weight)
    return _kept("kl_loss", jnp.broadcast_to(lax.stop_gradient(weight), loss.shape), mask) * loss


def entropy_estimate(log_pi: ArrayLike, *, mask: Any = None) -> Steps:
    """-log pi at every action taken by pi: the self-information, whose mean is the entropy and whose gradient is its.

    The gradient of the mean of -log pi by itself is 0 in expectation; here it is that of -(log pi)^2 / 2.
    """
    log_pi = _kept("entropy_estimate", jnp.asarray(log_pi), mask)
    by_gradient = -0.5 * log_pi * log_pi
    return by_gradient + lax.stop_gradient(-log_pi - by_gradient)
