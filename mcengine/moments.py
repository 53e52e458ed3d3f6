"""What is kept of a block of samples: a row of sums that merges exactly with the rows of other blocks.

Two kinds of sums. `Moments` see *units*: their mean, spread and cross terms make the estimate and its error bar.
`SampleStats` see samples of |w f|: they make the diagnostics. Every column carries its own log-scale, about its largest
log |w f|, so that float32 kernels reach 1e-300.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from mcengine import numerics, weights

# NumPy on the host, JAX in kernels; with leading axes where many rows are held at once.
AnyArray = jax.Array | np.ndarray

# Outputs that keep a tail for k-hat, and how much of a tail.
MAX_TAILED = 16
MAX_TAIL = 768


class Moments(eqx.Module):
    """Centred moments of C columns over units: column c stands for exp(log_scale_c) y_c.

    `m2` is sum (y - mean)^2 and `cross` is sum (y_c - mean_c)(y_a - mean_a) against the last A columns, the auxiliary
    ones (the denominator of a ratio, controls).
    """

    count: Float[AnyArray, "*rows"]
    log_scale: Float[AnyArray, "*rows C"]
    mean: Float[AnyArray, "*rows C"]
    m2: Float[AnyArray, "*rows C"]
    cross: Float[AnyArray, "*rows C A"]


class SampleStats(eqx.Module):
    """Sums over samples of |w f|, raw weights: column c stands for exp(log_scale_c) |y_c|.

    `log_tail` has the largest log |w f| in descending order, of the first `tail_hits` non-zero ones, for the columns D
    that keep a tail; `removed` is the sum of w' f - w f where a weighting changed w to w'.
    """

    num_samples: Float[AnyArray, "*rows"]
    num_nonfinite: Float[AnyArray, "*rows"]
    log_scale: Float[AnyArray, "*rows C"]
    sum_abs: Float[AnyArray, "*rows C"]
    sum_squares: Float[AnyArray, "*rows C"]
    max_abs: Float[AnyArray, "*rows C"]
    hits: Float[AnyArray, "*rows C"]
    removed: Float[AnyArray, "*rows C"]
    log_tail: Float[AnyArray, "*rows D T"]
    tail_hits: Float[AnyArray, "*rows D"]


class Row(eqx.Module):
    """All that is kept of one block, or of many."""

    moments: Moments
    stats: SampleStats


def _sum(values: Float[Array, "C n"]) -> Float[Array, " C"]:
    """Sum in two stages: 512 running sums, then those. Rounding grows with n/512 instead of n."""
    columns, n = values.shape
    if n % 512:
        return jnp.sum(values, axis=-1)
    return jnp.sum(jnp.sum(values.reshape(columns, n // 512, 512), axis=1), axis=-1)


def row_of_block(
    log_w: Float[Array, " n"] | Float[Array, "K n"] | None,
    values: Float[Array, "K n"],
    num_valid: Array,
    *,
    transform: Any = None,
    with_denominator: bool = False,
    controls: Any = None,
    coefficients: Any = None,
    indicator: bool = False,
    unit_size: int = 1,
    tail_length: int = 0,
) -> Row:
    """The row of one block of n samples, of which the first `num_valid` count.

    **Arguments:** `log_w`, raw log-weights, None where all are 0 (or [K, n] where each output has its own); `values` f;
    `transform(log_w, num_valid)`, what the weighting does to them; `with_denominator` appends w itself as an auxiliary
    column; `controls`, auxiliary columns (log_w, values) too, or taken out of the outputs where their `coefficients`
    are known; `indicator` promises that f is 0, 1 or NaN; `tail_length`, how much of the tail of |w f| to keep.
    """
    num_outputs, n = values.shape
    valid = (jnp.arange(n, dtype=num_valid.dtype) < num_valid)[None, :]
    num_aux = int(with_denominator)
    if with_denominator:
        if log_w is not None and log_w.ndim > 1:
            raise ValueError("A self-normalised estimate needs one log-weight per sample, got one per output.")
        values = jnp.concatenate([values, jnp.ones((1, n), values.dtype)])
    if controls is not None:
        log_w, values = _beside(log_w, values, *controls)
        num_aux, indicator = len(controls.values), False
    marked, f = _mark(log_w, values, valid, indicator)
    raw = used = _weighted(marked, f)
    removed = jnp.zeros_like(raw.log_scale)
    if transform is not None:
        # Before f is looked at: a weight's change must not depend on which integrand it is for.
        all_log_w = jnp.zeros((1, n), values.dtype) if log_w is None else jnp.atleast_2d(log_w)
        usable = jnp.where(valid & jnp.isfinite(all_log_w), all_log_w, -jnp.inf)
        changed = jnp.stack([transform(row, num_valid) for row in usable])
        used = _weighted(jnp.where(marked > -jnp.inf, changed, marked), f)
        ratio = jnp.exp(_finite(used.log_scale) - _finite(raw.log_scale))[:, None]
        removed = _sum(used.y * ratio - raw.y)
    if coefficients is not None:
        used, num_aux = _corrected(used, num_outputs, coefficients), 0
    moments = _moments(used.log_scale, used.y, num_valid, valid, unit_size, num_aux)
    seen = slice(0, num_outputs + int(with_denominator))
    stats = _sample_stats(
        _Column(*(part[seen] for part in raw)),
        marked[seen] if len(marked) > 1 else marked,
        num_valid,
        removed=removed[seen],
        known=moments if transform is None and controls is None and unit_size == 1 else None,
        positive=f is None,
        tailed=_tailed(num_outputs, with_denominator),
        tail_length=tail_length,
    )
    return Row(moments, stats)


def _beside(log_w: Array | None, values: Array, log_c: Array | None, c: Array) -> tuple[Array | None, Array]:
    """Outputs and controls in one, each with log-weights of its own."""
    both = jnp.concatenate([values, c.astype(values.dtype)])
    if log_w is None and log_c is None:
        return None, both
    rows = [
        jnp.zeros_like(v) if log is None else jnp.broadcast_to(log, v.shape) for log, v in ((log_w, values), (log_c, c))
    ]
    return jnp.concatenate(rows), both


def _corrected(used: "_Column", num_outputs: int, coefficients: Any) -> "_Column":
    """w f - beta c of every output, on the larger of the two scales."""
    y, c = used.y[:num_outputs], used.y[num_outputs:]
    scale_f, scale_c = used.log_scale[:num_outputs], used.log_scale[num_outputs:]
    scale = jnp.maximum(scale_f, coefficients.log_scale_f)
    safe = _finite(scale)
    controls = c * jnp.exp(_finite(scale_c) - _finite(coefficients.log_scale_c))[:, None]
    taken = sum(b[:, None] * row[None] for b, row in zip(coefficients.beta, controls, strict=True))
    share = jnp.where(coefficients.log_scale_f > -jnp.inf, jnp.exp(coefficients.log_scale_f - safe), 0.0)
    own = jnp.where(scale_f > -jnp.inf, jnp.exp(scale_f - safe), 0.0)
    return _Column(scale, y * own[:, None] - share[:, None] * taken, used.max_abs[:num_outputs])


def _mark(log_w: Array | None, values: Array, valid: Array, indicator: bool) -> tuple[Array, Array | None]:
    """Log-weights and values per column, materialised once, all that the reductions need to see.

    Log-weights are -inf where a sample does not contribute and NaN where it ought to but is not finite. Values are None
    where they are 1 wherever they contribute, so that they need be neither computed nor stored a second time.
    """
    if log_w is None:
        f = numerics.fence(jnp.where(valid, jnp.where(jnp.isfinite(values), values, jnp.nan), 0.0))
        known = jnp.isfinite(f)
        return jnp.where(known, jnp.where(f != 0, 0.0, -jnp.inf), jnp.nan), jnp.where(known, f, 0.0)
    log_w = jnp.atleast_2d(log_w)
    # -inf: the target is not there, and whatever f is does not matter. A NaN density is wrong wherever it is.
    reached = valid & ~(log_w == -jnp.inf) & ((values != 0) | jnp.isnan(log_w))
    finite = jnp.isfinite(values) & jnp.isfinite(log_w)
    marked = numerics.fence(jnp.where(reached, jnp.where(finite, log_w, jnp.nan), -jnp.inf))
    return marked, None if indicator else numerics.fence(jnp.where(reached & finite, values, 0.0))


class _Column(NamedTuple):
    """w f = exp(log_scale) y per column, with max_abs = max |y| near 1; log_scale is -inf where nothing contributes."""

    log_scale: Array
    y: Array
    max_abs: Array


def _weighted(marked: Array, f: Array | None) -> _Column:
    live = jnp.where(marked > -jnp.inf, marked, -jnp.inf)
    log_scale = lax.stop_gradient(jnp.max(live, axis=-1))
    w = weights.from_log(live - _finite(log_scale)[:, None])
    if f is None:
        return _Column(log_scale, w, (log_scale > -jnp.inf).astype(w.dtype))
    # The integrand has a scale too: 1e-25 is an ordinary likelihood, and its square is 0 in float32.
    y = w * f
    largest = lax.stop_gradient(jnp.max(jnp.abs(y), axis=-1))
    exponent = jnp.clip(jnp.frexp(largest)[1], -126, 126)
    scaled, correction = numerics.add_exponent(_finite(log_scale), exponent)
    factor = lax.stop_gradient(jnp.ldexp(correction, -exponent))
    return _Column(jnp.where(log_scale > -jnp.inf, scaled, -jnp.inf), y * factor[:, None], largest * factor)


def _finite(log_scale: Any, xp: Any = jnp) -> Any:
    return xp.where(log_scale > -xp.inf, log_scale, 0.0)


def _tailed(num_outputs: int, with_denominator: bool) -> np.ndarray:
    """The columns that keep a tail: the first outputs, and the denominator."""
    tailed = [*range(min(num_outputs, MAX_TAILED))]
    return np.asarray([*tailed, num_outputs] if with_denominator else tailed)


def _moments(log_scale: Array, y: Array, num_valid: Array, valid: Bool[Array, "1 n"], unit_size: int, num_aux: int):
    columns, n = y.shape
    count = (num_valid // unit_size).astype(y.dtype)
    if unit_size > 1:
        y = jnp.mean(y.reshape(columns, n // unit_size, unit_size), axis=-1)
        valid = valid[:, ::unit_size]
    # Shifted one-pass sums: the shift need only be near the mean to keep float32 from cancelling.
    shift = lax.stop_gradient(jnp.mean(y[:, : min(256, y.shape[1])], axis=-1))
    centred = jnp.where(valid, y - shift[:, None], 0.0)
    safe = jnp.maximum(count, 1.0)
    offset = _sum(centred) / safe
    m2 = jnp.maximum(_sum(centred * centred) - safe * offset * offset, 0.0)
    aux = range(columns - num_aux, columns)
    cross = [_sum(centred * centred[a : a + 1]) - safe * offset * offset[a] for a in aux]
    stacked = jnp.stack(cross, axis=-1) if cross else jnp.zeros((columns, 0), y.dtype)
    return Moments(count, log_scale, jnp.where(count > 0, shift + offset, 0.0), m2, stacked)


def _sample_stats(
    raw: _Column,
    marked: Array,
    num_valid: Array,
    *,
    removed: Array,
    known: Moments | None,
    positive: bool,
    tailed: np.ndarray,
    tail_length: int,
) -> SampleStats:
    """Sums over samples. On CPU each costs a pass over the block, so what `known` tells already is not summed."""
    raw, marked, removed, known = lax.stop_gradient((raw, marked, removed, known))
    size = jnp.abs(raw.y)
    hits, num_nonfinite = _counts(marked)
    if known is None:
        sum_abs, sum_squares = _sum(size), _sum(size * size)
    else:
        sum_abs = known.count * known.mean if positive else _sum(size)
        sum_squares = known.m2 + known.count * known.mean * known.mean
    tail_hits, log_tail = jnp.zeros_like(hits[tailed]), jnp.zeros((len(tailed), 0), size.dtype)
    if tail_length:
        tail_hits = hits[tailed]
        kept = min(tail_length, size.shape[1])
        top = jnp.pad(lax.top_k(size[tailed], kept)[0], ((0, 0), (0, tail_length - kept)))
        log_top = jnp.log(jnp.where(top > 0, top, 1.0)) + _finite(raw.log_scale[tailed])[:, None]
        log_tail = jnp.where(top > 0, log_top, -jnp.inf)
    return SampleStats(
        num_samples=num_valid.astype(size.dtype),
        num_nonfinite=num_nonfinite,
        log_scale=raw.log_scale,
        sum_abs=sum_abs,
        sum_squares=sum_squares,
        max_abs=raw.max_abs,
        hits=hits,
        removed=removed,
        log_tail=log_tail,
        tail_hits=tail_hits,
    )


def _counts(marked: Array) -> tuple[Array, Array]:
    """(samples that contribute, per column; samples that are not finite in any), in one pass if possible.

    A lane of at most 1,023 samples adds 1 for a hit and 1,024 for a non-finite one: both come out of one exact sum.
    """
    columns, n = marked.shape
    dtype = marked.dtype
    if columns > 1 or n % 512 or n // 512 > 1023:
        hits = _sum((marked > -jnp.inf).astype(dtype))
        return hits, jnp.sum(jnp.any(jnp.isnan(marked), axis=0)).astype(dtype)
    code = jnp.where(marked > -jnp.inf, 1.0, jnp.where(marked == -jnp.inf, 0.0, 1024.0)).astype(dtype)
    lanes = jnp.sum(code.reshape(n // 512, 512), axis=0)
    bad = jnp.floor(lanes / 1024.0)
    return jnp.sum(lanes - 1024.0 * bad)[None], jnp.sum(bad)
