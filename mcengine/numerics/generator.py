"""Random words: a counter-based generator made for vector units, and JAX's own threefry.

A word is addressed by (key, coordinate, counter). Threefry turns the key into two words per coordinate, which costs
next to nothing; a hash of the counter keyed with these two makes the words themselves, eight to fifteen times cheaper
than threefry's on a CPU. It passes TestU01's SmallCrush and Crush in the orders in which samples, coordinates and
neighbouring keys read it: `python -m benchmarks.randomness`, results/randomness/.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, UInt32

Generator = Literal["counter", "threefry"]


def hashed(counter: UInt32[Array, "*shape"], k0: UInt32[Array, "..."], k1: UInt32[Array, "..."]) -> Array:
    """A word for each counter, under the key (k0, k1).

    Shifts and odd multipliers (C. Wellons's triple32) permute the counters, with the key added twice. The value after
    the first round is added to the last, as Davies and Meyer do: a permutation alone never repeats a word, which
    random words do.
    """

    def scatter(x: Array, shift: int, multiplier: int) -> Array:
        return (x ^ (x >> jnp.uint32(shift))) * jnp.uint32(multiplier)

    x = scatter(counter + k0, 17, 0xED5AD4BB)
    x = first = x ^ (x >> jnp.uint32(11))
    x = scatter(scatter(x + k1, 16, 0xAC4C1B51), 15, 0x31848BAB)
    return (x ^ (x >> jnp.uint32(14))) + first


def random_words(key: Array, shape: tuple[int, ...], generator: str = "counter") -> UInt32[Array, "..."]:
    """Random words; the last axis counts samples, each entry of the others is a stream of its own.

    **Arguments:** `key`; `shape`, [..., samples] with at most 2^32 samples; `generator`, "counter" or "threefry"
    (JAX's default: 20 rounds, cryptographic ancestry, and most of the cost of a weighted sample).
    """
    if generator not in ("counter", "threefry"):
        raise ValueError(f"generator must be 'counter' or 'threefry', got {generator!r}.")
    if generator == "threefry":
        return jax.random.bits(key, shape, jnp.uint32)
    k0, k1 = jax.random.bits(key, (2, *shape[:-1], 1), jnp.uint32)
    return hashed(lax.broadcasted_iota(jnp.uint32, shape, len(shape) - 1), k0, k1)
