"""A rank-1 lattice, shifted at random."""

import functools
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, UInt32

from mcengine.points import units

MAX_SIZE, MAX_DIM = 2**20, 250


@functools.cache
def generating_vector() -> np.ndarray:
    """Odd integers below 2^20, one per dimension: Cools, Kuo and Nuyens (2006), see data/README.md."""
    return np.loadtxt(Path(__file__).parent / "data" / "cools_kuo_nuyens.txt", dtype=np.uint32).ravel()


class Lattice(eqx.Module):
    """Points {i z / n + shift} of a rank-1 lattice of n = 2^k points with a random shift; the unit is one shift.

    Variance falls nearly like n^-2 for integrands of bounded mixed derivatives, faster for periodic ones; `tent` folds
    the cube so that smooth f become periodic (Hickernell 2002). Up to 250 dimensions and 2^20 points.

    **Arguments:** `size`, n; by default so that the budget makes 16 to 31 units; `tent`, u -> 1 - |2u - 1|.
    """

    size: int | None = eqx.field(static=True, default=None)
    tent: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        units.check_size("Lattice", self.size)
        if self.size is not None and self.size > MAX_SIZE:
            raise ValueError(f"Lattice: size must be at most {MAX_SIZE:,}, got {self.size:,}.")

    @property
    def unit_size(self) -> int:
        return self.size or units.USUAL_SIZE

    @property
    def needs_transport(self) -> bool:
        return True

    def for_budget(self, num_samples: int | None) -> "Lattice":
        return units.sized(self, num_samples, most=MAX_SIZE)

    def words(self, key: PRNGKeyArray, start: Array, count: int, num_uniforms: int) -> UInt32[Array, "dim count"]:
        if num_uniforms > MAX_DIM:
            raise ValueError(f"Lattice: there are {MAX_DIM} dimensions, and {num_uniforms} uniforms are asked for.")
        num_bits = self.unit_size.bit_length() - 1
        index = start.astype(jnp.uint32) + jnp.arange(count, dtype=jnp.uint32)
        z = jnp.asarray(generating_vector()[:num_uniforms])
        shift = jax.random.bits(key, (num_uniforms, 1), jnp.uint32)
        # Integers modulo 2^32 are fractions modulo 1: i z / n exactly, whatever i.
        words = (index[None] * z[:, None] << jnp.uint32(32 - num_bits)) + shift
        if not self.tent:
            return words
        return jnp.where(words >> jnp.uint32(31) == 1, ~words, words) << jnp.uint32(1)

    def draw(self, key: PRNGKeyArray, index: Array, size: int, distribution):
        return units.draw_units(self, key, index, size, distribution)
