"""Sums of float32 numbers that are accurate to 1e-13 and do not depend on the order.

Outputs that add up to another output in each sample (the bins of a histogram to a total) must do so in the estimate
too. Sums in float32 round each column differently and miss this by 1e-8. Here each number is split at two fixed bits
into two integers and a remainder: the sums of the integers are exact, and the remainder is so small that its rounding
does not matter.

Source: the error-free extraction of J. Demmel and H. D. Nguyen, Parallel reproducible summation, IEEE Trans. Comput. 64
(2015), applied to integers.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from mcengine.numerics.arrays import AnyArray, AnyScalar, namespace

# Bits of each of the two integers; 30 bits hold the sum of one over 2^18 numbers.
CUT_BITS, SUM_BITS = 12, 30


def exact_sums(y: Float[Array, "C n"]) -> Float[Array, "C 2"]:
    """Sum along the last axis of |y| <= 1, as two floats, high and low.

    Exact except for the part of each number below 2^-25 (below 2^(-2b - 1), b = 30 - log2 n, where n > 2^18), which is
    summed in float32: an error of 1e-13 sum |y| where the mean |y| is not far below the largest.
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


def _as_floats(
    total: Int32[Array, " C"], unit: float, dtype: np.dtype
) -> tuple[Float[Array, " C"], Float[Array, " C"]]:
    """An integer of up to 31 bits as two floats, exactly."""
    top = total >> 15
    return top.astype(dtype) * (unit * 2.0**15), (total - (top << 15)).astype(dtype) * unit


def two_sum(
    a: Float[AnyScalar, "*shape"], b: Float[AnyScalar, "*shape"]
) -> tuple[Float[AnyScalar, "*shape"], Float[AnyScalar, "*shape"]]:
    """(s, e) with s = a + b rounded, and s + e = a + b exactly (Knuth)."""
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


def add(a: Float[AnyArray, "*shape two"], b: Float[AnyArray, "*shape two"]) -> Float[AnyArray, "*shape two"]:
    """a + b of numbers that are two floats each, (high, low) along the last axis; empty where that axis is empty."""
    if a.shape[-1] == 0:
        return a + b
    high, lost = two_sum(a[..., 0], b[..., 0])
    return namespace(a).stack(two_sum(high, lost + (a[..., 1] + b[..., 1])), axis=-1)
