"""Divergences and entropies of policies at many states: exact ones, and estimates from the actions taken.

`mc.kl_divergence` and `mc.entropy` are the closed forms of single distributions; here they are mapped over leading
axes. A squashed Gaussian has no closed form: `mc.estimate` of `mc.Expectation(lambda x: p.log_prob(x) - q.log_prob(x),
p)` estimates its divergence with an error bar.

All functions take a `mask`, [...], of states or steps. Masked entries are 0 in value and gradient, whatever the
arguments hold there. All raise `ValueError`, naming the argument, for shapes that differ; inside `jit` only shapes are
checked.
"""

from collections.abc import Callable

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


def categorical_kl(logits_p: ArrayLike, logits_q: ArrayLike, *, mask: ArrayLike | None = None) -> Steps:
    """KL(p || q) = sum_a p (log p - log q) over the last axis, in nats.

    **Arguments:** `logits_p`, `logits_q`, [..., actions]; they need not be normalised, and -inf is probability 0.

    **Returns:** [...].

    **Raises:** `ValueError` for logits that define no policy (NaN, +inf, or -inf for every action); inside `jit` these
    give NaN.
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
    mask: ArrayLike | None = None,
) -> Steps:
    """KL(N(loc_p, scale_p^2) || N(loc_q, scale_q^2)) with independent coordinates, in nats.

    **Arguments:** all [..., d]; the scales are standard deviations.

    **Returns:** [...].

    **Raises:** `ValueError` for a loc that is not finite and a scale that is not positive.
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
    mask: ArrayLike | None = None,
) -> Steps:
    """KL(N(loc_p, covariance_p) || N(loc_q, covariance_q)), in nats.

    **Arguments:** `loc_p`, `loc_q`, [..., d]; `covariance_p`, `covariance_q`, [..., d, d].

    **Returns:** [...].

    **Raises:** `ValueError` for arguments that are not finite.
    """
    owner, shape = "gaussian_kl", jnp.shape(loc_p)
    require_shapes(owner, shape, loc_q=loc_q)
    require_shapes(owner, (*shape, *shape[-1:]), covariance_p=covariance_p, covariance_q=covariance_q)
    identity = jnp.eye(shape[-1]) if shape else 1.0
    parameters = _filled(owner, mask, (loc_p, covariance_p, loc_q, covariance_q), (0.0, identity, 0.0, identity))
    require_finite(owner, **dict(zip(("loc_p", "covariance_p", "loc_q", "covariance_q"), parameters, strict=True)))

    def of_one(*p: Array) -> Array:
        return kl_divergence(*(MultivariateNormal(loc, covariance=covariance) for loc, covariance in (p[:2], p[2:])))

    return _over(mask, of_one, *parameters)


def categorical_entropy(logits: ArrayLike, *, mask: ArrayLike | None = None) -> Steps:
    """-sum_a p log p over the last axis, in nats; arguments and errors as in `categorical_kl`."""
    (logits,) = _filled("categorical_entropy", mask, (logits,), (0.0,))
    require_logits("categorical_entropy", logits=logits)
    return _over(mask, lambda p: entropy(Categorical(logits=p)), logits)


def diagonal_gaussian_entropy(scale: ArrayLike, *, mask: ArrayLike | None = None) -> Steps:
    """Differential entropy of independent normals with standard deviations `scale`, [..., d], in nats.

    **Raises:** `ValueError` for a scale that is not positive.
    """
    (scale,) = _filled("diagonal_gaussian_entropy", mask, (scale,), (1.0,))
    require_positive("diagonal_gaussian_entropy", scale=scale)
    return _over(mask, lambda s: entropy(Normal(jnp.zeros_like(s), s)), scale)


def _filled(
    owner: str, mask: ArrayLike | None, parameters: tuple[ArrayLike, ...], fillers: tuple[ArrayLike, ...]
) -> list[Array]:
    """The parameters of distributions at many states, the first [..., d], with `fillers` at masked states.

    The fillers are parameters of a valid distribution, so that masked states produce no NaN.
    """
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


def _over(mask: ArrayLike | None, function: Callable[..., Array], *arrays: Array) -> Array:
    """A function of single states mapped over the leading axes of the arrays, the first [..., d]; 0 where masked."""
    leading = arrays[0].shape[:-1]
    found = jax.vmap(function)(*(x.reshape(-1, *x.shape[len(leading) :]) for x in arrays)).reshape(leading)
    return found if mask is None else jnp.where(jnp.asarray(mask, bool), found, 0.0)


def kl_estimate(log_p: ArrayLike, log_q: ArrayLike, estimator: str = "k3", *, mask: ArrayLike | None = None) -> Steps:
    """An estimate of KL(q || p) from each x ~ q, with log r = log p - log q.

    - k1 = -log r: unbiased, large variance (20 times the true value for unit normals whose means differ by 0.1).
    - k2 = (log r)^2 / 2: biased (0.625 instead of 0.5 for unit normals whose means differ by 1).
    - k3 = r - 1 - log r: unbiased and never negative.

    Use it to monitor a divergence. As a loss, k1 and k3 have a wrong gradient: use `kl_loss`.

    **Arguments:** `log_p`, `log_q`, [...]: log-probabilities of x under p and q; `estimator`: "k1", "k2" or "k3".

    **Raises:** `ValueError` for an unknown estimator.

    **Source:** J. Schulman, Approximating KL divergence (2020), joschu.net/blog/kl-approx.html.
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


def _kept(owner: str, steps: Array, mask: ArrayLike | None) -> Array:
    """The steps, 0 where masked, so that a NaN in the padding cannot reach the gradient."""
    return steps if mask is None else jnp.where(as_mask(owner, mask, steps.shape), steps, 0.0)


def kl_loss(
    log_pi: ArrayLike,
    log_reference: ArrayLike,
    *,
    value: str = "k3",
    gradient: str = "k2",
    weight: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> Steps:
    """KL(pi || reference) at every action taken by pi, with the value of one estimator and the gradient of another.

    If log pi of the samples is differentiated, E[grad k1] = 0, E[grad k2] = grad KL(pi || reference) and E[grad k3] =
    grad KL(reference || pi), so only k2 has the right gradient.

    **Arguments:**

    - `log_pi`, `log_reference`, [..., T]: log-probabilities of the actions taken; the reference is held fixed.
    - `value`, `gradient`: estimators as in `kl_estimate`.
    - `weight`, [..., T] or [..., 1]: pi / mu, held fixed, if another policy mu took the actions.

    **Raises:** `ValueError` for an unknown estimator.

    **Limits:** k3 overflows in float32, and the loss is NaN, where log reference - log pi is above 88.
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


def entropy_estimate(log_pi: ArrayLike, *, mask: ArrayLike | None = None) -> Steps:
    """-log pi at every action taken by pi: its mean is an estimate of the entropy, with the entropy's gradient.

    Plain -log pi has an expected gradient of 0; here the gradient is that of -(log pi)^2 / 2.

    **Arguments:** `log_pi`, [...]: log-probabilities of the actions taken.
    """
    log_pi = _kept("entropy_estimate", jnp.asarray(log_pi), mask)
    by_gradient = -0.5 * log_pi * log_pi
    return by_gradient + lax.stop_gradient(-log_pi - by_gradient)
