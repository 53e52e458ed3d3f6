"""The number format of the kernels, and scales that are powers of two."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from mcengine.numerics.arrays import AnyScalar, namespace


def float_dtype() -> jnp.dtype:
    """The dtype of the kernels: float32, or float64 where the user has set ``jax_enable_x64``."""
    return jnp.result_type(float)


# log 2 in two parts; the first has so few bits that its product with an exponent is exact.
_LOG_2_HIGH, _LOG_2_LOW = 0.693145751953125, 1.4286068203094172e-06
LOG2_E = 1.4426950408889634


def minus_log_2_times(x: Float[Array, "*shape"], exponent: Float[Array, "*other"]) -> Float[Array, "*shape"]:
    """x - exponent log 2 for whole exponents, without the rounding of a large product."""
    return (x - exponent * _LOG_2_HIGH) - exponent * _LOG_2_LOW


def two_to(exponent: Float[AnyScalar, "*shape"]) -> Float[AnyScalar, "*shape"]:
    """2^exponent for whole exponents stored as floats, exactly; 0 below the smallest normal number, and for -inf.

    `exp2` of a whole number may be wrong in the last bit, and `ldexp` in JAX takes several times as long.
    """
    if namespace(exponent) is np:
        return np.ldexp(1.0, np.clip(exponent, -1100, 1100).astype(np.int32))
    exponent = lax.stop_gradient(exponent)
    info = jnp.finfo(exponent.dtype)
    whole = jnp.uint64 if info.bits == 64 else jnp.uint32
    inside = jnp.clip(exponent, info.minexp, info.maxexp - 1)
    normal = lax.bitcast_convert_type((inside + (info.maxexp - 1)).astype(whole) << info.nmant, exponent.dtype)
    return jnp.where(exponent < info.minexp, 0.0, jnp.where(exponent > info.maxexp - 1, jnp.inf, normal))
