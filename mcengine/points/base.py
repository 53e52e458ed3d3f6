"""The base of all layouts of the uniforms: which samples a block has, and which of them form a unit."""

from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mcengine.distributions.protocol import Sampler


class Points(eqx.Module):
    """A layout of the uniforms: the samples of block `index`, as a pure function of the run's key.

    Error bars come from exchangeable units, not from samples. `unit_size` consecutive samples form a unit, and each
    unit gives one number, its mean.

    **A layout states** `unit_size` (a class variable or a property), `draw`, and what differs from these defaults:

    - `needs_transport`, True: the distribution must be the image of the unit cube (`num_uniforms` and `forward`);
    - `has_dependent_samples`, true for units of several samples: the layout takes variance away, so that a component of
      a mixture which its samples hardly reach must be looked for by the component sums;
    - `for_budget`, which returns the layout itself.

    **Adding a layout.** Layouts of 2^k dependent points in a unit inherit `SizedUnits` (units.py) and state `words` and
    `max_size` alone. A layout needs a file here and its export in `__init__.py`, `conf/points/NAME.yaml`, a line in
    `tests/points/layouts.py`, and its name in the README's table of choices. The shared tests then check that its
    points are uniform, that keys and units differ, that samples keep to their density, and that its YAML exists
    (tests/points/test_every_layout.py), and on every problem that its intervals cover (tests/battery).
    """

    needs_transport: ClassVar[bool] = True

    @property
    @abstractmethod
    def unit_size(self) -> int:
        """How many consecutive samples form one exchangeable unit: 1 for independent points."""

    @property
    def has_dependent_samples(self) -> bool:
        """Whether samples depend on each other."""
        return self.unit_size > 1

    def for_budget(self, num_samples: int | None) -> "Points":
        """The layout for a run of `num_samples` samples, None where their number is not known beforehand."""
        return self

    @abstractmethod
    def draw(
        self, key: PRNGKeyArray, index: Int[Array, ""], size: int, distribution: Sampler
    ) -> tuple[Any, Float[Array, " size"] | None]:
        """The samples of block `index`, and their log density where it comes at no cost.

        **Arguments:**

        - `key`: the run's key;
        - `index`: the number of the block, traced;
        - `size`: samples in a block, a multiple of `unit_size`, or a divisor of it: then a unit spans several blocks;
        - `distribution`: what is drawn from. Layouts that `needs_transport` use its `num_uniforms` and `forward(v)`,
          the others those where it has them.

        **Returns:** the event with samples along the last axis of every leaf; log q of each, or None.
        """
