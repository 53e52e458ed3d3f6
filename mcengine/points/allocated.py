"""Samples of a mixture with fixed counts per component."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from mcengine import numerics
from mcengine.distributions.protocol import Sampler, is_transport
from mcengine.points.base import Points


class Allocated(Points):
    """Independent samples, counts[k] of component k in every unit of sum(counts) samples.

    The mixture's first uniform chooses the component. Here it is not random but the middle of the component's interval;
    where a component is not a transport, the component is chosen by `sample_components`. The unit is one round through
    the counts: error bars from single samples would understate the gain.

    **Arguments:**

    - `counts`: samples of each component in a unit, at least 1;
    - `words`, `generator`: as in `IID`.
    """

    counts: tuple[int, ...] = eqx.field(static=True, converter=lambda counts: tuple(int(n) for n in counts))
    words: int = eqx.field(static=True, default=1)
    generator: numerics.Generator = eqx.field(static=True, default="counter")
    needs_transport: ClassVar[bool] = False

    def __check_init__(self):
        if not self.counts or min(self.counts) < 1:
            raise ValueError(f"Allocated: counts must be whole numbers of at least 1, got {self.counts}.")

    @property
    def unit_size(self) -> int:
        return sum(self.counts)

    def draw(
        self, key: PRNGKeyArray, index: Int[Array, ""], size: int, distribution: Sampler
    ) -> tuple[Any, Float[Array, " size"] | None]:
        block_key = jax.random.fold_in(key, index)
        if not is_transport(distribution):
            component = np.repeat(np.arange(len(self.counts)), self.counts)
            x = distribution.sample_components(
                block_key, self._for_block(jnp.asarray(component, jnp.int32), index, size)
            )
            return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), x), None
        bits = numerics.random_words(block_key, (self.words, distribution.num_uniforms, size), self.generator)
        v = numerics.centred_uniform(bits)
        middles = (np.arange(self.unit_size) + 0.5) / self.unit_size
        chosen = self._for_block(numerics.from_unit(jnp.asarray(middles, v.dtype)), index, size)
        v = jnp.concatenate([chosen[None], v[1:]])
        fenced = numerics.fence(v)
        return numerics.over_samples(distribution.forward)(fenced)

    def _for_block(self, unit: Shaped[Array, " unit"], index: Int[Array, ""], size: int) -> Shaped[Array, " size"]:
        """The entry of `unit` for each sample of a block, which holds whole units or a part of one."""
        if size >= self.unit_size:
            return jnp.tile(unit, size // self.unit_size)
        part = index % (self.unit_size // size)
        return lax.dynamic_slice_in_dim(unit, part * size, size)
