"""From a merged summary to numbers: value, error bar and diagnostics of every output."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int32

from mcengine import numerics
from mcengine.inference.diagnostics import (
    FEW_SQUARES,
    effective_sample_size,
    is_bounded,
    k_hat,
    largest_share,
    squares_that_count,
    with_residual_tails_apart,
)
from mcengine.inference.intervals import upper_bound_without_hits
from mcengine.inference.residuals import Residuals, error_of_means, means, residuals_of
from mcengine.inference.spec import EstimateSpec
from mcengine.inference.status import Findings, status_codes
from mcengine.inference.unit_checks import (
    has_missing_weights,
    has_weak_denominator,
    undersampled_outputs,
    units_are_tied,
)
from mcengine.numerics.arrays import AnyArray, namespace
from mcengine.summaries.columns import finite
from mcengine.summaries.summary import Summary

# The skewness of a ratio is unknown where the squares of its residuals are less than this part of those of w f: in
# float32 only rounding errors are left of their cubes.
LEAST_RESIDUAL = 1e-3

Column = Float[AnyArray, "*batch K"]


class OutputColumns(NamedTuple):
    """One entry per output."""

    value: Column
    std_error: Column
    bias: Column
    ess: Column
    share: Column
    k: Column
    hits: Column
    codes: Int32[AnyArray, "*batch K"]
    upper_bound: Column
    skewness: Column


class Tails(NamedTuple):
    """The diagnostics of the samples behind every output.

    `k` is k-hat of |w f|, or of w where that is larger; `heavy` is the same, but NaN where the tail is bounded;
    `residual` is k-hat of the residuals after controls, NaN where there are none, or where many squares make the
    variance; `of_columns` is k-hat of |w f| alone, and `of_weights` that of the last column, NaN where it is bounded.
    """

    ess: Column
    share: Column
    k: Column
    heavy: Column
    residual: Column
    of_columns: Float[AnyArray, "*batch D"]
    of_weights: Float[AnyArray, "*batch 1"]


def finalise(summary: Summary, spec: EstimateSpec) -> OutputColumns:
    """All numbers that a summary stands for, as NumPy arrays on the host and as JAX arrays in a trace."""
    if namespace(summary.moments.mean) is np:
        # A value beyond the largest float gets a status, and no warning.
        with np.errstate(over="ignore", invalid="ignore"):
            return _finalise(summary, spec)
    return _finalise(summary, spec)


def _finalise(summary: Summary, spec: EstimateSpec) -> OutputColumns:
    moments, stats, xp = summary.moments, summary.stats, namespace(summary.moments.mean)
    residuals = residuals_of(summary, spec)
    value, std_error = _value_and_error(summary, residuals)
    is_weak = has_weak_denominator(moments) if spec.divided else np.asarray(False)
    value = xp.where(is_weak & (moments.mean[..., -1:] == 0), xp.nan, value)
    is_overflown = ~(xp.isfinite(value) & xp.isfinite(std_error))
    bias = _bias(summary, spec)
    tails = _tails(summary, spec)
    hits, num_samples = stats.hits[..., : spec.num_outputs], stats.num_samples[..., None]
    is_tied = units_are_tied(summary, spec, tails.of_columns)
    # Without hits, with hits alone, and with one unit nothing was seen to vary: the error is unknown, and not 0.
    varied = (hits > 0) & ((hits < num_samples) | (not spec.indicator)) & (moments.count[..., None] > 1)
    std_error = xp.where(varied & ~is_tied, std_error, xp.nan)
    divides_by_weights = spec.self_normalised and not spec.divided
    findings = Findings(
        value=value,
        std_error=std_error,
        hits=hits,
        num_samples=num_samples,
        num_units=moments.count[..., None],
        k_hat=tails.heavy,
        residual_k_hat=tails.residual,
        ess=tails.ess,
        largest_share=tails.share,
        bias=xp.abs(bias),
        is_nonfinite=(stats.num_nonfinite[..., None] > 0) | is_overflown,
        is_tied=is_tied,
        is_undersampled=undersampled_outputs(summary, spec),
        lacks_weight=has_missing_weights(summary, tails.of_weights) if divides_by_weights else np.asarray(False),
        is_denominator_weak=is_weak,
        is_budget_spent=spec.missed,
        is_binomial=spec.binomial,
        is_indicator=spec.indicator,
        epsilon=spec.epsilon,
    )
    bound = upper_bound_without_hits(num_samples, xp.asarray(spec.largest, dtype=value.dtype))
    bound = xp.minimum(bound, 1.0) if spec.bounded_by_one else bound
    bound = xp.where(hits == 0, bound, xp.nan)
    codes, skewness = status_codes(findings), _skewness(residuals)
    return OutputColumns(value, std_error, bias, tails.ess, tails.share, tails.k, hits, codes, bound, skewness)


def _value_and_error(summary: Summary, residuals: Residuals) -> tuple[Column, Column]:
    """mean(w f), or mean(w f) / mean(w), and the standard error from the residuals of units."""
    m, k, xp = summary.moments, residuals.num_outputs, namespace(summary.moments.mean)
    squares, exponent = residuals.sum_squares(), finite(m.exponent[..., :k])
    if residuals.ratio is None or residuals.denominator is None:
        scale = numerics.two_to(exponent)
        return scale * means(summary)[..., :k], scale * error_of_means(squares, m)
    scale = numerics.two_to(exponent - finite(m.exponent[..., -1:]))
    error = scale * error_of_means(xp.maximum(squares, 0.0), m) / xp.abs(residuals.denominator)
    return scale * residuals.ratio, error


def _tails(summary: Summary, spec: EstimateSpec) -> Tails:
    stats, xp = summary.stats, namespace(summary.moments.mean)
    residual = xp.full_like(summary.moments.mean[..., : spec.num_outputs], xp.nan)
    if spec.controlled:
        stats, of_residuals = with_residual_tails_apart(stats)
        # Where many squares make the variance, residuals far from the others are no objection.
        few = squares_that_count(of_residuals.log_tail) < FEW_SQUARES
        residual = xp.where(few, k_hat(of_residuals), xp.nan)
    ess, share, k = (f(stats) for f in (effective_sample_size, largest_share, k_hat))
    heavy = xp.where(is_bounded(stats, k), xp.nan, k)
    of_columns, of_weights = _padded(k, spec.num_outputs), heavy[..., -1:]
    if spec.self_normalised:
        # A ratio is as bad as the worse of its numerator and its denominator.
        ess, share = xp.minimum(ess[..., :-1], ess[..., -1:]), xp.maximum(share[..., :-1], share[..., -1:])
        k, heavy = (xp.fmax(x[..., :-1], x[..., -1:]) for x in (k, heavy))
    k, heavy, residual = (_padded(x, spec.num_outputs) for x in (k, heavy, residual))
    return Tails(ess, share, k, heavy, residual, of_columns, of_weights)


def _skewness(residuals: Residuals) -> Column:
    """Sample skewness of the residuals of units (unbiased under symmetry), NaN where it was not kept.

    sqrt(n (n - 1)) / (n - 2) m_3 / m_2^(3/2), also NaN where the residuals of a ratio are so small beside w f that only
    rounding errors are left of their cubes.
    """
    m, k, xp = residuals.moments, residuals.num_outputs, namespace(residuals.moments.mean)
    if m.third.shape[-1] == 0:
        return xp.full_like(m.m2[..., :k], xp.nan)
    squares, cubes, least = residuals.sum_squares(), residuals.sum_cubes(), 0.0
    if residuals.ratio is not None:
        least = LEAST_RESIDUAL * (m.m2[..., :k] + residuals.ratio**2 * m.m2[..., -1:])
    n = m.count[..., None]
    known = (squares > least) & (n > 2)
    factor = n * xp.sqrt(xp.maximum(n - 1.0, 0.0)) / xp.maximum(n - 2.0, 1.0)
    skewness = xp.where(known, factor * cubes / xp.where(known, squares, 1.0) ** 1.5, xp.nan)
    return skewness if xp is np else jax.lax.stop_gradient(skewness)


def _bias(summary: Summary, spec: EstimateSpec) -> Column:
    """The change of the estimate by the weighting: of mean(w f), or of mean(w f) / mean(w)."""
    m, stats, xp = summary.moments, summary.stats, namespace(summary.moments.mean)
    exponent_w = finite(m.exponent[..., -1:]) if spec.self_normalised else 0.0
    change = numerics.two_to(finite(stats.exponent) - exponent_w) * stats.removed / stats.num_samples[..., None]
    if not spec.self_normalised:
        return change
    # Numerator and denominator in units of the denominator's scale.
    of_ratio, mean_w = change[..., :-1], xp.where(m.mean[..., -1:] != 0, m.mean[..., -1:], 1.0)
    raw_w = xp.where(mean_w != change[..., -1:], mean_w - change[..., -1:], 1.0)
    numerator = numerics.two_to(finite(m.exponent[..., :-1]) - exponent_w) * m.mean[..., :-1]
    return numerator / mean_w - (numerator - of_ratio) / raw_w


def _padded(columns: Float[AnyArray, "*batch D"], length: int) -> Column:
    """With NaN for the outputs that keep no tail."""
    xp, missing = namespace(columns), length - columns.shape[-1]
    filler = xp.full((*columns.shape[:-1], max(missing, 0)), xp.nan, dtype=columns.dtype)
    return columns if missing <= 0 else xp.concatenate([columns, filler], axis=-1)
