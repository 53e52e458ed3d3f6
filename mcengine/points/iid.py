"""Independent points: plain Monte Carlo."""

import equinox as eqx
import jax
from jaxtyping import Array, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions.protocol import prefers_sample_many


class IID(eqx.Module):
    """Independent samples, drawn from block keys `fold_in(key, index)`.

    **Arguments:** `words`, the 32-bit words per uniform. One resolves tails to 2^-33 (6.3 standard deviations of a
    normal), two to 2^-65 (9.1) at twice the generator's cost. Two are also what draws families through their inverse
    distribution function (Gamma, Beta) that one word leaves to their cheaper samplers. `generator`, what makes the
    words: "counter", or JAX's own "threefry", which is several times dearer: see `mcengine.numerics.generator`.
    """

    words: int = eqx.field(static=True, default=1)
    generator: numerics.Generator = eqx.field(static=True, default="counter")

    def __check_init__(self):
        if self.words not in (1, 2):
            raise ValueError(f"IID: words must be 1 or 2, got {self.words}.")

    @property
    def unit_size(self) -> int:
        return 1

    @property
    def needs_transport(self) -> bool:
        return False

    def for_budget(self, num_samples: int | None) -> "IID":
        return self

    def draw(self, key: PRNGKeyArray, index: Array, size: int, distribution):
        block_key = jax.random.fold_in(key, index)
        cheaper = self.words == 1 and prefers_sample_many(distribution)
        if hasattr(distribution, "forward") and not cheaper:
            # Dimension first: each coordinate is one contiguous array, which is what vector units like.
            bits = numerics.random_words(block_key, (self.words, distribution.num_uniforms, size), self.generator)
            v = numerics.centred_uniform(bits)
            if distribution.num_uniforms > 1:
                # Both x and its density read them; of a single one the quantile's own fence takes care.
                v = numerics.fence(v)
            return numerics.over_samples(distribution.forward)(v)
        if hasattr(distribution, "sample_many"):
            x = distribution.sample_many(block_key, size)
            return jax.tree.map(lambda leaf: jax.numpy.moveaxis(leaf, 0, -1), x), None
        keys = jax.random.split(block_key, size)
        return jax.vmap(distribution.sample, out_axes=-1)(keys), None
