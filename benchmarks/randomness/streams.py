"""The orders in which the engine reads its random words, each as an endless stream of 32-bit words."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcengine.numerics.generator import random_words

# Samples of a default block, and the number of coordinates, keys or blocks that are read side by side.
BLOCK, SIDE_BY_SIDE = 2**18, 16


@partial(jax.jit, static_argnames=("shape", "reverse"))
def _words(seeds: Array, index: Array, shape: tuple[int, ...], reverse: bool) -> Array:
    def of_seed(seed: Array) -> Array:
        return random_words(jax.random.fold_in(jax.random.key(seed), index), shape)

    words = jax.vmap(of_seed)(seeds).reshape(-1, shape[-1]).T
    return jax.lax.bitcast_convert_type(_reversed(words) if reverse else words, jnp.uint32)


def _reversed(words: Array) -> Array:
    """The words with their bits in reverse order."""
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0x0000FFFF)):
        words = ((words >> jnp.uint32(shift)) & jnp.uint32(mask)) | ((words & jnp.uint32(mask)) << jnp.uint32(shift))
    return words


def samples(reverse: bool = False) -> Iterator[np.ndarray]:
    """One key, one coordinate: the counters of block 0, then those of block 1, and so on."""
    return _blocks(np.zeros(1, np.uint32), (1, BLOCK), reverse)


def coordinates(reverse: bool = False) -> Iterator[np.ndarray]:
    """One key, sample by sample: all coordinates of a point before the next."""
    return _blocks(np.zeros(1, np.uint32), (SIDE_BY_SIDE, BLOCK), reverse)


def keys(reverse: bool = False) -> Iterator[np.ndarray]:
    """Neighbouring seeds side by side: sample 0 of every seed, then sample 1."""
    return _blocks(np.arange(SIDE_BY_SIDE, dtype=np.uint32), (1, BLOCK), reverse)


def short(reverse: bool = False) -> Iterator[np.ndarray]:
    """Blocks of 64 samples in 64 coordinates, as in small units of many dimensions: mostly keys, few counters."""
    many = np.arange(64, dtype=np.uint32)
    return _blocks(many, (64, 64), reverse)


def _blocks(seeds: np.ndarray, shape: tuple[int, ...], reverse: bool) -> Iterator[np.ndarray]:
    index = 0
    while True:
        yield np.asarray(_words(seeds, np.uint32(index), shape, reverse))
        index += 1


STREAMS = {"samples": samples, "coordinates": coordinates, "keys": keys, "short": short}
