"""One point in each of 2^k boxes of equal volume."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, UInt32

from mcengine import numerics
from mcengine.points.units import SizedUnits, stack_bits


class Stratified(SizedUnits):
    """2^k boxes of equal volume, one random point in each; the unit is one such set.

    The cube is halved k times, along one coordinate after another: in d dimensions the first k mod d coordinates are
    cut into 2^(floor(k/d) + 1) intervals and the others into 2^floor(k/d), so that with k < d only the first k are cut.
    Variance falls like n^(-1 - 2/d) for smooth f, and is never larger than that of independent points.

    **Arguments:**

    - `size`: 2^k; by default so that the budget makes 16 to 31 units;
    - `generator`: as in `IID`.
    """

    generator: numerics.Generator = eqx.field(static=True, default="counter")

    def words(
        self, key: PRNGKeyArray, start: Int[Array, ""], count: int, num_uniforms: int
    ) -> UInt32[Array, "num_uniforms count"]:
        num_bits = self.unit_size.bit_length() - 1
        index = start.astype(jnp.uint32) + jnp.arange(count, dtype=jnp.uint32)
        random = numerics.random_words(jax.random.fold_in(key, start), (num_uniforms, count), self.generator)
        coordinates = []
        for i in range(num_uniforms):
            bits_here = num_bits // num_uniforms + (i < num_bits % num_uniforms)
            coordinates.append(stack_bits(index & jnp.uint32((1 << bits_here) - 1), bits_here, random[i]))
            index = index >> jnp.uint32(bits_here)
        return jnp.stack(coordinates)
