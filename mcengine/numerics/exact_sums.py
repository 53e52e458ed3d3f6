"""Sums of float32 numbers that are right to 1e-13 and do not depend on the order, so that parts add up to their whole.

Outputs that add up to another one sample by sample (a total and its histogram) must do so in the estimate too. Float32
sums round each column in its own way and miss by 1e-8. Here each number is cut at two fixed places into two integers
and a rest: the integers' sums are exact, and the rest is too small for its rounding to matter.

Source: the error-free extraction of J. Demmel and H. D. Nguyen, Parallel reproducible summation, IEEE Trans. Comput. 64
(2015), on integers.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

# Bits of each of the two cuts; 30 bits hold a cut's sum over 2^18 numbers.
CUT_BITS, SUM_BITS = 12, 30


def exact_sums(y: Float[Array, "C n"]) -> Float[Array, "C 2"]:
    """Sum along the last axis of |y| <= 1, as two floats, high and low.

    Exact but for the parts of each number below 2^-25 (2^(-2b - 1), b = 30 - log2 n, where n is above 2^18), whose sum
    has float32's own rounding: 1e-13 of sum |y| where the mean |y| is not far below the largest.
    """
    n = y.shape[-1]
    bits = min(CUT_BITS, SUM_BITS - int(np.ceil(np.log2(max(n, 1)))))
    unit = 2.0**-bits
    first = jnp.round(y * (1.0 / unit))
    rest = y - first * unit
    second = jnp.round(rest * (1.0 / unit**2))
    rest = rest - second * unit**2
    terms = [
        *_as_floats(jnp.sum(first.astype(jnp.int32), axis=-1), unit, y.dtype),
        *_as_floats(jnp.sum(second.astype(jnp.int32), axis=-1), unit**2, y.dtype),
        jnp.sum(rest, axis=-1),
    ]
    high, low = terms[0], jnp.zeros_like(terms[0])
    for term in terms[1:]:
        high, lost = two_sum(high, term)
        low = low + lost
    return jnp.stack(two_sum(high, low), axis=-1)


def _as_floats(total: Int32[Array, " C"], unit: float, dtype: Any) -> tuple[Array, Array]:
    """An integer of up to 31 bits as two floats, exactly."""
    top = total >> 15
    return top.astype(dtype) * (unit * 2.0**15), (total - (top << 15)).astype(dtype) * unit


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """(s, e) with s = a + b rounded and s + e = a + b exactly (Knuth), of NumPy or JAX arrays."""
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


def add(a: Any, b: Any, xp: Any) -> Any:
    """Sum of numbers of two floats each, along the last axis (high, low); of no floats where that axis is empty."""
    if a.shape[-1] == 0:
        return a + b
    high, lost = two_sum(a[..., 0], b[..., 0])
    return xp.stack(two_sum(high, lost + (a[..., 1] + b[..., 1])), axis=-1)
