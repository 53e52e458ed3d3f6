"""What the engine asks of a point set."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, PRNGKeyArray


@runtime_checkable
class Points(Protocol):
    """A rule that gives block `index` of `size` samples of a distribution, as a pure function of the run's key.

    `unit_size` says how many consecutive samples form one exchangeable unit, whose mean is one number to the error
    bar: 1 for independent points. `size` is a multiple of it, or divides it: then a unit spans several blocks.

    `needs_transport` says whether the distribution must be the image of the unit cube. `for_budget` settles what
    depends on the sample count (None where that is not known beforehand).
    """

    @property
    def unit_size(self) -> int: ...

    @property
    def needs_transport(self) -> bool: ...

    def for_budget(self, num_samples: int | None) -> "Points": ...

    def draw(self, key: PRNGKeyArray, index: Array, size: int, distribution: Any) -> tuple[Any, Array | None]:
        """Samples along the last axis of every leaf, and their log density where the draw yields it at no cost."""
        ...
