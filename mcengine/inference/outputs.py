"""Several functionals of one run: each has its own columns of the summary, and its own specification."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from mcengine.inference.betting import Betting
from mcengine.inference.confidence_sequences import Asymptotic, FewUnits, FiniteSample
from mcengine.inference.estimate import Estimate, finish
from mcengine.inference.spec import EstimateSpec
from mcengine.numerics.arrays import AnyArray
from mcengine.summaries.component_sums import slice_component_sums
from mcengine.summaries.layout import SummaryLayout, take_columns, take_stats
from mcengine.summaries.summary import MAX_TAILED, Summary

# The fields of a specification that a run may still change: flags, a bound, an interval.
SpecField = bool | AnyArray | Asymptotic | FewUnits | FiniteSample | Betting | None


class OutputSlice(eqx.Module):
    """One functional's columns of a summary: outputs start .. stop - 1, its denominator, its tails; and its spec."""

    spec: EstimateSpec
    start: int = eqx.field(static=True)
    stop: int = eqx.field(static=True)
    denominator: int | None = eqx.field(static=True)
    tails: tuple[int, ...] = eqx.field(static=True)

    def with_spec(self, **changes: SpecField) -> "OutputSlice":
        """The same slice with fields of its specification replaced."""
        return dataclasses.replace(self, spec=dataclasses.replace(self.spec, **changes))


class OutputLayout(NamedTuple):
    """The functionals of a run: those that columns suffice for, and those (by position) that need all samples."""

    of_columns: dict[int, OutputSlice]
    of_samples: dict[int, Any]
    treedef: Any

    @property
    def num_outputs(self) -> int:
        return sum(output.stop - output.start for output in self.of_columns.values())

    def map_slices(self, change: Callable[[OutputSlice], OutputSlice]) -> "OutputLayout":
        """The layout with every slice changed."""
        return self._replace(of_columns={i: change(output) for i, output in self.of_columns.items()})

    def with_specs(self, **changes: SpecField) -> "OutputLayout":
        """The layout with the same fields of every specification replaced."""
        return self.map_slices(lambda output: output.with_spec(**changes))

    def results(self, by_position: dict[int, Any]) -> Any:
        """The results in the structure of the `functional` argument."""
        return jax.tree.unflatten(self.treedef, [by_position[i] for i in range(len(by_position))])


def on_host(outputs: OutputLayout) -> OutputLayout:
    """The layout with NumPy arrays in place of JAX arrays."""
    return outputs._replace(of_columns=jax.tree.map(np.asarray, outputs.of_columns))


def finish_outputs(summary: Summary, outputs: OutputLayout, seconds: float | None = None) -> dict[int, Estimate]:
    """The estimate of every functional that columns suffice for, by position."""
    return {i: finish(slice_of(summary, output), output.spec, seconds) for i, output in outputs.of_columns.items()}


def slice_of(summary: Summary, output: OutputSlice) -> Summary:
    """The summary that a functional would have had alone."""
    # Operations on NumPy arrays without axes return scalars.
    summary = jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else np.asarray(leaf), summary)
    size, denominators = output.stop - output.start, [] if output.denominator is None else [output.denominator]
    if size + len(denominators) == summary.moments.mean.shape[-1]:
        return summary
    columns = [*range(output.start, output.stop), *denominators]
    layout = SummaryLayout.of(summary.moments)
    moments = take_columns(
        summary.moments,
        columns,
        cross=layout.cross_with(columns if output.spec.covariance == "full" else denominators),
        third=layout.third_with(denominators),
    )
    tails = list(output.tails)
    stats = take_stats(summary.stats, columns, tails)
    sums = slice_component_sums(summary.component_sums, tails[: min(size, MAX_TAILED)])
    return Summary(moments, stats, sums)
