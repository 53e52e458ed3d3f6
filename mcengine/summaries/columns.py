"""The weighted values w f of a block, one column for each output, each on a scale of its own: a power of two.

Powers of two so that a change of scale rounds nothing. All columns read one mantissa of each sample's weight: values of
f that add up sample by sample do so as w f too, to the last bit.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mcengine import numerics, weights
from mcengine.numerics.arrays import AnyArray, Numbers, namespace


class ScaledColumns(NamedTuple):
    """w f = 2^exponent y per column, with max_abs = max |y| near 1; exponent is -inf where nothing contributes."""

    exponent: Array
    y: Array
    max_abs: Array


class ControlColumns(NamedTuple):
    """The controls of a block: c = exp(log_w) values, per control; `log_w` None where it is 0."""

    log_w: Float[Array, "j n"] | None
    values: Float[Array, "j n"]


class Coefficients(eqx.Module):
    """Coefficients beta of J controls for K outputs, outputs in units of 2^exponent_f, controls of 2^exponent_c.

    `centre`, in the units of the outputs, is the mean of w f - beta c in the pilot.
    """

    beta: Float[AnyArray, "*batch j k"]
    centre: Float[AnyArray, "*batch k"]
    exponent_f: Float[AnyArray, "*batch k"]
    exponent_c: Float[AnyArray, "*batch j"]


def column_sums(values: Float[Array, "C n"]) -> Float[Array, " C"]:
    """Sum in two stages: 512 running sums, then those. Rounding grows with n/512 instead of n."""
    columns, n = values.shape
    if n % 512:
        return jnp.sum(values, axis=-1)
    return jnp.sum(jnp.sum(values.reshape(columns, n // 512, 512), axis=1), axis=-1)


def beside(log_w: Array | None, values: Array, log_c: Array | None, c: Array) -> tuple[Array | None, Array]:
    """Outputs and controls in one, each with log-weights of its own."""
    both = jnp.concatenate([values, c.astype(values.dtype)])
    if log_w is None and log_c is None:
        return None, both
    rows = [
        jnp.zeros_like(v) if log is None else jnp.broadcast_to(log, v.shape) for log, v in ((log_w, values), (log_c, c))
    ]
    return jnp.concatenate(rows), both


def mask_contributions(log_w: Array | None, values: Array, valid: Array, indicator: bool) -> tuple[Array, Array | None]:
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


def scaled_products(marked: Array, f: Array | None, log_w: Array | None) -> ScaledColumns:
    """w f of what `mark` found; `log_w` [n] or [K, n] are the same weights unmarked, None where all are 1."""
    live = jnp.where(marked > -jnp.inf, marked, -jnp.inf)
    if log_w is None:
        exponent = lax.stop_gradient(jnp.where(jnp.max(live, axis=-1) > -jnp.inf, 0.0, -jnp.inf).astype(live.dtype))
        w = (live > -jnp.inf).astype(live.dtype)
    elif len(live) == 1:
        # A single column: one exponential of a difference, and no more work than that.
        largest = lax.stop_gradient(jnp.max(live, axis=-1))
        exponent = jnp.round(largest * numerics.LOG2_E)
        w, w_max = (_over(log, finite(exponent)) for log in (live, largest[:, None]))
        if f is None:
            return ScaledColumns(exponent, w, w_max[:, 0])
    else:
        exponent, w = _of_many(live, log_w)
    return _normalised(exponent, w if f is None else w * f)


def _over(log_w: Array, exponent: Array) -> Array:
    """w / 2^exponent of each column."""
    return weights.from_log(numerics.minus_log_2_times(log_w, exponent[:, None]))


def _of_many(live: Array, log_w: Array) -> tuple[Array, Array]:
    """Of many: a mantissa and an exponent of each weight, which all columns read; scaled by whole powers of two."""
    log_w = jnp.atleast_2d(log_w)
    usable = jnp.isfinite(log_w)
    mantissa, power = weights.mantissa_and_exponent(jnp.where(usable, log_w, 0.0))
    mantissa, power = numerics.fence((mantissa, power))
    contributes = live > -jnp.inf
    exponent = lax.stop_gradient(jnp.max(jnp.where(contributes & usable, power, -jnp.inf), axis=-1))
    scaled = mantissa * numerics.two_to(power - finite(exponent)[:, None])
    return exponent, jnp.where(contributes & usable, scaled, 0.0)


def _normalised(exponent: Array, y: Array) -> ScaledColumns:
    """The integrand has a scale too: 1e-25 is an ordinary likelihood, and its square is 0 in float32."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(y), axis=-1))
    own = jnp.clip(jnp.frexp(largest)[1], -126, 126).astype(y.dtype)
    factor = lax.stop_gradient(numerics.two_to(-own))
    moved = jnp.where(exponent > -jnp.inf, finite(exponent) + own, -jnp.inf)
    return ScaledColumns(moved, y * factor[:, None], largest * factor)


def subtract_controls(used: ScaledColumns, num_outputs: int, coefficients: Coefficients) -> ScaledColumns:
    """w f - beta c of every output, on the larger of the two scales."""
    y, c = used.y[:num_outputs], used.y[num_outputs:]
    exponent_f, exponent_c = used.exponent[:num_outputs], used.exponent[num_outputs:]
    exponent = jnp.maximum(exponent_f, coefficients.exponent_f)
    safe = finite(exponent)
    controls = c * numerics.two_to(finite(exponent_c) - finite(coefficients.exponent_c))[:, None]
    taken = sum(b[:, None] * row[None] for b, row in zip(coefficients.beta, controls, strict=True))
    share, own = numerics.two_to(coefficients.exponent_f - safe), numerics.two_to(exponent_f - safe)
    return ScaledColumns(exponent, y * own[:, None] - share[:, None] * taken, used.max_abs[:num_outputs])


def residuals(of: ScaledColumns, coefficients: Coefficients) -> Array:
    """|w f - beta c - its mean in the pilot| of what `corrected` gave, on its scale: what the error bar is made of."""
    centre = coefficients.centre * numerics.two_to(coefficients.exponent_f - finite(of.exponent))
    return jnp.abs(of.y - centre[:, None])


def finite(exponent: Numbers) -> Numbers:
    """The exponent, or 0 where nothing contributes."""
    return namespace(exponent).where(exponent > -jnp.inf, exponent, 0.0)
