"""Latin hypercubes: points that are stratified in every coordinate by itself."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, UInt32

from mcengine import numerics
from mcengine.points.units import SizedUnits, stack_bits


class LatinHypercube(SizedUnits):
    """n points, one in each of the n slices of every coordinate, slices matched at random; the unit is one such set.

    Removes the variance of the additive part of f, in any dimension, and never costs more than one sample of n:
    Var <= Var_iid n / (n - 1). Sources: McKay, Beckman and Conover (1979); Owen (1997).

    **Arguments:**

    - `size`: n, a power of two up to 4,096; by default so that the budget makes at least 16 units;
    - `generator`: as in `IID`.
    """

    generator: numerics.Generator = eqx.field(static=True, default="counter")
    # A unit is sorted as a whole, so it must fit into a block.
    max_size: ClassVar[int] = 4096

    def words(
        self, key: PRNGKeyArray, start: Int[Array, ""], count: int, num_uniforms: int
    ) -> UInt32[Array, "num_uniforms count"]:
        if count != self.unit_size:
            raise ValueError(
                f"LatinHypercube: a unit of {self.unit_size:,} points does not fit into a block of {count:,}; use a "
                "smaller size."
            )
        order, random = numerics.random_words(key, (2, num_uniforms, count), self.generator)
        slices = jnp.argsort(order, axis=-1).astype(jnp.uint32)
        return stack_bits(slices, count.bit_length() - 1, random)
