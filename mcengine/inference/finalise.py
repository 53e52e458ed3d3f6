"""How a merged row of moments becomes numbers: value, error bar and diagnostics of every output."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from mcengine import numerics
from mcengine.inference.diagnostics import (
    FEW_SQUARES,
    effective_sample_size,
    is_bounded,
    k_hat,
    largest_share,
    squares_that_count,
)
from mcengine.inference.intervals import upper_bound_without_hits
from mcengine.inference.spec import EstimateSpec
from mcengine.inference.status import K_MODEST, LACKING_ERRORS, UNNORMALISED_ERRORS, status_codes
from mcengine.summaries.columns import finite
from mcengine.summaries.component_sums import undersampled
from mcengine.summaries.summary import Moments, SampleStats, Summary

# Standard errors: below, the delta method's intervals are off. Of weights it is an ESS of 25.
LEAST_DENOMINATOR = 5.0
# More units than this are equal for a reason, as with a fixed count of each stratum that f is constant on.
MAX_TIED = 256
# Of a ratio's numerator: of residuals whose squares are less of it, float32 leaves nothing of the cubes.
LEAST_LEFT = 1e-3
# Relative: sums in float32 that differ by less are of equal values.
SAME = 1e-5


class OutputColumns(NamedTuple):
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


def finalise(summary: Summary, spec: EstimateSpec, xp: Any) -> OutputColumns:
    """All numbers that a row stands for; `xp` is NumPy on the host, `jax.numpy` in a trace."""
    if xp is np:
        # A value beyond the largest float is met with a status, not with a warning.
        with np.errstate(over="ignore", invalid="ignore"):
            return _finalise(summary, spec, np)
    return _finalise(summary, spec, xp)


def _finalise(summary: Summary, spec: EstimateSpec, xp: Any) -> OutputColumns:
    moments, stats, num_outputs = summary.moments, summary.stats, spec.num_outputs
    value, std_error = (_ratio if spec.self_normalised else _mean)(summary, num_outputs, xp)
    weak = _is_weak(moments, xp) if spec.divided else np.asarray(False)
    value = xp.where(weak & (moments.mean[..., -1:] == 0), xp.nan, value)
    hits, num_samples = stats.hits[..., :num_outputs], stats.num_samples[..., None]
    overflown = ~(xp.isfinite(value) & xp.isfinite(std_error))
    bias = _bias(moments, stats, spec, xp)
    k_left = xp.full_like(bias, xp.nan)
    if spec.controlled:
        stats, left = _with_tails_apart(stats)
        # Where many squares make the variance, what is far from most of what is left says nothing.
        few = squares_that_count(left.log_tail, xp) < FEW_SQUARES
        k_left = xp.where(few, k_hat(left, xp), xp.nan)
    ess, share, k = (f(stats, xp) for f in (effective_sample_size, largest_share, k_hat))
    heavy = xp.where(is_bounded(stats, k, xp), xp.nan, k)
    tied = _units_tie(summary, spec, k, xp)
    # No hits, nothing but hits, one unit: nothing was seen to vary, and 0 +- 0 would be a lie.
    varied = (hits > 0) & ((hits < num_samples) | (not spec.indicator)) & (moments.count[..., None] > 1)
    std_error = xp.where(varied & ~tied, std_error, xp.nan)
    by_weights = spec.self_normalised and not spec.divided
    lacking = _lacks_weight(summary, heavy[..., -1:], xp) if by_weights else np.asarray(False)
    if spec.self_normalised:
        # A ratio is no better than its denominator.
        ess, share = xp.minimum(ess[..., :-1], ess[..., -1:]), xp.maximum(share[..., :-1], share[..., -1:])
        k, heavy = (xp.fmax(x[..., :-1], x[..., -1:]) for x in (k, heavy))
    k, heavy, k_left = (_pad(x, num_outputs, xp) for x in (k, heavy, k_left))
    codes = status_codes(
        hits=hits, num_samples=num_samples, num_units=moments.count[..., None], value=value, std_error=std_error,
        k=heavy, k_left=k_left, hardly_met=_undersampled(summary, spec, xp), ess=ess, share=share, bias=xp.abs(bias),
        nonfinite=(stats.num_nonfinite[..., None] > 0) | overflown, weak=weak, lacking=lacking, missed=spec.missed,
        exact_interval=spec.binomial, indicator=spec.indicator, tied=tied, epsilon=spec.epsilon, xp=xp,
    ).astype(xp.int32)  # fmt: skip
    bound = upper_bound_without_hits(num_samples, xp.asarray(spec.largest, dtype=value.dtype))
    bound = xp.minimum(bound, 1.0) if spec.bounded_by_one else bound
    bound = xp.where(hits == 0, bound, xp.nan)
    return OutputColumns(value, std_error, bias, ess, share, k, hits, codes, bound, _skewness(summary, spec, xp))


def _mean(summary: Summary, num_outputs: int, xp: Any) -> tuple[Any, Any]:
    m = summary.moments
    scale = numerics.two_to(finite(m.exponent[..., :num_outputs], xp), xp)
    return scale * means(summary)[..., :num_outputs], scale * _sqrt(
        m.m2[..., :num_outputs] / pairs(m, xp)[..., None], xp
    )


def _ratio(summary: Summary, num_outputs: int, xp: Any) -> tuple[Any, Any]:
    """mean(w f) / mean(w). Delta method: the residuals w f - R w have mean 0; R's variance is theirs / mean(w)^2."""
    m, mean = summary.moments, means(summary)
    mean_w = xp.where(mean[..., -1:] != 0, mean[..., -1:], 1.0)
    ratio = mean[..., :num_outputs] / mean_w
    residual = m.m2[..., :num_outputs] - 2.0 * ratio * m.cross[..., :num_outputs, -1] + ratio**2 * m.m2[..., -1:]
    scale = numerics.two_to(finite(m.exponent[..., :num_outputs], xp) - finite(m.exponent[..., -1:], xp), xp)
    return scale * ratio, scale * _sqrt(xp.maximum(residual, 0.0) / pairs(m, xp)[..., None], xp) / xp.abs(mean_w)


