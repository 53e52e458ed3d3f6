"""One point in each of 2^k boxes of equal volume."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, UInt32

from mcengine import numerics
from mcengine.points import units


class Stratified(eqx.Module):
    """2^k boxes of equal volume, one random point in each; the unit is one such set.

    The cube is halved k times, along one coordinate after another, so that every dimension works: in d dimensions the
    first k mod d coordinates are cut into 2^(floor(k/d) + 1) parts, the others into 2^floor(k/d), and beyond k
    coordinates none. Variance falls like n^(-1 - 2/d) for smooth f. Never worse than independent points.

    **Arguments:** `size`, 2^k; by default so that the budget makes 16 to 31 units; `generator`, as in `IID`.
    """

    size: int | None = eqx.field(static=True, default=None)
    generator: numerics.Generator = eqx.field(static=True, default="counter")

    def __check_init__(self):
        units.check_size("Stratified", self.size)

    @property
    def unit_size(self) -> int:
        return self.size or units.USUAL_SIZE

    @property
    def needs_transport(self) -> bool:
        return True

    def for_budget(self, num_samples: int | None) -> "Stratified":
        return units.sized(self, num_samples, most=2**30)

    def words(self, key: PRNGKeyArray, start: Array, count: int, num_uniforms: int) -> UInt32[Array, "dim count"]:
        num_bits = self.unit_size.bit_length() - 1
        index = start.astype(jnp.uint32) + jnp.arange(count, dtype=jnp.uint32)
        random = numerics.random_words(jax.random.fold_in(key, start), (num_uniforms, count), self.generator)
        rows = []
        for i in range(num_uniforms):
            mine = num_bits // num_uniforms + (i < num_bits % num_uniforms)
            rows.append(units.stack_bits(index & jnp.uint32((1 << mine) - 1), mine, random[i]))
            index = index >> jnp.uint32(mine)
        return jnp.stack(rows)

    def draw(self, key: PRNGKeyArray, index: Array, size: int, distribution):
        return units.draw_units(self, key, index, size, distribution)
