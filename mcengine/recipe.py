"""How a merged row of moments becomes numbers: value, error bar and diagnostics of every output."""

import dataclasses
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from mcengine import diagnostics, dues, numerics
from mcengine.columns import finite
from mcengine.moments import AnyArray, Moments, Row, SampleStats

# Standard errors: below, the delta method's intervals are off. Of weights it is an ESS of 25.
LEAST_DENOMINATOR = 5.0
# More units than this are equal for a reason, as with a fixed count of each stratum that f is constant on.
MAX_TIED = 256
# Of a ratio's numerator: of residuals whose squares are less of it, float32 leaves nothing of the cubes.
LEAST_LEFT = 1e-3
# Relative: sums in float32 that differ by less are of equal values.
SAME = 1e-5


class Recipe(eqx.Module):
    """How a row of moments becomes an estimate: all that is known before the first sample is drawn.

    **Arguments:** `treedef` and `shapes`, the structure of the integrand's value; `self_normalised`; `binomial`, true
    where w f is 0 or 1, so that the interval is Clopper and Pearson's; `epsilon` of the kernels' dtype; `largest`,
    sup w f where it is known, else NaN; `sequence`, the interval of a run that stopped when it was precise enough, and
    `missed`, whether it did not get there; `covariance`, "full" where cross terms of all outputs were kept;
    `divided`, that the last column, which a `self_normalised` estimate divides by, is an output and not the weight;
    `indicator`, that w f is 0 or 1, whatever the interval; `controlled`, that controls were taken out, and tails of
    what they left follow those of |w f|.
    """

    treedef: Any = eqx.field(static=True)
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    self_normalised: bool = eqx.field(static=True)
    binomial: bool = eqx.field(static=True)
    bounded_by_one: bool = eqx.field(static=True)
    epsilon: float = eqx.field(static=True)
    largest: AnyArray
    sequence: Any = None
    missed: bool = eqx.field(static=True, default=False)
    covariance: str | None = eqx.field(static=True, default="diagonal")
    divided: bool = eqx.field(static=True, default=False)
    indicator: bool = eqx.field(static=True, default=False)
    controlled: bool = eqx.field(static=True, default=False)

    @property
    def num_outputs(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes)

    def unflatten(self, columns: Any, xp: Any) -> Any:
        """The last axis of `columns` as the integrand's value; leading axes (of a vmap) stay in front."""
        leaves, start = [], 0
        for shape in self.shapes:
            size = math.prod(shape)
            part = columns[..., start : start + size]
            leaves.append(xp.reshape(part, (*part.shape[:-1], *shape)))
            start += size
        leaves = [leaf[()] if xp is np else leaf for leaf in leaves]
        return jax.tree.unflatten(self.treedef, leaves)


class Columns(NamedTuple):
    """One entry per output."""

    value: Any
    std_error: Any
    bias: Any
    ess: Any
    share: Any
    k: Any
    hits: Any
    codes: Any
    upper_bound: Any
    skewness: Any


def finish_columns(row: Row, recipe: Recipe, xp: Any) -> Columns:
    """All numbers that a row stands for; `xp` is NumPy on the host, `jax.numpy` in a trace."""
    if xp is np:
        # A value beyond the largest float is met with a status, not with a warning.
        with np.errstate(over="ignore", invalid="ignore"):
            return _finish_columns(row, recipe, np)
    return _finish_columns(row, recipe, xp)


