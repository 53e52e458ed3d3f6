"""What layouts with structure share: units of 2^k dependent points, each drawn with a key of its own."""

import dataclasses
from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from mcengine import numerics
from mcengine.distributions.protocol import Sampler
from mcengine.points.base import Points

# A run has at least so many units. A t interval on fewer is wide.
USUAL_UNITS = 16
# Samples in a unit where the sample count is not known beforehand.
USUAL_SIZE = 1024


class SizedUnits(Points):
    """The base of layouts whose unit is a set of `size` dependent points, a power of two. Unit i has the key
    `fold_in(key, i)`, however the run is divided into blocks.

    A layout states `words`, the uniforms of a unit, and `max_size`. See `Points` for how to add one.

    **Arguments:** `size`, points in a unit; by default so that the budget makes 16 to 31 units.
    """

    size: int | None = eqx.field(static=True, default=None)
    max_size: ClassVar[int] = 2**30

    def __check_init__(self):
        name, size = type(self).__name__, self.size
        if size is None:
            return
        if isinstance(size, bool) or not isinstance(size, int) or size < 2 or size & (size - 1):
            raise ValueError(f"{name}: size must be a power of two of at least 2, got {size!r}.")
        if size > self.max_size:
            raise ValueError(f"{name}: size must be at most {self.max_size:,}, got {size:,}.")

    @abstractmethod
    def words(
        self, key: PRNGKeyArray, start: Int[Array, ""], count: int, num_uniforms: int
    ) -> UInt32[Array, "num_uniforms count"]:
        """The uniforms of points start .. start + count - 1 of the unit with this key, as 32-bit words.

        **Arguments:** `start`, a multiple of `count`, may be traced; `count`, a power of two, at most `size`.
        """

    @property
    def unit_size(self) -> int:
        return self.size or USUAL_SIZE

    def for_budget(self, num_samples: int | None) -> "SizedUnits":
        if self.size is not None:
            return self
        wanted = USUAL_SIZE if num_samples is None else max(2, num_samples // USUAL_UNITS)
        return dataclasses.replace(self, size=min(self.max_size, 1 << (wanted.bit_length() - 1)))

    def draw(
        self, key: PRNGKeyArray, index: Int[Array, ""], size: int, distribution: Sampler
    ) -> tuple[Any, Float[Array, " size"]]:
        dim, unit_size = distribution.num_uniforms, self.unit_size
        if size >= unit_size:
            num_units = size // unit_size
            units = index * num_units + jnp.arange(num_units, dtype=index.dtype)
            start = jnp.zeros((), index.dtype)
            of_unit = jax.vmap(lambda i: self.words(jax.random.fold_in(key, i), start, unit_size, dim), out_axes=1)
            words = of_unit(units).reshape(dim, size)
        else:
            parts = unit_size // size
            words = self.words(jax.random.fold_in(key, index // parts), (index % parts) * size, size, dim)
        return transported(words, distribution)


def transported(words: UInt32[Array, "dim n"], distribution: Sampler) -> tuple[Any, Float[Array, " n"]]:
    """The image of n points under the `forward` of a transport: samples, and their log density."""
    # Both x and its density read the uniforms.
    v = numerics.fence(numerics.centred_uniform(words[None]))
    return numerics.over_samples(distribution.forward)(v)


def stack_bits(cell: UInt32[Array, "*shape"], num_bits: int, words: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """Words whose first `num_bits` bits are those of `cell` and whose others are random."""
    if num_bits == 0:
        return words
    return (cell << jnp.uint32(32 - num_bits)) | (words >> jnp.uint32(num_bits))
