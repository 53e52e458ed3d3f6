"""Random words: a counter-based generator made for vector units, and JAX's threefry.

A word is a function of (key, coordinate, counter). Threefry turns the key into two words for each coordinate, at little
cost. A hash of the counter, keyed with these two words, then makes the words themselves, in an eighth to a fifteenth of
threefry's time on a CPU. It passes TestU01's SmallCrush and Crush in the orders in which samples, coordinates and
neighbouring keys are read: `python -m benchmarks.randomness`, results/randomness/.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PRNGKeyArray, UInt32

Generator = Literal["counter", "threefry"]


def hashed(
    counter: UInt32[Array, "*shape"], k0: UInt32[Array, "..."], k1: UInt32[Array, "..."]
) -> UInt32[Array, "*shape"]:
    """A random word for each counter, under the key (k0, k1).

    Shifts and odd multipliers (C. Wellons's triple32) permute the counters, with the key added twice. The value after
    the first round is added to the last (Davies and Meyer), because a permutation alone would never repeat a word, and
    random words do repeat.
    """

    def scatter(x: UInt32[Array, "..."], shift: int, multiplier: int) -> UInt32[Array, "..."]:
        return (x ^ (x >> jnp.uint32(shift))) * jnp.uint32(multiplier)

    x = scatter(counter + k0, 17, 0xED5AD4BB)
    x = first = x ^ (x >> jnp.uint32(11))
    x = scatter(scatter(x + k1, 16, 0xAC4C1B51), 15, 0x31848BAB)
    return (x ^ (x >> jnp.uint32(14))) + first


def random_words(key: PRNGKeyArray, shape: tuple[int, ...], generator: str = "counter") -> UInt32[Array, "..."]:
    """Random words of 32 bits. The last axis counts samples; each entry of the other axes is a stream of its own.

    **Arguments:**

    - `key`: one key;
    - `shape`: [..., samples], at most 2^32 samples;
    - `generator`: "counter", or "threefry", the default of JAX, which would take most of the time of a weighted sample.

    **Raises:** `ValueError` for any other generator.
    """
    if generator not in ("counter", "threefry"):
        raise ValueError(f"generator must be 'counter' or 'threefry', got {generator!r}.")
    if generator == "threefry":
        return jax.random.bits(key, shape, jnp.uint32)
    k0, k1 = jax.random.bits(key, (2, *shape[:-1], 1), jnp.uint32)
    return hashed(lax.broadcasted_iota(jnp.uint32, shape, len(shape) - 1), k0, k1)
