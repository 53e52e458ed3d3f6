"""What is drawn: everything that a block needs besides its key and index."""

from typing import NamedTuple

import equinox as eqx

from mcengine.distributions import Distribution
from mcengine.points import Points
from mcengine.problems.protocol import Problem
from mcengine.summaries.columns import Coefficients
from mcengine.weights.mis import Heuristic
from mcengine.weights.weighting import Weighting


class ColumnLayout(NamedTuple):
    """How the columns of a sample lie: the last `num_denominators` are divided by; `tailed` keep a tail for k-hat."""

    num_denominators: int = 0
    tailed: tuple[int, ...] | None = None


class SamplingTask(eqx.Module):
    """Everything a block needs besides its key and index.

    `proposal` is None for plain Monte Carlo, `mis` for the mixture's own density. `controls` is a
    `mcengine.controls.ControlVariates` (a room of this layer), and `coefficients` are theirs: None in their pilot.
    `one_of_many` is the task of one problem in a batch: third moments are kept in place of tails, and the integrand is
    computed once for all its readers (a fence, which changes the last bits).
    """

    problem: Problem
    proposal: Distribution | None
    points: Points
    weighting: Weighting
    mis: Heuristic | None = None
    controls: eqx.Module | None = None
    coefficients: Coefficients | None = None
    covariance: str | None = eqx.field(static=True, default="diagonal")
    layout: ColumnLayout = eqx.field(static=True, default=ColumnLayout())
    one_of_many: bool = eqx.field(static=True, default=False)

    @property
    def source(self) -> Distribution:
        """What the samples are drawn from."""
        plain: Distribution = self.problem.plain  # pyright: ignore  a density alone is refused before a run
        return plain if self.proposal is None else self.proposal
