"""Points whose units grow while a run goes on."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, PRNGKeyArray

from mcengine.points.units import forward


class GrowingUnits(eqx.Module):
    """Units that grow: block b holds points of unit b mod `num_units`, the next `size` of them.

    To the moments each point is a sample; `merging.as_one_unit` makes a unit of them once it is as long as it gets.
    """

    points: Any
    num_units: int = eqx.field(static=True)

    @property
    def unit_size(self) -> int:
        return 1

    @property
    def needs_transport(self) -> bool:
        return True

    def for_budget(self, num_samples: int | None) -> "Prefixes":
        return self

    def draw(self, key: PRNGKeyArray, index: Array, size: int, distribution: Any) -> tuple[Any, Array]:
        """Samples and their log density."""
        unit_key = jax.random.fold_in(key, index % self.num_units)
        start = (index // self.num_units) * size
        return forward(self.points.words(unit_key, start, size, distribution.num_uniforms), key, distribution)
