"""Samples of a mixture with fixed counts per component."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from mcengine import numerics


class Allocated(eqx.Module):
    """Independent samples, counts[k] of component k in every unit of sum(counts) samples.

    The mixture's first uniform chooses the component; here it is the middle of each component's stretch instead of
    random. The unit is one round through the counts: taking single samples as units would understate the gain.

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
        return True

    def for_budget(self, num_samples: int | None) -> "Allocated":
        return self

    def draw(self, key: PRNGKeyArray, index: Array, size: int, distribution):
        shape = (self.words, distribution.num_uniforms, size)
        bits = numerics.random_words(jax.random.fold_in(key, index), shape, self.generator)
        v = numerics.centred_uniform(bits)
        middles = (np.arange(self.unit_size) + 0.5) / self.unit_size
        chosen = numerics.from_unit(jnp.asarray(middles, v.dtype))
        v = jnp.concatenate([jnp.tile(chosen, size // self.unit_size)[None], v[1:]])
        fenced = numerics.fence(v)
        return numerics.over_samples(distribution.forward)(fenced)