def _finish_columns(row: Row, recipe: Recipe, xp: Any) -> Columns:
    moments, stats, num_outputs = row.moments, row.stats, recipe.num_outputs
    value, std_error = (_ratio if recipe.self_normalised else _mean)(row, num_outputs, xp)
    weak = _is_weak(moments, xp) if recipe.divided else np.asarray(False)
    value = xp.where(weak & (moments.mean[..., -1:] == 0), xp.nan, value)
    hits, num_samples = stats.hits[..., :num_outputs], stats.num_samples[..., None]
    overflown = ~(xp.isfinite(value) & xp.isfinite(std_error))
    bias = _bias(moments, stats, recipe, xp)
    k_left = xp.full_like(bias, xp.nan)
    if recipe.controlled:
        stats, left = _with_tails_apart(stats)
        # Where many squares make the variance, what is far from most of what is left says nothing.
        few = diagnostics.squares_that_count(left.log_tail, xp) < diagnostics.FEW_SQUARES
        k_left = xp.where(few, diagnostics.k_hat(left, xp), xp.nan)
    ess, share, k = (
        f(stats, xp) for f in (diagnostics.effective_sample_size, diagnostics.largest_share, diagnostics.k_hat)
    )
    heavy = xp.where(diagnostics.is_bounded(stats, k, xp), xp.nan, k)
    tied = _units_tie(row, recipe, k, xp)
    # No hits, nothing but hits, one unit: nothing was seen to vary, and 0 +- 0 would be a lie.
    varied = (hits > 0) & ((hits < num_samples) | (not recipe.indicator)) & (moments.count[..., None] > 1)
    std_error = xp.where(varied & ~tied, std_error, xp.nan)
    by_weights = recipe.self_normalised and not recipe.divided
    lacking = _lacks_weight(row, heavy[..., -1:], xp) if by_weights else np.asarray(False)
    if recipe.self_normalised:
        # A ratio is no better than its denominator.
        ess, share = xp.minimum(ess[..., :-1], ess[..., -1:]), xp.maximum(share[..., :-1], share[..., -1:])
        k, heavy = (xp.fmax(x[..., :-1], x[..., -1:]) for x in (k, heavy))
    k, heavy, k_left = (_pad(x, num_outputs, xp) for x in (k, heavy, k_left))
    codes = diagnostics.status_codes(
        hits=hits, num_samples=num_samples, num_units=moments.count[..., None], value=value, std_error=std_error,
        k=heavy, k_left=k_left, hardly_met=_hardly_met(row, recipe, xp), ess=ess, share=share, bias=xp.abs(bias),
        nonfinite=(stats.num_nonfinite[..., None] > 0) | overflown, weak=weak, lacking=lacking, missed=recipe.missed,
        exact_interval=recipe.binomial, indicator=recipe.indicator, tied=tied, epsilon=recipe.epsilon, xp=xp,
    ).astype(xp.int32)  # fmt: skip
    bound = diagnostics.upper_bound_without_hits(num_samples, xp.asarray(recipe.largest, dtype=value.dtype))
    bound = xp.minimum(bound, 1.0) if recipe.bounded_by_one else bound
    bound = xp.where(hits == 0, bound, xp.nan)
    return Columns(value, std_error, bias, ess, share, k, hits, codes, bound, _skewness(row, recipe, xp))


def _mean(row: Row, num_outputs: int, xp: Any) -> tuple[Any, Any]:
    m = row.moments
    scale = numerics.two_to(finite(m.exponent[..., :num_outputs], xp), xp)
    return scale * means(row)[..., :num_outputs], scale * _sqrt(m.m2[..., :num_outputs] / pairs(m, xp)[..., None], xp)


def _ratio(row: Row, num_outputs: int, xp: Any) -> tuple[Any, Any]:
    """mean(w f) / mean(w). Delta method: the residuals w f - R w have mean 0; R's variance is theirs / mean(w)^2."""
    m, mean = row.moments, means(row)
    mean_w = xp.where(mean[..., -1:] != 0, mean[..., -1:], 1.0)
    ratio = mean[..., :num_outputs] / mean_w
    residual = m.m2[..., :num_outputs] - 2.0 * ratio * m.cross[..., :num_outputs, -1] + ratio**2 * m.m2[..., -1:]
    scale = numerics.two_to(finite(m.exponent[..., :num_outputs], xp) - finite(m.exponent[..., -1:], xp), xp)
    return scale * ratio, scale * _sqrt(xp.maximum(residual, 0.0) / pairs(m, xp)[..., None], xp) / xp.abs(mean_w)


