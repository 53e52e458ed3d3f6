"""Logarithms of gamma functions without cancellation for large arguments in float32.

After C. Loader, "Fast and accurate computation of binomial probabilities" (2000): densities of the gamma kind are a
deviance (small near the mode) plus Stirling errors (always small), never a difference of large logarithms.
"""

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from mcengine import numerics

LOG_SQRT_2PI = float(0.5 * np.log(2 * np.pi))
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
_HALF_STEP = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432, 691 / 180224)
_SHIFT = 12


def stirling_error(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log Gamma(a) - [(a - 1/2) log a - a + log sqrt(2 pi)] for a > 0: 1/(12 a) - 1/(360 a^3) + ... for large a."""
    large = a > 10.0
    inverse = 1.0 / jnp.where(large, a, 10.0)
    series = inverse * numerics.polynomial(_STIRLING, inverse * inverse)
    small = jnp.where(large, 1.0, a)
    return jnp.where(large, series, gammaln(small) - (small - 0.5) * jnp.log(small) + small - LOG_SQRT_2PI)


def deviance(a: Float[Array, "*shape"], y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """D(a, y) = a log(a / y) - a + y for a >= 0 and y > 0; 0 with slope 0 at a = y, and accurate near it."""
    v = (a - y) / (a + y)
    near = jnp.abs(v) < 0.1
    # a log(a / y) = 2 a atanh(v) = 2 a (v + v^3/3 + ...), whose first term joins y - a to (a - y) v.
    w = jnp.where(near, v, 0.0)
    square = w * w
    tail = numerics.polynomial(tuple(1.0 / (2 * j + 3) for j in range(7)), square)
    series = (a - y) * w + 2.0 * a * w * square * tail
    # Clamped where the quotient would be flushed to 0, beside a y that dwarfs it.
    quotient = jnp.maximum(a / jnp.where(near, 1.0, y), jnp.finfo(a.dtype).tiny)
    far = a * jnp.log(jnp.where(near, 1.0, quotient)) - a + y
    return jnp.where(near, series, far)


def log_gamma_half_step(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log[Gamma(a + 1/2) / Gamma(a)] for a > 0.

    The argument is raised by 12 with Gamma(a + 1) = a Gamma(a), where the asymptotic series is exact to 1e-15. The
    difference of two `gammaln` is wrong by 0.5 in float32 at a = 5e5.
    """
    ratio = jnp.ones_like(a)
    for k in range(_SHIFT):
        ratio = ratio * ((a + k) / (a + (k + 0.5)))
    shifted = a + float(_SHIFT)
    inverse = 1.0 / shifted
    return 0.5 * jnp.log(shifted) + jnp.log(ratio) + inverse * numerics.polynomial(_HALF_STEP, inverse * inverse)
