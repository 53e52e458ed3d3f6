"""Rank-1 lattices, shifted at random."""

import functools
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, UInt32

from mcengine.points.units import SizedUnits

MAX_DIM = 250


@functools.cache
def generating_vector() -> UInt32[np.ndarray, "250"]:
    """Odd integers below 2^20, one per dimension: Cools, Kuo and Nuyens (2006), see data/README.md."""
    return np.loadtxt(Path(__file__).parent / "data" / "cools_kuo_nuyens.txt", dtype=np.uint32).ravel()


class Lattice(SizedUnits):
    """Points {i z / n + shift} of a rank-1 lattice of n = 2^k points with a random shift; the unit is one shift.

    Variance falls nearly like n^-2 for integrands with bounded mixed derivatives, and faster for periodic ones. At most
    250 dimensions and 2^20 points.

    **Arguments:**

    - `size`: n; by default so that the budget makes 16 to 31 units;
    - `tent`: whether u is mapped to 1 - |2u - 1|, which makes smooth f periodic (Hickernell 2002).
    """

    tent: bool = eqx.field(static=True, default=False)
    max_size: ClassVar[int] = 2**20

    def words(
        self, key: PRNGKeyArray, start: Int[Array, ""], count: int, num_uniforms: int
    ) -> UInt32[Array, "num_uniforms count"]:
        if num_uniforms > MAX_DIM:
            raise ValueError(f"Lattice: the generating vector has {MAX_DIM} dimensions, fewer than {num_uniforms}.")
        num_bits = self.unit_size.bit_length() - 1
        index = start.astype(jnp.uint32) + jnp.arange(count, dtype=jnp.uint32)
        z = jnp.asarray(generating_vector()[:num_uniforms])
        shift = jax.random.bits(key, (num_uniforms, 1), jnp.uint32)
        # Integers modulo 2^32 are fractions modulo 1: i z / n exactly, whatever i.
        words = (index[None] * z[:, None] << jnp.uint32(32 - num_bits)) + shift
        if not self.tent:
            return words
        return jnp.where(words >> jnp.uint32(31) == 1, ~words, words) << jnp.uint32(1)