def _skewness(row: Row, recipe: Recipe, xp: Any) -> Any:
    """Sample skewness (unbiased under symmetry) of what units contribute, NaN where it was not kept, [..., K].

    sqrt(n (n - 1)) / (n - 2) m_3 / m_2^(3/2); of a ratio that of its residuals w f - R w, NaN where these are so small
    beside w f that rounding is what is left of their cubes.
    """
    m, number = row.moments, recipe.num_outputs
    third, m2 = m.third[..., :number, :], m.m2[..., :number]
    if third.shape[-1] == 0:
        return xp.full_like(m2, xp.nan)
    cubes, least = third[..., 0], 0.0
    if recipe.self_normalised:
        mean = means(row)
        ratio = mean[..., :number] / xp.where(mean[..., -1:] != 0, mean[..., -1:], 1.0)
        of_denominator = ratio**2 * m.m2[..., -1:]
        least = LEAST_LEFT * (m2 + of_denominator)
        m2 = m2 - 2.0 * ratio * m.cross[..., :number, -1] + of_denominator
        cubes = cubes - 3.0 * ratio * third[..., 1] + 3.0 * ratio**2 * third[..., 2] - ratio**3 * m.third[..., -1:, 0]
        cubes = xp.where(mean[..., -1:] < 0, -cubes, cubes)
    n = m.count[..., None]
    known = (m2 > least) & (n > 2)
    factor = n * xp.sqrt(xp.maximum(n - 1.0, 0.0)) / xp.maximum(n - 2.0, 1.0)
    skewness = xp.where(known, factor * cubes / xp.where(known, m2, 1.0) ** 1.5, xp.nan)
    return skewness if xp is np else jax.lax.stop_gradient(skewness)


def _with_tails_apart(stats: SampleStats) -> tuple[SampleStats, SampleStats]:
    """The statistics with the tails of |w f|, and with those of what controls left of it."""
    tailed = stats.log_tail.shape[-2] // 2
    halves = slice(None, tailed), slice(tailed, None)
    apart = [
        dataclasses.replace(stats, log_tail=stats.log_tail[..., half, :], tail_hits=stats.tail_hits[..., half])
        for half in halves
    ]
    return apart[0], apart[1]


def _units_tie(row: Row, recipe: Recipe, k: Any, xp: Any) -> Any:
    """Outputs whose units are equal to the last bit though the samples in them are not, [..., K].

    So it comes by chance where values are discrete (which k-hat tells by its NaN): 16 units that count 10 hits of 64
    each. Equal means of other values are equal up to rounding; controls may rightly leave nothing.
    """
    m, s, number = row.moments, row.stats, recipe.num_outputs
    if recipe.controlled:
        return xp.zeros(m.m2[..., :number].shape, dtype=bool)
    equal = m.m2[..., :number] == 0
    if recipe.self_normalised:
        equal = equal & (m.m2[..., -1:] == 0)
    num_samples, sum_abs = s.num_samples[..., None], s.sum_abs[..., :number]
    scale = numerics.two_to(finite(m.exponent[..., :number], xp) - finite(s.exponent[..., :number], xp), xp)
    sum_signed = xp.abs(m.mean[..., :number]) * scale * num_samples
    vary = sum_signed < (1.0 - SAME) * sum_abs
    vary = vary | (s.max_abs[..., :number] * num_samples > (1.0 + SAME) * sum_abs)
    discrete = xp.isnan(_pad(k, number, xp)[..., :number])
    few = (m.count < MAX_TIED) & (m.count < s.num_samples)
    return equal & vary & discrete & few[..., None]


