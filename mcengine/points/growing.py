"""Units that grow while a run goes on, for runs that stop when they are precise enough."""

from typing import Any, ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mcengine.distributions.protocol import Sampler
from mcengine.points.base import Points
from mcengine.points.units import SizedUnits, transported


class GrowingUnits(Points):
    """`num_units` units that grow together: block b holds the next `size` points of unit b mod `num_units`.

    The reduction of a block sees single samples, so `unit_size` is 1; `summaries.merge.as_one_unit` makes a unit of
    them when the run stops.
    """

    points: SizedUnits
    num_units: int = eqx.field(static=True)
    unit_size: ClassVar[int] = 1

    @property
    def has_dependent_samples(self) -> bool:
        return self.points.has_dependent_samples

    def draw(
        self, key: PRNGKeyArray, index: Int[Array, ""], size: int, distribution: Sampler
    ) -> tuple[Any, Float[Array, " size"]]:
        unit_key = jax.random.fold_in(key, index % self.num_units)
        start = (index // self.num_units) * size
        return transported(self.points.words(unit_key, start, size, distribution.num_uniforms), distribution)
