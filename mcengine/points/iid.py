"""Independent points: plain Monte Carlo."""

from typing import Any, ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions.protocol import Sampler, has_sample_many, is_transport, prefers_sample_many
from mcengine.points.base import Points


class IID(Points):
    """Independent samples, drawn from block keys `fold_in(key, index)`.

    **Arguments:**

    - `words`: 32-bit words per uniform, 1 or 2. One word resolves tails to 2^-33 (6.3 standard deviations of a normal),
      two words to 2^-65 (9.1), at twice the cost of the generator. With two words, Gamma, Beta and other families that
      have a cheaper sampler are drawn through their inverse distribution function all the same;
    - `generator`: what makes the words, "counter", or JAX's "threefry", which takes several times as long (see
      `mcengine.numerics.generator`).
    """

    words: int = eqx.field(static=True, default=1)
    generator: numerics.Generator = eqx.field(static=True, default="counter")
    unit_size: ClassVar[int] = 1
    needs_transport: ClassVar[bool] = False

    def __check_init__(self):
        if self.words not in (1, 2):
            raise ValueError(f"IID: words must be 1 or 2, got {self.words}.")

    def draw(
        self, key: PRNGKeyArray, index: Int[Array, ""], size: int, distribution: Sampler
    ) -> tuple[Any, Float[Array, " size"] | None]:
        block_key = jax.random.fold_in(key, index)
        cheaper = self.words == 1 and prefers_sample_many(distribution)
        if is_transport(distribution) and not cheaper:
            # Dimension first, so that each coordinate is one contiguous array for the vector units.
            bits = numerics.random_words(block_key, (self.words, distribution.num_uniforms, size), self.generator)
            v = numerics.centred_uniform(bits)
            if distribution.num_uniforms > 1:
                # Both x and its density read them; a single one is fenced by the quantile function.
                v = numerics.fence(v)
            return numerics.over_samples(distribution.forward)(v)
        if has_sample_many(distribution):
            x = distribution.sample_many(block_key, size)
            return jax.tree.map(lambda leaf: jax.numpy.moveaxis(leaf, 0, -1), x), None
        keys = jax.random.split(block_key, size)
        return jax.vmap(distribution.sample, out_axes=-1)(keys), None
