"""Independent points gathered into long units, so that error bars cost next to nothing."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mcengine.distributions.protocol import Sampler
from mcengine.points.base import Points

# Batches in a run, at least. A t interval on 64 of them is 2 % wider than one on very many.
USUAL_BATCHES = 64
# Samples in a batch where the sample count is not known beforehand: the largest power of two that divides the blocks
# of runs with many outputs.
USUAL_SIZE = 256


class Batched(Points):
    """The samples of `points`, `size` of them to a unit: variances are taken between batches.

    `estimate(covariance=None)` uses it: only one number of each output and batch is squared.
    """

    points: Points
    size: int = eqx.field(static=True)

    @property
    def needs_transport(self) -> bool:
        return self.points.needs_transport

    @property
    def unit_size(self) -> int:
        return self.size

    @property
    def has_dependent_samples(self) -> bool:
        return self.points.has_dependent_samples

    def draw(
        self, key: PRNGKeyArray, index: Int[Array, ""], size: int, distribution: Sampler
    ) -> tuple[Any, Float[Array, " size"] | None]:
        return self.points.draw(key, index, size, distribution)


def batch_size(num_samples: int | None) -> int:
    """The power of two that divides `num_samples` into 64 to 127 batches; 256 where the count is not known."""
    return USUAL_SIZE if num_samples is None else 1 << max(0, (num_samples // USUAL_BATCHES).bit_length() - 1)
