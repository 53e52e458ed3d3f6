"""Tails of log-concave densities: their integral, and the step that inverts them."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

# (nodes of Gauss and Legendre, minus the exponent at which the integral is cut off), by the dtype's bits.
_RULES = {32: (16, 17.0), 64: (40, 38.0)}


def depth(dtype: DTypeLike) -> float:
    """Minus the exponent at which the integral of a decay is cut off."""
    return _RULES[jnp.finfo(dtype).bits][1]


def integral_of_decay(exponent: Callable[[Array], Array], reach: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """int_0^reach exp(exponent(s)) ds for a concave exponent that is 0 at 0 and about -depth at the reach.

    By s = reach u^2, which puts more nodes where the integrand is large; the relative error is that of the dtype.
    """
    reach = lax.stop_gradient(reach)
    points, weights = np.polynomial.legendre.leggauss(_RULES[jnp.finfo(reach.dtype).bits][0])
    u = 0.5 * (points + 1.0)
    places, shares = jnp.asarray(u * u, reach.dtype), jnp.asarray(u * weights, reach.dtype)

    def add(i: Array, total: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return total + shares[i] * jnp.exp(exponent(reach * places[i]))

    # A loop is as fast as its unrolled form and compiles in two thirds of the time.
    return reach * lax.fori_loop(0, len(u), add, jnp.zeros_like(reach))


def step(
    residual: Float[Array, "*shape"], slope: Float[Array, "*shape"], density_slope: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Halley's step for log F = log p, where log F has this slope and log F' this one, bounded by 2.

    F is a tail probability, either of the two: (log F)'' = slope (density_slope - slope).
    """
    newton = -residual / jnp.where(slope == 0, 1.0, slope)
    bend = 1.0 + 0.5 * newton * (density_slope - slope)
    return jnp.clip(newton / jnp.clip(bend, 0.5, 4.0), -2.0, 2.0)


def complement(log_p: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 - p), finite where rounding makes p = 1."""
    limits = jnp.finfo(log_p.dtype)
    return jnp.log(-jnp.expm1(jnp.minimum(log_p, -limits.epsneg)))


def finite(log_p: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The logarithm of a probability, -1e30 for a probability of 0: a Newton step from infinity would be NaN."""
    return jnp.maximum(log_p, -1e30)


def log_ratio(x: Float[Array, "*shape"], y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(x / y) for x, y > 0, without cancellation where they are close."""
    near = (x < 2.0 * y) & (y < 2.0 * x)
    return jnp.where(near, jnp.log1p(jnp.where(near, x - y, 0.0) / y), jnp.log(x) - jnp.log(y))


def excess_of_exp(t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """exp(t) - 1 - t >= 0, by its series where the difference would cancel."""
    near = jnp.abs(t) < 0.35
    w = jnp.where(near, t, 0.0)
    series = jnp.ones_like(w)
    for k in range(13, 2, -1):
        series = 1.0 + series * w * (1.0 / k)
    return jnp.where(near, 0.5 * w * w * series, jnp.expm1(jnp.where(near, 1.0, t)) - t)
