"""Uniform numbers that are exact in both tails.

A *centred uniform* ``v`` in [-1/2, 1/2] stands for the probability ``v`` where ``v > 0`` and ``1 + v`` where ``v < 0``.
So one float holds the small probability of either tail exactly. The usual ``u`` in [0, 1) cannot: near 1 its float32
grid is 6e-8 wide, which is why `jax.random.normal` ends at +5.4.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt32

from mcengine.numerics.formats import float_dtype


def centred_uniform(bits: UInt32[Array, "words *shape"]) -> Float[Array, "*shape"]:
    """Centred uniforms from one or two 32-bit words each; never 0. The probability increases with the first word.

    |v| = (m + 1/2) / 2^32, where the top bit is the sign of v, and m the other 31 bits, complemented where it is set.
    The tails are resolved to 2^-33 with one word and 2^-65 with two.
    """
    signed = lax.bitcast_convert_type(bits[0], jnp.int32)
    if bits.shape[0] == 1:
        # One formula serves both signs: -(~s + 1/2) = s + 1/2.
        return (signed.astype(float_dtype()) + 0.5) * 2.0**-32
    low = jnp.where(signed < 0, ~signed, signed).astype(float_dtype())
    magnitude = (low + (bits[1].astype(float_dtype()) + 0.5) * 2.0**-32) * 2.0**-32
    return jnp.where(signed < 0, -magnitude, magnitude)


def log_lower(v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log u of the probability u that v stands for, exact in both tails."""
    positive = v > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, v, 1.0)), jnp.log1p(jnp.where(positive, 0.0, v)))


def log_upper(v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 - u) for the probability u that v stands for, exact in both tails."""
    return log_lower(-v)


def to_unit(v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The probability u in (0, 1]. Loses the upper tail: use `log_lower` and `log_upper` where it matters."""
    return jnp.where(v > 0, v, 1.0 + v)


def from_unit(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The centred uniform of a probability u in (0, 1)."""
    return jnp.where(u <= 0.5, u, u - 1.0)
