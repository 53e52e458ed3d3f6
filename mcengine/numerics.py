"""Every trick for number formats and for the compiler, each with its reason, in one place.

A uniform number is carried as a *centred uniform* ``v`` in [-1/2, 1/2]: ``v > 0`` stands for the probability ``v``
and ``v < 0`` for ``1 + v``. One float thus holds the small probability of either tail as itself. The usual ``u`` in
[0, 1) cannot: near 1 its float32 grid is 6e-8 wide, which is why `jax.random.normal` ends at +5.4.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, UInt32


def float_dtype() -> jnp.dtype:
    """The kernels' dtype: float32, or float64 where the user has set ``jax_enable_x64``."""
    return jnp.result_type(float)


def centred_uniform(bits: UInt32[Array, "words *shape"]) -> Float[Array, "*shape"]:
    """Centred uniforms from one or two 32-bit words each; never 0, and increasing in the first word around the circle.

    |v| = (m + 1/2) / 2^32 with m the low 31 bits (complemented when the top bit, the sign of v, is set), so that the
    tails are resolved to 2^-33 with one word and 2^-65 with two.
    """
    signed = lax.bitcast_convert_type(bits[0], jnp.int32)
    low = jnp.where(signed < 0, ~signed, signed).astype(float_dtype())
    if bits.shape[0] == 1:
        magnitude = (low + 0.5) * 2.0**-32
    else:
        magnitude = (low + (bits[1].astype(float_dtype()) + 0.5) * 2.0**-32) * 2.0**-32
    return jnp.where(signed < 0, -magnitude, magnitude)


def uniform_bits(key: Array, words: int, shape: tuple[int, ...]) -> UInt32[Array, "words ..."]:
    """Random words of JAX's default generator (threefry), ready for `centred_uniform`."""
    return jax.random.bits(key, (words, *shape), jnp.uint32)


def log_lower(v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log of the probability that the centred uniform v stands for, exact in both tails."""
    positive = v > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, v, 1.0)), jnp.log1p(jnp.where(positive, 0.0, v)))


def log_upper(v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 - u) for the probability u that v stands for, exact in both tails."""
    return log_lower(-v)


def to_unit(v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The probability in (0, 1] itself. Loses the upper tail: use `log_lower` and `log_upper` where it matters."""
    return jnp.where(v > 0, v, 1.0 + v)


def from_unit(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The centred uniform of a probability u in (0, 1)."""
    return jnp.where(u <= 0.5, u, u - 1.0)


# Minimax fits (relative error) of the normal quantile, after the form of M. Giles, "Approximating the erfinv
# function" (2011): z = (1 - 2p) P(t - 3.125) for t = -log(4p(1 - p)) below 6.25, else Q(sqrt(t) - 4.5), up to t = 46,
# that is p = 1e-20. `benchmarks/fit_normal_quantile.py` makes them.
_CENTRAL = (
    2.3386209e00, 3.3963475e-01, -8.5337525e-03, -1.0472283e-03, 2.6481517e-04,
    -1.9741852e-05, -2.1541596e-06, 6.1601486e-07, -1.2343249e-08, -7.1558048e-09,
)  # fmt: skip
_TAIL = (
    6.1444097e00, 1.4286858e00, 4.6603935e-04, -6.1085960e-04, 2.0287075e-04,
    -5.3447813e-05, 1.6660011e-05, -4.4487374e-06, 1.1360690e-07, 1.4500112e-07,
)  # fmt: skip


def polynomial(coefficients: tuple[float, ...], x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """sum_i c_i x^i by Horner's rule, lowest power first."""
    result = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = result * x + coefficient
    return result


@jax.custom_jvp
def normal_quantile(v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The standard normal quantile of a centred uniform, both tails alike: z(-v) = -z(v).

    Relative error below 4e-7 in float32 for every word; in float64 it is SciPy's `ndtri` of the smaller tail.
    """
    p = jnp.abs(v)
    if v.dtype == jnp.float64:
        z = -ndtri(p)
    else:
        t = -jnp.log(4.0 * p * (1.0 - p))
        # Clamped so that the branch not taken stays finite.
        tail = polynomial(_TAIL, jnp.sqrt(jnp.maximum(t, 6.25)) - 4.5)
        z = jnp.where(t < 6.25, (1.0 - 2.0 * p) * polynomial(_CENTRAL, t - 3.125), tail)
    return jnp.where(v > 0, -z, z)


@normal_quantile.defjvp
def _normal_quantile_jvp(primals, tangents):
    # dz/dv = sqrt(2 pi) exp(z^2 / 2), the reciprocal density: exact, and cheaper than through the polynomials.
    (v,), (v_dot,) = primals, tangents
    z = normal_quantile(v)
    return z, v_dot * np.sqrt(2 * np.pi) * jnp.exp(0.5 * z * z)


# log 2 in two parts; the first has so few bits that its product with an exponent is exact.
_LOG_2_HIGH, _LOG_2_LOW = 0.693145751953125, 1.4286068203094172e-06


LOG2_E = 1.4426950408889634


def minus_log_2_times(x: Float[Array, "*shape"], exponent: Float[Array, "*other"]) -> Float[Array, "*shape"]:
    """x - exponent log 2 for whole exponents, without the rounding of a large product."""
    return (x - exponent * _LOG_2_HIGH) - exponent * _LOG_2_LOW


def two_to(exponent: Any, xp: Any = jnp) -> Any:
    """2^exponent for whole exponents held as floats, exactly: 0 for -inf, and below the smallest normal number.

    `exp2` of a whole number is right only to a bit, and `ldexp` in JAX costs several times as much.
    """
    if xp is np:
        return np.ldexp(1.0, np.clip(exponent, -1100, 1100).astype(np.int32))
    exponent = lax.stop_gradient(exponent)
    info = jnp.finfo(exponent.dtype)
    whole = jnp.uint64 if info.bits == 64 else jnp.uint32
    inside = jnp.clip(exponent, info.minexp, info.maxexp - 1)
    normal = lax.bitcast_convert_type((inside + (info.maxexp - 1)).astype(whole) << info.nmant, exponent.dtype)
    return jnp.where(exponent < info.minexp, 0.0, jnp.where(exponent > info.maxexp - 1, jnp.inf, normal))


def runtime_one(key: Array) -> Float[Array, ""]:
    """The number 1, which the compiler cannot know: a key word as a float is never negative."""
    word = jax.random.key_data(key).reshape(-1)[0].astype(float_dtype())
    return jnp.where(word < 0.0, 1.5, 1.0).astype(float_dtype())


def fence(tree, one: Float[Array, ""] | None = None):
    """The same values, computed once: for what several consumers read and is dear to compute.

    XLA on CPU repeats a producer (generator, quantile, exponentials) inside each of its consumers, but not across a
    division, and dividing by `runtime_one` changes no bit. `lax.optimization_barrier` is dropped before that happens:
    a draw of Student-t and its two densities cost 2.3 times as much with it. It does hold between the steps of a
    `scan`, and is what None asks for.
    """
    return lax.optimization_barrier(tree) if one is None else jax.tree.map(lambda leaf: leaf / one, tree)
