"""Elementary functions for the kernels, with their accuracy, where those of XLA are too slow or too inaccurate."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtri
from jaxtyping import Array, Float

from mcengine.numerics.compiler import fence

# Coefficients with the least maximal relative error, from `benchmarks/fit_elementary.py`. The normal quantile has the
# form of M. Giles, "Approximating the erfinv function" (2011): z = (1 - 2p) P(t - 3.125) for t = -log(4p(1 - p)) below
# 6.25, else Q(sqrt(t) - 4.5), up to t = 46, that is p = 1e-20.
_CENTRAL = (
    2.3386209e00, 3.3963475e-01, -8.5337525e-03, -1.0472284e-03, 2.6481518e-04,
    -1.9741853e-05, -2.1541598e-06, 6.1601484e-07, -1.2343230e-08, -7.1558025e-09,
)  # fmt: skip
_TAIL = (
    6.1444089e00, 1.4286833e00, 4.6994658e-04, -6.0309631e-04,
    1.9910102e-04, -5.9381803e-05, 1.7824923e-05, -2.8236058e-06,
)  # fmt: skip
# log(1 + f) = f P(f) for |f| <= 1/3.
_LOGARITHM = (
    1.0000000e00, -4.9999932e-01, 3.3333169e-01, -2.5008027e-01, 2.0011944e-01,
    -1.6412790e-01, 1.3987651e-01, -1.5403202e-01, 1.4056115e-01,
)  # fmt: skip
# sin(2 pi v) = v P(v^2) for |v| <= 1/4.
_SINE = (6.2831853e00, -4.1341702e01, 8.1605224e01, -7.6704170e01, 4.2007797e01, -1.4381390e01)


def polynomial(coefficients: tuple[float, ...], x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """sum_i c_i x^i by Horner's rule, lowest power first."""
    result = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = result * x + coefficient
    return result


@jax.custom_jvp
def log_of_normal(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(x) for positive normal floats; in float32 within 1e-7 (1 + |log x|), in half the time of XLA's.

    In float32 the result is meaningless where x is 0, subnormal, negative, infinite or NaN: there are no checks.
    """
    if x.dtype == jnp.float64:
        return jnp.log(x)
    bits = lax.bitcast_convert_type(x, jnp.int32)
    # x = 2^exponent (1 + f) with 1 + f between 2/3 and 4/3, so that nothing cancels near 1.
    exponent = (bits - jnp.int32(0x3F2AAAAB)) >> jnp.int32(23)
    f = lax.bitcast_convert_type(bits - (exponent << jnp.int32(23)), jnp.float32) - 1.0
    return f * polynomial(_LOGARITHM, f) + exponent.astype(jnp.float32) * float(np.log(2.0))


@log_of_normal.defjvp
def _log_of_normal_jvp(
    primals: tuple[Float[Array, "*shape"]], tangents: tuple[Float[Array, "*shape"]]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    # The bits above have no derivative.
    return log_of_normal(*primals), tangents[0] / primals[0]


def sin_cos_of_turn(v: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """(sin, cos) of 2 pi v for v in [-1/2, 1/2]; in float32 within 2e-7, in a quarter of the time of XLA's."""
    if v.dtype == jnp.float64:
        return jnp.sin(2.0 * np.pi * v), jnp.cos(2.0 * np.pi * v)
    size = jnp.abs(v)
    # Folded to quarter turns; both differences are exact.
    folded = jnp.where(size > 0.25, jnp.sign(v) * (0.5 - size), v)
    return _sine(folded), _sine(0.25 - size)


def _sine(v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return v * polynomial(_SINE, v * v)


@jax.custom_jvp
def normal_quantile(v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The standard normal quantile of a centred uniform (see uniforms.py), with z(-v) = -z(v) exactly.

    Relative error below 5e-7 in float32 for every v of the generator; in float64 it is `ndtri` of the smaller tail.
    """
    p = jnp.abs(v)
    if v.dtype == jnp.float64:
        z = -ndtri(p)
    else:
        t = -log_of_normal(4.0 * p * (1.0 - p))
        # Clamped so that the branch not taken stays finite.
        tail = polynomial(_TAIL, jnp.sqrt(jnp.maximum(t, 6.25)) - 4.5)
        z = jnp.where(t < 6.25, (1.0 - 2.0 * p) * polynomial(_CENTRAL, t - 3.125), tail)
    # Both a sample and its density read it.
    return fence(jnp.where(v > 0, -z, z))


@normal_quantile.defjvp
def _normal_quantile_jvp(
    primals: tuple[Float[Array, "*shape"]], tangents: tuple[Float[Array, "*shape"]]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    # dz/dv = sqrt(2 pi) exp(z^2 / 2), the reciprocal density: exact, and cheaper than differentiating the polynomials.
    (v,), (v_dot,) = primals, tangents
    z = normal_quantile(v)
    return z, v_dot * np.sqrt(2 * np.pi) * jnp.exp(0.5 * z * z)
