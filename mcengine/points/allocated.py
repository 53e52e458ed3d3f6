"""Samples of a mixture with fixed counts per component."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from mcengine import numerics


class Allocated(eqx.Module):
    """Independent samples, counts[k] of component k in every unit of sum(counts) samples.

    The mixture's first uniform chooses the component; here it is the middle of each component's stretch instead of
    random. Where a component is no transport, all are drawn from and the counts choose. The unit is one round through
    the counts: taking single samples as units would understate the gain.

    **Arguments:** `counts`, whole numbers of at least 1; `words` and `generator`, as in `IID`.
    """

    counts: tuple[int, ...] = eqx.field(static=True, converter=lambda counts: tuple(int(n) for n in counts))
    words: int = eqx.field(static=True, default=1)
    generator: numerics.Generator = eqx.field(static=True, default="counter")

    def __check_init__(self):
        if not self.counts or min(self.counts) < 1:
            raise ValueError(f"Allocated: counts must be whole numbers of at least 1, got {self.counts}.")

    @property
    def unit_size(self) -> int:
        return sum(self.counts)

    @property
    def needs_transport(self) -> bool:
        return False

    def for_budget(self, num_samples: int | None) -> "Allocated":
        return self

    def draw(self, key: PRNGKeyArray, index: Array, size: int, distribution):
        block_key = jax.random.fold_in(key, index)
        if not hasattr(distribution, "forward"):
            component = np.repeat(np.arange(len(self.counts)), self.counts)
            x = distribution.sample_components(
                block_key, self._laid_out(jnp.asarray(component, jnp.int32), index, size)
            )
            return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), x), None
        bits = numerics.random_words(block_key, (self.words, distribution.num_uniforms, size), self.generator)
        v = numerics.centred_uniform(bits)
        middles = (np.arange(self.unit_size) + 0.5) / self.unit_size
        chosen = self._laid_out(numerics.from_unit(jnp.asarray(middles, v.dtype)), index, size)
        v = jnp.concatenate([chosen[None], v[1:]])
        fenced = numerics.fence(v)
        return numerics.over_samples(distribution.forward)(fenced)

    def _laid_out(self, unit: Array, index: Array, size: int) -> Array:
        """What every place of a unit has, for the samples of one block: whole units, or a part of one."""
        if size >= self.unit_size:
            return jnp.tile(unit, size // self.unit_size)
        part = index % (self.unit_size // size)
        return lax.dynamic_slice_in_dim(unit, part * size, size)
