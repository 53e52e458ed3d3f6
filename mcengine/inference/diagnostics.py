"""How far an estimate may be trusted: ESS, k-hat, hits, largest share, and the figures that compare estimators.

Functions return NumPy or JAX arrays as their arguments are.
"""

import dataclasses
from functools import partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from mcengine.numerics.arrays import AnyScalar, Numbers, namespace
from mcengine.summaries.columns import finite
from mcengine.summaries.summary import MAX_TAILED, SampleStats
from mcengine.weights import pareto_tail

# Of a tail that is seen to end (see `is_bounded`). Of index 0.5 it has 12 such values once in 30 runs, of 0.7 in 200.
K_LIGHT, MIN_CROWD = 0.2, 12
# What controls leave is near 0 for most samples, and next to that any tail looks heavy to k-hat. It counts where so few
# squares make the variance: of exp(x) less a line, whose intervals hold from 10,000 samples on, one run in fifteen.
FEW_SQUARES = 12.0


def effective_sample_size(stats: SampleStats) -> Numbers:
    """(sum |w f|)^2 / sum (w f)^2 per column: how many equal contributions would be as good."""
    xp = namespace(stats.sum_abs)
    # NaN where squares were not summed.
    return stats.sum_abs**2 / xp.where(stats.sum_squares == 0, 1.0, stats.sum_squares)


def largest_share(stats: SampleStats) -> Numbers:
    """max |w f| / sum |w f| per column."""
    return stats.max_abs / namespace(stats.max_abs).where(stats.sum_abs > 0, stats.sum_abs, 1.0)


def k_hat(stats: SampleStats, divided_by: int = 1) -> Numbers:
    """Pareto tail index of |w f| per column that keeps a tail, NaN where there is none (few or discrete values)."""
    if namespace(stats.log_tail) is np:
        # Columns without a tail divide by zero on the way to their NaN.
        with np.errstate(all="ignore"):
            return pareto_tail.k_hat(stats.log_tail, stats.tail_hits, divided_by)
    of_column = partial(pareto_tail.k_hat, divided_by=divided_by)
    return jnp.vectorize(of_column, signature="(t),()->()")(stats.log_tail, stats.tail_hits)


def is_bounded(stats: SampleStats, k: Numbers) -> Bool[AnyScalar, "..."]:
    """Whether the tail of |w f| is seen to end in spite of a high k-hat, per column that keeps a tail.

    Bounded values with a second, lower maximum crowd above the cutoff, and k-hat takes the few that lie higher for a
    heavy tail: 1.4 for x^2 under N(1/2, 1.2^2). A tail of index k looks the same from every cutoff and has about
    2^(1/k) values within a factor of two of its largest; so two signs speak against it, each rarer than once in 100
    runs at k = 0.84 (`benchmarks/tail_index.py`): its upper half has a light k-hat, or a crowd lies near the largest
    value. Near means within a factor of two of its excess over the mean of |w f|: on top of a large constant, as in
    1 + 0.01 t, all values are near the largest otherwise.
    """
    xp = namespace(k)
    if xp is np and not np.any(k > K_LIGHT):
        return np.zeros(k.shape, dtype=bool)
    tail, num_outputs = stats.log_tail, k.shape[-1]
    log_top = finite(tail[..., :1])
    sum_abs, scale = (_tailed(x, num_outputs) for x in (stats.sum_abs, stats.log_scale))
    mean = sum_abs / stats.num_samples[..., None] * xp.exp(xp.minimum(scale - log_top[..., 0], 80.0))
    near = tail - log_top >= xp.log(0.5 + 0.5 * xp.minimum(mean, 1.0))[..., None]
    crowd = xp.sum(near.astype(int), axis=-1)
    return (crowd >= MIN_CROWD) | (k_hat(stats, divided_by=2) < K_LIGHT)


def _tailed(columns: Numbers, length: int) -> Numbers:
    """The columns that keep a tail: all, or the first ones, where there are too many, and the last, a denominator's."""
    if length <= MAX_TAILED:
        return columns[..., :length]
    return namespace(columns).concatenate([columns[..., :MAX_TAILED], columns[..., -1:]], axis=-1)


def with_residual_tails_apart(stats: SampleStats) -> tuple[SampleStats, SampleStats]:
    """The statistics with the tails of |w f|, and those with the tails of the residuals after controls."""
    tailed = stats.log_tail.shape[-2] // 2
    own, left = (
        dataclasses.replace(stats, log_tail=stats.log_tail[..., half, :], tail_hits=stats.tail_hits[..., half])
        for half in (slice(None, tailed), slice(tailed, None))
    )
    return own, left


def squares_that_count(log_tail: Numbers) -> Numbers:
    """(sum r^2)^2 / sum r^4 of the r >= 0 of a tail: how many equal squares would make the same variance."""
    xp, top = namespace(log_tail), log_tail[..., :1]
    known = log_tail > -xp.inf
    squares = xp.exp(2.0 * xp.where(known, log_tail - xp.where(top > -xp.inf, top, 0.0), -xp.inf))
    fourth = xp.sum(squares * squares, axis=-1)
    return xp.sum(squares, axis=-1) ** 2 / xp.where(fourth > 0, fourth, 1.0)


def variance_ratio(reference_variance: Numbers, variance: Numbers) -> Numbers:
    """Variance of a reference estimator over this one's, at the same number of samples: above 1 is a gain."""
    return np.asarray(reference_variance) / np.asarray(variance)


def efficiency(variance: Numbers, seconds: Numbers) -> Numbers:
    """1 / (variance x seconds): the figure of merit that does not depend on the number of samples."""
    return 1.0 / (np.asarray(variance) * np.asarray(seconds))
