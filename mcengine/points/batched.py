"""Points gathered into batches: few and long units, for error bars that cost next to nothing."""

from typing import Any

import equinox as eqx
from jaxtyping import Array

# Batches of a run: a t interval on so many is 2 % wider than it need be.
USUAL_BATCHES = 64
# Where the sample count is not known beforehand, and the largest that divides blocks of many outputs.
USUAL_SIZE = 256


class Batched(eqx.Module):
    """The points of `points`, `size` to a unit: the spread is seen between batches and not inside them.

    What `estimate(covariance=None)` asks for: one number of each output and batch is all that squares are taken of.
    """

    points: Any
    size: int = eqx.field(static=True)

    @property
    def unit_size(self) -> int:
        return self.size

    @property
    def needs_transport(self) -> bool:
        return self.points.needs_transport

    def for_budget(self, num_samples: int | None) -> "Batches":
        """The same points: the size is settled."""
        return self

    def draw(self, key: Array, index: Array, size: int, distribution: Any) -> tuple[Any, Array | None]:
        """Samples as the points lay them out."""
        return self.points.draw(key, index, size, distribution)


def batch_size(budget: Any) -> int:
    """A power of two that makes 64 batches, or up to 127, of a budget in samples."""
    count = getattr(budget, "count", None)
    return USUAL_SIZE if count is None else 1 << max(0, (count // USUAL_BATCHES).bit_length() - 1)