def _skewness(summary: Summary, spec: EstimateSpec, xp: Any) -> Any:
    """Sample skewness (unbiased under symmetry) of what units contribute, NaN where it was not kept, [..., K].

    sqrt(n (n - 1)) / (n - 2) m_3 / m_2^(3/2); of a ratio that of its residuals w f - R w, NaN where these are so small
    beside w f that rounding is what is left of their cubes.
    """
    m, number = summary.moments, spec.num_outputs
    third, m2 = m.third[..., :number, :], m.m2[..., :number]
    if third.shape[-1] == 0:
        return xp.full_like(m2, xp.nan)
    cubes, least = third[..., 0], 0.0
    if spec.self_normalised:
        mean = means(summary)
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


def _units_tie(summary: Summary, spec: EstimateSpec, k: Any, xp: Any) -> Any:
    """Outputs whose units are equal to the last bit though the samples in them are not, [..., K].

    So it comes by chance where values are discrete (which k-hat tells by its NaN): 16 units that count 10 hits of 64
    each. Equal means of other values are equal up to rounding; controls may rightly leave nothing.
    """
    m, s, number = summary.moments, summary.stats, spec.num_outputs
    if spec.controlled:
        return xp.zeros(m.m2[..., :number].shape, dtype=bool)
    equal = m.m2[..., :number] == 0
    if spec.self_normalised:
        equal = equal & (m.m2[..., -1:] == 0)
    num_samples, sum_abs = s.num_samples[..., None], s.sum_abs[..., :number]
    scale = numerics.two_to(finite(m.exponent[..., :number], xp) - finite(s.exponent[..., :number], xp), xp)
    sum_signed = xp.abs(m.mean[..., :number]) * scale * num_samples
    vary = sum_signed < (1.0 - SAME) * sum_abs
    vary = vary | (s.max_abs[..., :number] * num_samples > (1.0 + SAME) * sum_abs)
    discrete = xp.isnan(_pad(k, number, xp)[..., :number])
    few = (m.count < MAX_TIED) & (m.count < s.num_samples)
    return equal & vary & discrete & few[..., None]


def _undersampled(summary: Summary, spec: EstimateSpec, xp: Any) -> Any:
    """Outputs to which a component of the mixture was due to contribute that hardly met the integrand, [..., K].

    Of means alone: a ratio's residuals are not what its numerator's samples are.
    """
    nowhere = xp.zeros(summary.moments.mean[..., : spec.num_outputs].shape, dtype=bool)
    if summary.component_sums is None or spec.self_normalised:
        return nowhere
    found = undersampled(
        summary.component_sums, summary.moments, summary.stats.num_samples, pairs(summary.moments, xp), xp
    )
    return xp.concatenate([found, nowhere[..., found.shape[-1] :]], axis=-1)


def _is_weak(m: Moments, xp: Any) -> Any:
    """Whether the denominator is not clearly away from 0, [..., 1]."""
    error = _sqrt(m.m2[..., -1:] / pairs(m, xp)[..., None], xp)
    return ~(xp.abs(m.mean[..., -1:]) > LEAST_DENOMINATOR * error)


def _lacks_weight(summary: Summary, k: Any, xp: Any) -> Any:
    """Whether weights, of tail index `k`, are not light and their mean, before truncation, a little below 1, [..., 1].

    1 is its expectation where the target is normalised; where it is not, 1 is as a rule many standard errors away.
    """
    m, s = summary.moments, summary.stats
    mean_scale, removed_scale = (numerics.two_to(finite(x.exponent[..., -1:], xp), xp) for x in (m, s))
    error = mean_scale * _sqrt(m.m2[..., -1:] / pairs(m, xp)[..., None], xp)
    gap = 1.0 - mean_scale * m.mean[..., -1:] + removed_scale * s.removed[..., -1:] / s.num_samples[..., None]
    below = (gap > LACKING_ERRORS * error) & (gap < UNNORMALISED_ERRORS * error)
    return below & (k > K_MODEST)


def means(summary: Summary) -> Any:
    """Mean of every column, from exact totals where they were kept."""
    total = summary.moments.total
    if total.shape[-1] == 0:
        return summary.moments.mean
    return (total[..., 0] + total[..., 1]) / summary.stats.num_samples[..., None]


def _bias(m: Moments, stats: SampleStats, spec: EstimateSpec, xp: Any) -> Any:
    """What the weighting changed of the estimate: of mean(w f), or of mean(w f) / mean(w)."""
    of_w = finite(m.exponent[..., -1:], xp) if spec.self_normalised else 0.0
    change = numerics.two_to(finite(stats.exponent, xp) - of_w, xp) * stats.removed / stats.num_samples[..., None]
    if not spec.self_normalised:
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
