"""Antithetic pairs: every point and its mirror image."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions.protocol import Sampler
from mcengine.points.base import Points


class Antithetic(Points):
    """Pairs u and 1 - u, coordinate by coordinate; the unit is the pair.

    Var = (1 + r) Var_iid with r the correlation of f(u) and f(1 - u): half or less for monotone f, up to twice as much
    for symmetric f. Source: Hammersley and Morton (1956).

    **Arguments:** `words`, 32-bit words per uniform, and `generator`, as in `IID`.
    """

    words: int = eqx.field(static=True, default=1)
    generator: numerics.Generator = eqx.field(static=True, default="counter")
    unit_size: ClassVar[int] = 2

    def __check_init__(self):
        if self.words not in (1, 2):
            raise ValueError(f"Antithetic: words must be 1 or 2, got {self.words}.")

    def draw(
        self, key: PRNGKeyArray, index: Int[Array, ""], size: int, distribution: Sampler
    ) -> tuple[Any, Float[Array, " size"] | None]:
        dim = distribution.num_uniforms
        bits = numerics.random_words(jax.random.fold_in(key, index), (self.words, dim, size // 2), self.generator)
        v = numerics.centred_uniform(bits)
        # The negative of a centred uniform stands for 1 - u, exactly in both tails.
        pairs = jnp.stack([v, -v], axis=-1).reshape(dim, size)
        fenced = numerics.fence(pairs)
        return numerics.over_samples(distribution.forward)(fenced)
