"""The fit of a generalised Pareto distribution to the largest weights, for k-hat and Pareto smoothing.

Source: Zhang and Stephens (2009), Technometrics 51, 316-325; Vehtari, Simpson, Gelman, Yao and Gabry (2024), JMLR 25,
"Pareto smoothed importance sampling", appendix C, with its prior of weight 10 at k = 1/2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Real

from mcengine.numerics.arrays import AnyArray, AnyScalar, namespace

# A tail of fewer points is not fitted.
MIN_TAIL = 5
# The prior of k: as if so many points had shown this k.
_PRIOR_WEIGHT, _PRIOR_K = 10.0, 0.5


def tail_size(num_values: Real[AnyScalar, "*shape"] | float) -> Int[AnyScalar, "*shape"]:
    """How many of the largest of S values form the tail: floor(3 sqrt(S)), or floor(S / 5) for S <= 225.

    Vehtari et al. write ceil(min(S / 5, 3 sqrt(S))); `arviz_stats` 0.8, with which k-hat should agree, rounds down.
    """
    xp = namespace(num_values)
    s = xp.asarray(num_values, dtype=xp.result_type(float))
    return xp.floor(xp.where(s > 225, 3.0 * xp.sqrt(s), s / 5.0)).astype(int)


def fit(
    excess: Float[AnyArray, "*shape tail"], count: Int[AnyArray, "*shape"]
) -> tuple[Float[AnyScalar, "*shape"], Float[AnyScalar, "*shape"]]:
    """Shape k and scale sigma of the generalised Pareto distribution fitted to the first `count` entries of `excess`.

    **Arguments:**

    - `excess`: values minus the cutoff, in *descending* order, padded at the end;
    - `count`: how many entries are not padding; may be traced.

    **Returns:** (k, sigma), where k includes its prior.
    """
    xp, length = namespace(excess), excess.shape[-1]
    num = xp.asarray(count, dtype=excess.dtype)[..., None]
    inside = xp.arange(length) < count[..., None]
    x = xp.where(inside, excess, 0.0)
    # In ascending order, element floor(n/4 + 1/2) of n, counted from 1.
    index = xp.clip(count[..., None] - xp.floor(num / 4.0 + 0.5).astype(int), 0, length - 1)
    quartile, largest = xp.take_along_axis(x, index, axis=-1), x[..., :1]
    grid_size = 30 + int(np.sqrt(length))
    num_grid = 30.0 + xp.floor(xp.sqrt(num))
    grid = xp.broadcast_to(xp.arange(1, grid_size + 1).astype(excess.dtype), (*num.shape[:-1], grid_size))
    used = grid <= num_grid
    b = (1.0 - xp.sqrt(num_grid / (grid - 0.5))) / (3.0 * quartile) + 1.0 / largest
    b = xp.where(used & (b != 0), b, -1.0)
    k = _sums_of_log1p(b, x) / num
    log_likelihood = xp.where(used, num * (xp.log(xp.abs(b / k)) - k - 1.0), -xp.inf)
    weights = xp.exp(log_likelihood - xp.max(log_likelihood, axis=-1, keepdims=True))
    weights = weights / xp.sum(weights, axis=-1, keepdims=True)
    weights = xp.where(weights >= 10.0 * np.finfo(excess.dtype).eps, weights, 0.0)
    b_mean = xp.sum(b * weights, axis=-1, keepdims=True) / xp.sum(weights, axis=-1, keepdims=True)
    k_mean = xp.sum(xp.where(inside, xp.log1p(-b_mean * x), 0.0), axis=-1, keepdims=True) / num
    sigma = -k_mean / b_mean
    k_posterior = (num * k_mean + _PRIOR_WEIGHT * _PRIOR_K) / (num + _PRIOR_WEIGHT)
    return k_posterior[..., 0], sigma[..., 0]


def _sums_of_log1p(
    b: Float[AnyArray, "*shape grid"], x: Float[AnyArray, "*shape tail"]
) -> Float[AnyArray, "*shape grid"]:
    """sum_j log(1 - b_i x_j) for every candidate b_i."""
    xp = namespace(x)

    def one(b: Float[AnyScalar, "*shape"]) -> Float[AnyScalar, "*shape"]:
        return xp.sum(xp.log1p(xp.minimum(-b[..., None] * x, 1e30)), axis=-1)

    if xp is np:
        # One array of all products would be new memory at each call: its page faults cost three times the logarithms.
        return np.stack([one(b[..., i]) for i in range(b.shape[-1])], axis=-1)
    return jax.vmap(one, in_axes=-1, out_axes=-1)(b)


def quantile(
    p: Float[AnyScalar, "*p"], k: Float[AnyScalar, "*k"], sigma: Float[AnyScalar, "*k"]
) -> Float[AnyScalar, "..."]:
    """The generalised Pareto quantile sigma ((1 - p)^-k - 1) / k; that of an exponential distribution for k near 0."""
    xp = namespace(p)
    log_survival = xp.log1p(-p)
    safe = xp.where(xp.abs(k) > 1e-6, k, 1.0)
    return sigma * xp.where(xp.abs(k) > 1e-6, xp.expm1(-safe * log_survival) / safe, -log_survival)


class TailFit(NamedTuple):
    """A fitted tail: in units of exp(log_top), values above `cutoff` minus it are generalised Pareto(k, sigma)."""

    k: Float[AnyScalar, "*shape"]
    sigma: Float[AnyScalar, "*shape"]
    cutoff: Float[AnyScalar, "*shape"]
    count: Int[AnyScalar, "*shape"]
    log_top: Float[AnyScalar, "*shape"]


def fit_tail(
    log_tail: Float[AnyArray, "*shape length"], num_positive: Real[AnyScalar, "*#shape"] | float, divided_by: int = 1
) -> TailFit:
    """Fit the largest of `num_positive` positive values from their logarithms.

    The tail is the largest min(`tail_size`, T) values, or a part of them; the next value is the cutoff.

    **Arguments:**

    - `log_tail`: the logarithms of the T + 1 largest values, descending, -inf where there are fewer;
    - `num_positive`: how many values were positive;
    - `divided_by`: the tail has its usual size divided by this, rounded down.

    **Returns:** the fit, whose k is NaN where there is no tail: fewer than `MIN_TAIL` points, or at most a tenth of
    them distinct (discrete weights; in float32 up to half of a bounded tail is tied).
    """
    xp, length = namespace(log_tail), log_tail.shape[-1] - 1
    known = xp.sum((log_tail > -xp.inf).astype(int), axis=-1)
    count = xp.minimum(tail_size(num_positive), xp.minimum(known - 1, length)) // divided_by
    inside = xp.arange(length) < count[..., None]
    num_ties = xp.sum((inside & (log_tail[..., :-1] == log_tail[..., 1:])).astype(int), axis=-1)
    exists = (count >= MIN_TAIL) & (log_tail[..., 0] < xp.inf) & (10 * num_ties <= 9 * count)
    log_top = xp.where(exists, log_tail[..., 0], 0.0)
    # A placeholder where there is no tail, so that nothing below divides by zero.
    placeholder = xp.linspace(2.0, 1.0, length + 1, dtype=log_tail.dtype)
    drop = xp.where(log_tail > -xp.inf, log_tail - log_top[..., None], -xp.inf)
    values = xp.where(exists[..., None], xp.exp(xp.minimum(drop, 0.0)), placeholder)
    count = xp.where(exists, count, length)
    cutoff = xp.take_along_axis(values, count[..., None], axis=-1)
    k, sigma = fit(values[..., :-1] - cutoff, count)
    return TailFit(xp.where(exists, k, xp.nan), sigma, cutoff[..., 0], count, log_top)


def k_hat(
    log_tail: Float[AnyArray, "*shape length"], num_positive: Real[AnyScalar, "*#shape"] | float, divided_by: int = 1
) -> Float[AnyScalar, "*shape"]:
    """Tail index k-hat of positive values, from the logarithms of their largest ones: see `fit_tail`.

    Above 0.5 the variance of their mean is infinite, above 0.7 its error bar is useless. NaN where there is no tail.
    """
    if log_tail.shape[-1] <= MIN_TAIL:
        return namespace(log_tail).full(log_tail.shape[:-1], np.nan, dtype=log_tail.dtype)
    return fit_tail(log_tail, num_positive, divided_by).k


@jax.jit
def smooth(
    log_w: Float[Array, "*shape n"], count: Real[Array, "..."]
) -> tuple[Float[Array, "*shape n"], Float[Array, "*shape"]]:
    """Replace the tail of exp(log_w) by the expected order statistics of the fitted distribution.

    **Arguments:**

    - `log_w`: log-weights, -inf for padding;
    - `count`: how many entries are not padding, one number or one for each row.

    **Returns:** the smoothed log-weights, at most the largest raw one, or `log_w` where there is no tail; and k-hat.
    """
    if log_w.ndim > 1:
        return jax.vmap(smooth)(log_w, jnp.broadcast_to(count, log_w.shape[:-1]))
    length = min(int(tail_size(log_w.shape[0])) + 1, log_w.shape[0])
    if length <= MIN_TAIL:
        return log_w, jnp.full((), jnp.nan, log_w.dtype)
    top, where = lax.top_k(log_w, length)
    tail = fit_tail(top, jnp.asarray(count))
    rank = jnp.arange(length).astype(log_w.dtype)
    num_tail = tail.count.astype(log_w.dtype)
    # The largest value gets the highest probability, (M - 1/2)/M.
    p = jnp.clip((num_tail - rank - 0.5) / num_tail, 0.0, 1.0 - 1e-6)
    smoothed = jnp.minimum(tail.cutoff + quantile(p, tail.k, tail.sigma), 1.0)
    replaced = jnp.where(rank < num_tail, jnp.log(smoothed) + tail.log_top, top)
    return log_w.at[where].set(jnp.where(jnp.isnan(tail.k), top, replaced)), jnp.asarray(tail.k)
