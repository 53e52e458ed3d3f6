"""Points that are stratified in every coordinate by itself."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, UInt32

from mcengine import numerics
from mcengine.points import units

# A unit is sorted as a whole, so it must fit into a block.
MAX_SIZE = 4096


class LatinHypercube(eqx.Module):
    """n points, one in each of the n slices of every coordinate, slices matched at random; the unit is one such set.

    Takes away the variance of the additive part of f, in any dimension, and never costs more than one sample of n:
    Var <= Var_iid n / (n - 1). Sources: McKay, Beckman and Conover (1979); Owen (1997).

    **Arguments:** `size`, n, a power of two up to 4,096; by default so that the budget makes at least 16 units;
    `generator`, as in `IID`.
    """

    size: int | None = eqx.field(static=True, default=None)
    generator: numerics.Generator = eqx.field(static=True, default="counter")

    def __check_init__(self):
        units.check_size("LatinHypercube", self.size)
        if self.size is not None and self.size > MAX_SIZE:
            raise ValueError(f"LatinHypercube: size must be at most {MAX_SIZE:,}, got {self.size:,}.")

    @property
    def unit_size(self) -> int:
        return self.size or units.USUAL_SIZE

    @property
    def needs_transport(self) -> bool:
        return True

    def for_budget(self, num_samples: int | None) -> "LatinHypercube":
        return units.sized(self, num_samples, most=MAX_SIZE)

    def words(self, key: PRNGKeyArray, start: Array, count: int, num_uniforms: int) -> UInt32[Array, "dim count"]:
        if count != self.unit_size:
            raise ValueError(
                f"LatinHypercube: a unit of {self.unit_size:,} points does not fit into a block of {count:,}; use a "
                "smaller size."
            )
        order, random = numerics.random_words(key, (2, num_uniforms, count), self.generator)
        slices = jnp.argsort(order, axis=-1).astype(jnp.uint32)
        return units.stack_bits(slices, count.bit_length() - 1, random)

    def draw(self, key: PRNGKeyArray, index: Array, size: int, distribution):
        return units.draw_units(self, key, index, size, distribution)
