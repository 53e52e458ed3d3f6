"""What point sets with structure share: units of 2^k dependent points, each from a key of its own."""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, UInt32

from mcengine import numerics

# Error bars come from the spread of units: a t interval on fewer than 16 is wide.
USUAL_UNITS = 16
# Where the sample count is not known beforehand.
USUAL_SIZE = 1024


class Unit(Protocol):
    """A point set made of units: `size` points each, a power of two."""

    @property
    def size(self) -> int | None: ...

    def words(self, key: PRNGKeyArray, start: Array, count: int, num_uniforms: int) -> UInt32[Array, "dim count"]:
        """Points start .. start + count - 1 of the unit with this key, 32 bits a coordinate, dimension first."""
        ...


def draw_units(points: Any, key: PRNGKeyArray, index: Array, size: int, distribution: Any) -> tuple[Any, Array]:
    """`Points.draw`: unit i has the key `fold_in(key, i)`, whatever the blocks."""
    dim, unit_size = distribution.num_uniforms, points.unit_size
    if size >= unit_size:
        num_units = size // unit_size
        units = index * num_units + jnp.arange(num_units, dtype=index.dtype)
        start = jnp.zeros((), index.dtype)
        of_unit = jax.vmap(lambda i: points.words(jax.random.fold_in(key, i), start, unit_size, dim), out_axes=1)
        words = of_unit(units).reshape(dim, size)
    else:
        parts = unit_size // size
        words = points.words(jax.random.fold_in(key, index // parts), (index % parts) * size, size, dim)
    return forward(words, key, distribution)


def forward(words: UInt32[Array, "dim n"], key: PRNGKeyArray, distribution: Any) -> tuple[Any, Array]:
    """The samples of uniform words [dim, n] under a transport, and their log density where `forward` gives it."""
    # Both x and its density read the uniforms.
    v = numerics.fence(numerics.centred_uniform(words[None]))
    return numerics.over_samples(distribution.forward)(v)


def check_size(name: str, size: int | None) -> None:
    """Raise unless the size is a power of two of at least 2, or left open."""
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 2 or size & (size - 1)):
        raise ValueError(f"{name}: size must be a power of two of at least 2, got {size!r}.")


def sized(points: Any, num_samples: int | None, most: int) -> Any:
    """The points with their size settled: 16 units, or up to 31, share the sample count."""
    if points.size is not None:
        return points
    wanted = USUAL_SIZE if num_samples is None else max(2, num_samples // USUAL_UNITS)
    return dataclasses.replace(points, size=min(most, 1 << (wanted.bit_length() - 1)))


def stack_bits(cell: UInt32[Array, "*shape"], num_bits: int, words: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """Words that begin with the `num_bits` bits of `cell` and go on at random."""
    if num_bits == 0:
        return words
    return (cell << jnp.uint32(32 - num_bits)) | (words >> jnp.uint32(num_bits))
