"""Log-weights and every operation on them that importance sampling and policy gradients need.

This is the only file where exp(log p - log q) is written. All functions are elementwise or act along the last axis,
take any array of log-ratios, and stay in log space until `from_log`.

Source for truncation: Ionides (2008), JCGS 17, 295-311. For smoothing: Vehtari et al. (2024), JMLR 25.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax, nn
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import numerics
from mcengine.weights import pareto_tail


def log_ratio(log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log w = log p - log q; -inf where p = 0 (whatever q), +inf where q = 0 and p > 0.

    A sample with log w = +inf was drawn where the proposal's density is 0: the engine counts it as non-finite.
    """
    absent = log_p == -jnp.inf
    # Masked on both branches: -inf minus -inf is NaN, in the value or in the gradient.
    return jnp.where(absent, -jnp.inf, jnp.where(absent, 0.0, log_p) - jnp.where(absent, 0.0, log_q))


def log_ratio_of_drawn(log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log w = log p - log q of samples that q has drawn, so that q > 0: -inf where p = 0.

    Without the masks of `log_ratio`: the gradient along log p is finite wherever the gradient along log w is. Where q
    is 0 after all, the result is inf or NaN.
    """
    return log_p - log_q


def from_log(log_w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """w = exp(log w). The last step of every estimator, never an earlier one."""
    return jnp.exp(log_w)


def excess_over_log(log_w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """w - 1 - log w >= 0, exact where w is near 1, where w - 1 rounds to 0. Its mean under q is KL(q || p)."""
    return jnp.expm1(log_w) - log_w


def mantissa_and_exponent(log_w: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """(t, m) with w = t 2^m, m whole and t in [.70, 1.42], so that columns of any scale share one exponential."""
    exponent = lax.stop_gradient(jnp.round(log_w * numerics.LOG2_E))
    return from_log(numerics.minus_log_2_times(log_w, exponent)), exponent


def log_mean(log_w: Float[Array, "*shape n"]) -> Float[Array, "*shape"]:
    """log of the mean weight along the last axis; 0 in expectation where p and q are both normalised."""
    return nn.logsumexp(log_w, axis=-1) - jnp.log(jnp.asarray(log_w.shape[-1], log_w.dtype))


def normalised(log_w: Float[Array, "*shape n"]) -> Float[Array, "*shape n"]:
    """Log-weights shifted so that the weights sum to 1 along the last axis; all -inf where all weights are 0."""
    total = nn.logsumexp(log_w, axis=-1, keepdims=True)
    return jnp.where(total > -jnp.inf, log_w - jnp.where(total > -jnp.inf, total, 0.0), -jnp.inf)


def truncated(log_w: Float[Array, "*shape"], log_limit: ArrayLike) -> Float[Array, "*shape"]:
    """min(w, limit), in logs. Biased towards 0 by E_q[(w - limit)+ f]; limit = sqrt(n) makes that vanish with n."""
    return jnp.minimum(log_w, log_limit)


def clipped(log_w: Float[Array, "*shape"], log_low: ArrayLike, log_high: ArrayLike) -> Float[Array, "*shape"]:
    """clip(w, low, high), in logs. Raises small weights too, so w = 0 (log w = -inf) becomes `low`."""
    return jnp.clip(log_w, log_low, log_high)


def pareto_smoothed(
    log_w: ArrayLike | Sequence, count: ArrayLike | Sequence | None = None
) -> tuple[Float[Array, "*shape n"], Float[Array, "*shape"]]:
    """Log-weights whose largest values are replaced by smoothed ones, and their k-hat.

    The largest M = `pareto_tail.tail_size(n)` weights become the quantiles (i - 1/2)/M of the generalised Pareto
    distribution fitted to them, capped at the largest raw weight.

    **Arguments:**

    - `log_w`: shape [..., n];
    - `count`: how many entries are not padding (-inf), one number or shape [...]; by default n.

    **Returns:** smoothed log-weights [..., n] and k-hat [...], which is NaN where there is no tail to fit.

    **Raises:** `ValueError` where `log_w` is a single number.
    """
    log_w = jnp.asarray(log_w)
    log_w = log_w if jnp.issubdtype(log_w.dtype, jnp.floating) else log_w.astype(float)
    if log_w.ndim == 0:
        raise ValueError(f"pareto_smoothed: log_w must have an axis of samples, got the number {log_w}.")
    return pareto_tail.smooth(log_w, jnp.asarray(log_w.shape[-1] if count is None else count))


def effective_sample_size(log_w: Float[Array, "*shape n"]) -> Float[Array, "*shape"]:
    """ESS = (sum w)^2 / sum w^2 along the last axis (Kong 1992): n for equal weights, 1 where one weight is all."""
    return jnp.exp(2.0 * nn.logsumexp(log_w, axis=-1) - nn.logsumexp(2.0 * log_w, axis=-1))


def largest_share(log_w: Float[Array, "*shape n"]) -> Float[Array, "*shape"]:
    """max w / sum w along the last axis."""
    return jnp.exp(jnp.max(log_w, axis=-1) - nn.logsumexp(log_w, axis=-1))


def k_hat(log_w: ArrayLike | Sequence) -> Float[Array, "..."]:
    """Pareto tail index of the weights along the last axis: above 0.5 the variance is infinite, above 0.7 error bars
    are useless."""
    return pareto_smoothed(log_w)[1]
