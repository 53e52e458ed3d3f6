"""The summary of a block of samples: sums that merge exactly with those of other blocks.

There are two kinds of sums. `Moments` see *units*: their mean, spread and cross terms make the estimate and its error
bar. `SampleStats` see samples of |w f|: they make the diagnostics. Every column has its own scale, a power of two near
its largest |w f|, so that float32 kernels reach 1e-300 and changing a scale rounds nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from mcengine import numerics
from mcengine.numerics.exact_sums import exact_sums
from mcengine.summaries.columns import (
    Coefficients,
    ControlColumns,
    ScaledColumns,
    beside,
    column_sums,
    finite,
    mask_contributions,
    residuals,
    scaled_products,
    subtract_controls,
)
from mcengine.summaries.component_sums import ComponentFactors, component_sums_of_block
from mcengine.summaries.summary import LOG_2, MAX_TAILED, Moments, SampleStats, Summary

# Cross terms with more columns than this are one matrix product.
FEW_COLUMNS = 17


class Kept(NamedTuple):
    """What the summary of a block keeps, and how its columns lie.

    - `unit_size`: consecutive samples that make one unit.
    - `indicator`: f is known to be 0, 1 or NaN.
    - `with_denominator`: the weight w itself is appended as an auxiliary column.
    - `num_denominators`: the last so many values are denominators of ratios, auxiliary columns too.
    - `tailed`: the columns that keep a tail, by default the first outputs and the denominator.
    - `tail_length`: how many of the largest |w f| a tail holds.
    - `covariance`: "full" for cross terms of all columns; None leaves out the sums of squares over samples.
    - `exact`: exact totals, which have no gradients.
    - `skewness`: third moments of units.
    """

    unit_size: int = 1
    indicator: bool = False
    with_denominator: bool = False
    num_denominators: int = 0
    tailed: tuple[int, ...] | None = None
    tail_length: int = 0
    covariance: str | None = "diagonal"
    exact: bool = False
    skewness: bool = False


def summarise_block(
    log_w: Float[Array, " n"] | Float[Array, "K n"] | None,
    values: Float[Array, "K n"],
    num_valid: Array,
    kept: Kept = Kept(),
    *,
    transform: Callable[[Array, Array], Array] | None = None,
    controls: ControlColumns | None = None,
    coefficients: Coefficients | None = None,
    factors: ComponentFactors | None = None,
) -> Summary:
    """The summary of one block of n samples, of which the first `num_valid` count.

    **Arguments:**

    - `log_w`: raw log-weights; None where all are 0; [K, n] where each output has its own.
    - `values`: f.
    - `kept`: what the summary holds.
    - `transform(log_w, num_valid)`: how the weighting changes the weights.
    - `controls`: auxiliary columns (log_w, values); subtracted from the outputs where `coefficients` are given.
    - `factors`: how samples contribute to the sums of a mixture's components.
    """
    num_denominators, with_denominator, unit_size = kept.num_denominators, kept.with_denominator, kept.unit_size
    indicator = kept.indicator
    num_outputs, n = len(values) - num_denominators, values.shape[1]
    valid = (jnp.arange(n, dtype=num_valid.dtype) < num_valid)[None, :]
    num_aux = num_denominators + int(with_denominator)
    if with_denominator:
        if log_w is not None and log_w.ndim > 1:
            raise ValueError("A self-normalised estimate needs one log-weight per sample, got one per output.")
        values = jnp.concatenate([values, jnp.ones((1, n), values.dtype)])
    if controls is not None:
        log_w, values = beside(log_w, values, *controls)
        num_aux, indicator = len(controls.values), False
    marked, f = mask_contributions(log_w, values, valid, indicator)
    raw = used = scaled_products(marked, f, log_w)
    removed = jnp.zeros_like(raw.exponent)
    if transform is not None:
        # From all weights, also where f is 0: the change of a weight must not depend on the integrand.
        all_log_w = jnp.zeros((1, n), values.dtype) if log_w is None else jnp.atleast_2d(log_w)
        usable = jnp.where(valid & jnp.isfinite(all_log_w), all_log_w, -jnp.inf)
        changed = jnp.stack([transform(log_weights, num_valid) for log_weights in usable])
        used = scaled_products(jnp.where(marked > -jnp.inf, changed, marked), f, changed)
        ratio = numerics.two_to(finite(used.exponent) - finite(raw.exponent))[:, None]
        removed = column_sums(used.y * ratio - raw.y)
    total, left = jnp.zeros((len(used.y), 0), used.y.dtype), None
    if coefficients is not None:
        used, num_aux, total = subtract_controls(used, num_outputs, coefficients), 0, total[:num_outputs]
        left = residuals(used, coefficients)
    elif kept.exact and len(used.y) > 1 and used.y.dtype == jnp.float32:
        # Several reductions read y.
        used = used._replace(y=numerics.fence(used.y))
        total = exact_sums(used.y)
    num_thirds = 1 + 2 * (num_denominators + with_denominator) if kept.skewness else 0
    num_aux = len(used.y) if kept.covariance == "full" else num_aux
    moments = _moments(used, total, num_valid, valid, unit_size, num_aux, num_thirds)
    tailed_columns = _tailed(num_outputs, with_denominator) if kept.tailed is None else np.asarray(kept.tailed)
    seen = slice(None) if controls is None else slice(num_outputs)
    stats = _sample_stats(
        ScaledColumns(*(part[seen] for part in raw)),
        marked,
        num_valid,
        left=None if left is None else (left, used.exponent),
        removed=removed[seen],
        known=(moments, f is None) if transform is None and controls is None and unit_size == 1 else None,
        tails=(tailed_columns, kept.tail_length),
        squares=kept.covariance is not None,
    )
    component_sums = None
    if factors is not None:
        component_sums = component_sums_of_block(
            ScaledColumns(*(part[tailed_columns] for part in used)), num_valid, factors
        )
    return Summary(moments, stats, component_sums)


def _tailed(num_outputs: int, with_denominator: bool) -> np.ndarray:
    """The columns that keep a tail: the first outputs, and the denominator."""
    tailed = [*range(min(num_outputs, MAX_TAILED))]
    return np.asarray([*tailed, num_outputs] if with_denominator else tailed)


def _moments(
    used: ScaledColumns,
    total: Array,
    num_valid: Array,
    valid: Bool[Array, "1 n"],
    unit_size: int,
    num_aux: int,
    num_thirds: int,
) -> Moments:
    y, (columns, n) = used.y, used.y.shape
    count = (num_valid // unit_size).astype(y.dtype)
    if unit_size > 1:
        y = jnp.mean(y.reshape(columns, n // unit_size, unit_size), axis=-1)
        valid = valid[:, ::unit_size]
    # Shifted one-pass sums: the shift need only be near the mean, of what is valid, to keep float32 from cancelling.
    # About the first, so that a constant is its own mean to the last bit.
    few, first = valid[:, : min(256, y.shape[1])], y[:, :1]
    away = jnp.sum(jnp.where(few, y[:, : few.shape[1]] - first, 0.0), axis=-1)
    shift = lax.stop_gradient(first[:, 0] + away / jnp.maximum(jnp.sum(few), 1).astype(y.dtype))
    centred = jnp.where(valid, y - shift[:, None], 0.0)
    safe = jnp.maximum(count, 1.0)
    offset = column_sums(centred) / safe
    m2 = jnp.maximum(column_sums(centred * centred) - safe * offset * offset, 0.0)
    cross = _cross(centred, num_aux) - safe * offset[:, None] * offset[None, columns - num_aux :]
    third = _third(centred - jnp.where(valid, offset[:, None], 0.0), num_thirds)
    return Moments(count, used.exponent, jnp.where(count > 0, shift + offset, 0.0), m2, cross, total, third)


def _third(centred: Float[Array, "C n"], num_thirds: int) -> Float[Array, "C D"]:
    """Sums of y y y of each column, and of y y b and y b b for each b of the last columns that are asked for."""
    if not num_thirds:
        return jnp.zeros((len(centred), 0), centred.dtype)
    y = lax.stop_gradient(centred)
    pairs = [y * y]
    for b in y[len(y) - num_thirds // 2 :, None]:
        pairs += [y * b, b * b]
    return jnp.stack([column_sums(y * pair) for pair in pairs], axis=-1)


def _cross(centred: Float[Array, "C n"], num_aux: int) -> Float[Array, "C A"]:
    """Sums of products of each column with the last A."""
    columns, n = centred.shape
    if num_aux < min(columns, FEW_COLUMNS):
        aux = range(columns - num_aux, columns)
        cross = [column_sums(centred * centred[a : a + 1]) for a in aux]
        return jnp.stack(cross, axis=-1) if cross else jnp.zeros((columns, 0), centred.dtype)
    # In two stages, like the other sums, and in full precision where matrix units would round to 10 bits.
    parts = centred.reshape(columns, -1, 512 if n % 512 == 0 else n)
    products = jnp.einsum("cbi,abi->bca", parts, parts[columns - num_aux :], precision=lax.Precision.HIGHEST)
    return jnp.sum(products, axis=0)


def _sample_stats(
    raw: ScaledColumns,
    marked: Array,
    num_valid: Array,
    *,
    left: tuple[Array, Array] | None,
    removed: Array,
    known: tuple[Moments, bool] | None,
    tails: tuple[np.ndarray, int],
    squares: bool,
) -> SampleStats:
    """Sums over samples.

    On CPU each sum costs a pass over the block, so sums that follow from moments over samples are not computed.

    **Arguments:** `left`, the residuals of each sample after controls, and their exponents; `known`, moments over
    samples where there are some, and whether w f is nowhere negative; `tails`, the columns that keep a tail and its
    length; `squares`, whether to sum squares.
    """
    (tailed, tail_length), positive = tails, known is not None and known[1]
    known_moments = None if known is None else known[0]
    raw, marked, left, removed, known_moments = lax.stop_gradient((raw, marked, left, removed, known_moments))
    size = jnp.abs(raw.y)
    # A sample whose control is not finite is not finite either: 0 in its place would change the mean of the control.
    hits, num_nonfinite = _counts(marked)
    hits = hits[: len(size)]
    if known_moments is None:
        sum_abs = column_sums(size)
        sum_squares = column_sums(size * size) if squares else jnp.full_like(sum_abs, jnp.nan)
    else:
        sum_abs = known_moments.count * known_moments.mean if positive else column_sums(size)
        sum_squares = known_moments.m2 + known_moments.count * known_moments.mean * known_moments.mean
    tail_hits, log_tail = hits[tailed], _log_tail(size[tailed], raw.exponent[tailed], tail_length)
    if left is not None:
        # Of samples that contribute: the few hits of a rare event lie far from all others, which is not a heavy tail.
        residual = jnp.where(marked[: len(size)] > -jnp.inf, left[0], 0.0)
        of_residuals = _log_tail(residual[tailed], left[1][tailed], tail_length)
        tail_hits, log_tail = jnp.tile(tail_hits, 2), jnp.concatenate([log_tail, of_residuals])
    if not tail_length:
        tail_hits = jnp.zeros_like(tail_hits)
    return SampleStats(
        num_samples=num_valid.astype(size.dtype),
        num_nonfinite=num_nonfinite,
        exponent=raw.exponent,
        sum_abs=sum_abs,
        sum_squares=sum_squares,
        max_abs=raw.max_abs,
        hits=hits,
        removed=removed,
        log_tail=log_tail,
        tail_hits=tail_hits,
    )


def _log_tail(size: Array, exponent: Array, tail_length: int) -> Array:
    """The logarithms of the largest, in descending order."""
    if not tail_length:
        return jnp.zeros((len(size), 0), size.dtype)
    kept = min(tail_length, size.shape[1])
    top = jnp.pad(lax.top_k(size, kept)[0], ((0, 0), (0, tail_length - kept)))
    log_top = jnp.log(jnp.where(top > 0, top, 1.0)) + LOG_2 * finite(exponent)[:, None]
    return jnp.where(top > 0, log_top, -jnp.inf)


def _counts(marked: Array) -> tuple[Array, Array]:
    """(samples that contribute, per column; samples that are not finite in any), in one pass if possible.

    A lane of at most 1,023 samples adds 1 for a hit and 1,024 for a non-finite one: both come out of one exact sum.
    """
    columns, n = marked.shape
    dtype = marked.dtype
    if columns > 1 or n % 512 or n // 512 > 1023:
        hits = column_sums((marked > -jnp.inf).astype(dtype))
        return hits, jnp.sum(jnp.any(jnp.isnan(marked), axis=0)).astype(dtype)
    code = jnp.where(marked > -jnp.inf, 1.0, jnp.where(marked == -jnp.inf, 0.0, 1024.0)).astype(dtype)
    lanes = jnp.sum(code.reshape(n // 512, 512), axis=0)
    bad = jnp.floor(lanes / 1024.0)
    return jnp.sum(lanes - 1024.0 * bad)[None], jnp.sum(bad)
