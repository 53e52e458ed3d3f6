"""Sobol points by index, scrambled as Owen proposes."""

import functools
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, UInt32

from mcengine.points.units import SizedUnits

MAX_DIM = 1024


@functools.cache
def direction_numbers() -> UInt32[np.ndarray, "1024 32"]:
    """Sobol's direction numbers: bit b of a point's index puts word [d, b] into coordinate d, first digit first.

    From polynomials and initial numbers of Joe and Kuo (2008), see data/README.md, by Bratley and Fox's recurrence.
    """
    with np.load(Path(__file__).parent / "data" / "joe_kuo.npz") as data:
        polynomials, initial = data["polynomials"].astype(np.uint64), data["initial"].astype(np.uint64)
    m = np.ones((len(polynomials), 32), np.uint64)
    for dim in range(1, len(polynomials)):
        polynomial = int(polynomials[dim])
        degree = polynomial.bit_length() - 1
        m[dim, :degree] = initial[dim, :degree]
        for b in range(degree, 32):
            value = m[dim, b - degree]
            for k in range(1, degree + 1):
                if polynomial >> (degree - k) & 1:
                    value ^= m[dim, b - k] << np.uint64(k)
            m[dim, b] = value
    return (m << np.arange(31, -1, -1, dtype=np.uint64)).astype(np.uint32)


def sobol_words(start: Int[Array, ""], count: int, directions: UInt32[Array, "dim 32"]) -> UInt32[Array, "dim count"]:
    """Words of the points start .. start + count - 1; `count` is a power of two that divides `start`.

    The word of an index is the exclusive or of the words of its bits: those of the low bits come from two small tables.
    """
    num_bits = count.bit_length() - 1
    low, high = _table(directions[:, : num_bits // 2]), _table(directions[:, num_bits // 2 : num_bits])
    both = (high[:, :, None] ^ low[:, None, :]).reshape(len(directions), count)
    offset = jnp.zeros(len(directions), jnp.uint32)
    for b in range(32):
        bit = (start.astype(jnp.uint32) >> jnp.uint32(b)) & jnp.uint32(1)
        offset = offset ^ (directions[:, b] * bit)
    return both ^ offset[:, None]


def _table(directions: UInt32[Array, "dim bits"]) -> UInt32[Array, "dim entries"]:
    """The exclusive or of every subset of the columns."""
    table = jnp.zeros((len(directions), 1), jnp.uint32)
    for b in range(directions.shape[1]):
        table = jnp.concatenate([table, table ^ directions[:, b : b + 1]], axis=1)
    return table


def reverse_bits(words: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """The 32 bits of each word in the opposite order."""
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0x0000FFFF)):
        low = jnp.uint32(mask)
        words = ((words >> jnp.uint32(shift)) & low) | ((words & low) << jnp.uint32(shift))
    return words


def owen_scramble(words: UInt32[Array, "dim n"], seeds: UInt32[Array, "2 dim"]) -> UInt32[Array, "dim n"]:
    """Nested uniform scrambling: each bit is flipped at random, depending on all bits before it.

    The flips are a hash in which a bit affects only the bits after it (Laine and Karras 2011, constants of N. Vegdahl
    2021), followed by a random digital shift, which makes each point exactly uniform whatever the hash.

    **Arguments:** `words`, coordinates as 32-bit fractions; `seeds`, two random words for each dimension.
    """
    seed, shift = seeds[:, :, None]
    x = reverse_bits(words)  # multiplication carries from low bits to high ones
    x = x ^ (x * jnp.uint32(0x3D20ADEA))
    x = x + seed
    x = x * ((seed >> jnp.uint32(16)) | jnp.uint32(1))
    x = x ^ (x * jnp.uint32(0x05526C56))
    x = x ^ (x * jnp.uint32(0x53A22864))
    return reverse_bits(x) ^ shift


class Sobol(SizedUnits):
    """The first n = 2^k Sobol points, scrambled; the unit is one scramble.

    Unbiased. For smooth f the variance falls nearly like n^-3; for square-integrable f it is never more than a constant
    times that of independent points. All n points of a scramble are used: without one of them the points are no net. At
    most 1,024 dimensions and 2^30 points. Sources: Sobol (1967), Owen (1995, 1997).

    **Arguments:** `size`, n; by default so that the budget makes 16 to 31 scrambles.
    """

    max_size: ClassVar[int] = 2**30

    def words(
        self, key: PRNGKeyArray, start: Int[Array, ""], count: int, num_uniforms: int
    ) -> UInt32[Array, "num_uniforms count"]:
        if num_uniforms > MAX_DIM:
            raise ValueError(
                f"Sobol: there are direction numbers for {MAX_DIM:,} dimensions, fewer than {num_uniforms:,}."
            )
        seeds = jax.random.bits(key, (2, num_uniforms), jnp.uint32)
        return owen_scramble(sobol_words(start, count, jnp.asarray(direction_numbers()[:num_uniforms])), seeds)
