"""Stopping rules: which interval is valid at an interim look of a run, or where the run stops."""

from abc import abstractmethod

import equinox as eqx
import numpy as np
from jaxtyping import Array

from mcengine.engine.budgets import Tolerance
from mcengine.engine.plan import PlannedRun
from mcengine.execution.batch_means import BatchMeans
from mcengine.inference.betting import Betting
from mcengine.inference.confidence_sequences import Asymptotic, FewUnits, FiniteSample, mixture_variance
from mcengine.inference.outputs import OutputLayout
from mcengine.points.growing import GrowingUnits
from mcengine.summaries.summary import Summary


class StoppingRule(eqx.Module):
    """Gives the outputs of a run the interval that holds at an interim look.

    **Adding a stopping rule** is a subclass here, its interval in `mcengine.inference`, and its choice in `rule_of`.
    """

    @abstractmethod
    def interval_at(self, look: int, summary: Summary, outputs: OutputLayout) -> OutputLayout:
        """The outputs with the interval of interim look `look` (1, 2, ...), after the samples of `summary`."""


class AsymptoticRule(StoppingRule):
    """An asymptotic confidence sequence over units, valid at every look; `rho_squared` makes it tight at the first."""

    rho_squared: float

    def interval_at(self, look: int, summary: Summary, outputs: OutputLayout) -> OutputLayout:
        """See the base."""
        return outputs.with_specs(sequence=Asymptotic(self.rho_squared))


class FewUnitsRule(StoppingRule):
    """A wider Student-t interval over a few growing units, valid where the run stops."""

    def interval_at(self, look: int, summary: Summary, outputs: OutputLayout) -> OutputLayout:
        """See the base."""
        return outputs.with_specs(sequence=FewUnits())


class BernsteinRule(StoppingRule):
    """An empirical Bernstein interval, without asymptotics, for w f between 0 and a known bound."""

    def interval_at(self, look: int, summary: Summary, outputs: OutputLayout) -> OutputLayout:
        """See the base."""
        return outputs.with_specs(sequence=FiniteSample(look))


class BettingRule(StoppingRule):
    """An interval by betting on batch means, without asymptotics, for w f between 0 and a known bound."""

    batches: BatchMeans

    def interval_at(self, look: int, summary: Summary, outputs: OutputLayout) -> OutputLayout:
        """See the base."""
        means, sizes = self.batches.until(int(summary.stats.num_samples))
        return outputs.map_slices(
            lambda output: output.with_spec(
                sequence=Betting(means[:, output.start : output.stop], sizes, np.asarray(output.spec.largest), look)
            )
        )


def rule_of(budget: Tolerance, run: PlannedRun, key: Array) -> StoppingRule:
    """The stopping rule that a tolerance asks for."""
    if budget.finite_sample == "betting":
        outputs = run.outputs.of_columns.values()
        largest = [np.full(output.stop - output.start, output.spec.largest) for output in outputs]
        return BettingRule(BatchMeans(run.task, key, run.plan, np.concatenate(largest)))
    if budget.finite_sample:
        return BernsteinRule()
    if isinstance(run.task.points, GrowingUnits):
        return FewUnitsRule()
    first_look = run.plan.block_size // run.task.points.unit_size
    return AsymptoticRule(mixture_variance(first_look, budget.level))
