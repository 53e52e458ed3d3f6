"""Tail probabilities of the standard normal distribution and their inverse, in logs, accurate arbitrarily far out."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine import numerics

_LOG_SQRT_2PI = float(0.5 * np.log(2 * np.pi))
_SQRT_HALF = float(np.sqrt(0.5))
# Beyond this the polynomials of `numerics.normal_quantile` end (p = 1e-20), and soon float32 itself (p = 1e-38).
_LOG_FAR = -44.0


@jax.custom_jvp
def log_sf(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log P(Z > z), with small relative error at both ends: about -z^2/2 far out and -P(Z < z) on the other side."""
    far = z > 4.0
    tail = 0.5 * jax.lax.erfc(jnp.minimum(jnp.abs(z), 4.0) * _SQRT_HALF)
    other = 0.5 * jax.lax.erfc(jnp.maximum(-z, 0.0) * _SQRT_HALF)
    near = jnp.where(z > 0, jnp.log(tail), jnp.log1p(-other))
    safe = jnp.where(far, z, 4.0)
    return jnp.where(far, jnp.log(_far_mills_ratio(safe)) - 0.5 * safe * safe - _LOG_SQRT_2PI, near)


@log_sf.defjvp
def _log_sf_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    # The hazard phi / P(Z > z).
    (z,), (z_dot,) = primals, tangents
    log_tail = log_sf(z)
    far = z > 4.0
    near = jnp.exp(-0.5 * jnp.minimum(z, 4.0) ** 2 - _LOG_SQRT_2PI - jnp.where(far, 0.0, log_tail))
    return log_tail, -z_dot * jnp.where(far, 1.0 / _far_mills_ratio(jnp.where(far, z, 4.0)), near)


def _far_mills_ratio(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """P(Z > z) / phi(z) = 1/(z + 1/(z + 2/(z + 3/(z + ...)))), Laplace's continued fraction, for z >= 4."""
    result = z
    for k in range(14, 0, -1):
        result = z + k / result
    return 1.0 / result


@jax.custom_jvp
def quantile(log_lower: Float[Array, "*shape"], log_upper: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """z with log P(Z <= z) = log_lower and log P(Z > z) = log_upper; the smaller of the two decides.

    Within p = 1e-19 by `numerics.normal_quantile`; beyond by three Newton steps on log P(Z > z), which is nearly a
    parabola, from z^2 = -2 log p - log(2 pi) - log z^2.
    """
    log_p = jnp.minimum(log_lower, log_upper)
    sign = jnp.where(log_lower < log_upper, -1.0, 1.0).astype(log_p.dtype)
    # The branch that is not taken gets a finite value. `sign` of a centred uniform: v > 0 is the lower tail.
    near = jnp.abs(numerics.normal_quantile(-sign * jnp.exp(jnp.maximum(log_p, _LOG_FAR))))
    # P = 0 has its quantile at infinity, where Newton would make NaN of it.
    nothing = log_p == -jnp.inf
    target = jnp.where(nothing, _LOG_FAR, jnp.minimum(log_p, _LOG_FAR))
    square = -2.0 * target - 2.0 * _LOG_SQRT_2PI
    z = jnp.sqrt(square - jnp.log(square))
    for _ in range(3):
        mills = _far_mills_ratio(z)
        z = z + (jnp.log(mills) - 0.5 * z * z - _LOG_SQRT_2PI - target) * mills
    return sign * jnp.where(log_p > _LOG_FAR, near, jnp.where(nothing, jnp.inf, z))


@quantile.defjvp
def _quantile_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    # dz = dP_lower / phi(z) = P dlogP / phi(z) on the side of the smaller tail; P / phi is Mills' ratio.
    (log_lower, log_upper), (lower_dot, upper_dot) = primals, tangents
    z = quantile(log_lower, log_upper)
    lower = log_lower < log_upper
    log_p = jnp.where(lower, log_lower, log_upper)
    size = jnp.where(jnp.isfinite(z), jnp.abs(z), 0.0)
    near = jnp.exp(jnp.where(size > 4.0, 0.0, log_p) + 0.5 * jnp.minimum(size, 4.0) ** 2 + _LOG_SQRT_2PI)
    mills = jnp.where(size > 4.0, _far_mills_ratio(jnp.maximum(size, 4.0)), near)
    return z, jnp.where(jnp.isfinite(z), mills, 0.0) * jnp.where(lower, lower_dot, -upper_dot)