def _hardly_met(row: Row, recipe: Recipe, xp: Any) -> Any:
    """Outputs to which a component of the mixture was due to contribute that hardly met the integrand, [..., K].

    Of means alone: a ratio's residuals are not what its numerator's samples are.
    """
    nowhere = xp.zeros(row.moments.mean[..., : recipe.num_outputs].shape, dtype=bool)
    if row.dues is None or recipe.self_normalised:
        return nowhere
    found = dues.hardly_met(row.dues, row.moments, row.stats.num_samples, pairs(row.moments, xp), xp)
    return xp.concatenate([found, nowhere[..., found.shape[-1] :]], axis=-1)


def _is_weak(m: Moments, xp: Any) -> Any:
    """Whether the denominator is not clearly away from 0, [..., 1]."""
    error = _sqrt(m.m2[..., -1:] / pairs(m, xp)[..., None], xp)
    return ~(xp.abs(m.mean[..., -1:]) > LEAST_DENOMINATOR * error)


def _lacks_weight(row: Row, k: Any, xp: Any) -> Any:
    """Whether weights, of tail index `k`, are not light and their mean, before truncation, a little below 1, [..., 1].

    1 is its expectation where the target is normalised; where it is not, 1 is as a rule many standard errors away.
    """
    m, s = row.moments, row.stats
    mean_scale, removed_scale = (numerics.two_to(finite(x.exponent[..., -1:], xp), xp) for x in (m, s))
    error = mean_scale * _sqrt(m.m2[..., -1:] / pairs(m, xp)[..., None], xp)
    gap = 1.0 - mean_scale * m.mean[..., -1:] + removed_scale * s.removed[..., -1:] / s.num_samples[..., None]
    below = (gap > diagnostics.LACKING_ERRORS * error) & (gap < diagnostics.UNNORMALISED_ERRORS * error)
    return below & (k > diagnostics.K_MODEST)


def means(row: Row) -> Any:
    """Mean of every column, from exact totals where they were kept."""
    total = row.moments.total
    if total.shape[-1] == 0:
        return row.moments.mean
    return (total[..., 0] + total[..., 1]) / row.stats.num_samples[..., None]


def _bias(m: Moments, stats: SampleStats, recipe: Recipe, xp: Any) -> Any:
    """What the weighting changed of the estimate: of mean(w f), or of mean(w f) / mean(w)."""
    of_w = finite(m.exponent[..., -1:], xp) if recipe.self_normalised else 0.0
    change = numerics.two_to(finite(stats.exponent, xp) - of_w, xp) * stats.removed / stats.num_samples[..., None]
    if not recipe.self_normalised:
        return change
    # Both in units of the denominator's scale.
    of_ratio, mean_w = change[..., :-1], xp.where(m.mean[..., -1:] != 0, m.mean[..., -1:], 1.0)
    raw_w = xp.where(mean_w != change[..., -1:], mean_w - change[..., -1:], 1.0)
    numerator = numerics.two_to(finite(m.exponent[..., :-1], xp) - of_w, xp) * m.mean[..., :-1]
    return numerator / mean_w - (numerator - of_ratio) / raw_w


def pairs(m: Moments, xp: Any) -> Any:
    """n (n - 1) of n units: what sums of squares are divided by to be the variance of a mean."""
    return xp.maximum(m.count, 1.0) * xp.maximum(m.count - 1.0, 1.0)


def _sqrt(variance: Any, xp: Any) -> Any:
    """sqrt with derivative 0 at 0 and below, so that a zero variance does not poison a gradient; NaN stays NaN."""
    none = variance <= 0
    return xp.where(none, 0.0, xp.sqrt(xp.where(none, 1.0, variance)))


def _pad(columns: Any, length: int, xp: Any) -> Any:
    """NaN for the outputs that keep no tail."""
    missing = length - columns.shape[-1]
    filler = xp.full((*columns.shape[:-1], max(missing, 0)), xp.nan, dtype=columns.dtype)
    return columns if missing <= 0 else xp.concatenate([columns, filler], axis=-1)
