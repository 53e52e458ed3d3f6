"""Several functionals of one run: each has its own columns of the summary, and its own specification."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from mcengine.inference.estimate import Estimate, finish
from mcengine.inference.spec import EstimateSpec
from mcengine.summaries.component_sums import slice_component_sums
from mcengine.summaries.summary import MAX_TAILED, Moments, SampleStats, Summary


class OutputSlice(eqx.Module):
    """One functional's share of a row: outputs start .. stop - 1, its denominator's column, its tails, its recipe."""

    spec: EstimateSpec
    start: int = eqx.field(static=True)
    stop: int = eqx.field(static=True)
    denominator: int | None = eqx.field(static=True)
    tails: tuple[int, ...] = eqx.field(static=True)


class OutputLayout(NamedTuple):
    """The functionals of a run: those that columns suffice for, and those (by position) that need all samples."""

    of_columns: dict[int, OutputSlice]
    of_samples: dict[int, Any]
    treedef: Any

    @property
    def num_outputs(self) -> int:
        return sum(output.stop - output.start for output in self.of_columns.values())

    def results(self, by_position: dict[int, Any]) -> Any:
        """The results in the structure of the `functional` argument."""
        return jax.tree.unflatten(self.treedef, [by_position[i] for i in range(len(by_position))])


def on_host(outputs: OutputLayout) -> OutputLayout:
    """The layout with NumPy arrays in place of JAX arrays."""
    return outputs._replace(of_columns=jax.tree.map(np.asarray, outputs.of_columns))


def finish_outputs(summary: Any, outputs: OutputLayout, xp: Any, seconds: float | None = None) -> dict[int, Estimate]:
    """The estimate of every functional that columns suffice for, by position."""
    return {i: finish(slice_of(summary, output), output.spec, xp, seconds) for i, output in outputs.of_columns.items()}


def slice_of(summary: Summary, output: OutputSlice) -> Summary:
    """The row that a functional would have had alone."""
    # Scalars of NumPy become arrays again.
    summary = jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else np.asarray(leaf), summary)
    m, s = summary.moments, summary.stats
    if output.stop - output.start + (output.denominator is not None) == m.mean.shape[-1]:
        return summary
    columns = [*range(output.start, output.stop), *([] if output.denominator is None else [output.denominator])]
    among = columns if output.spec.covariance == "full" else columns[output.stop - output.start :]
    first_aux = m.mean.shape[-1] - m.cross.shape[-1]
    aux = [column - first_aux for column in among]
    thirds = [0] if m.third.shape[-1] else []
    if thirds and output.denominator is not None:
        pair = m.third.shape[-1] - 2 * (m.mean.shape[-1] - output.denominator)
        thirds += [pair, pair + 1]
    moments = Moments(
        m.count, m.exponent[..., columns], m.mean[..., columns], m.m2[..., columns],
        m.cross[..., columns, :][..., aux], m.total[..., columns, :], m.third[..., columns, :][..., thirds],
    )  # fmt: skip
    tails = list(output.tails)
    stats = SampleStats(
        s.num_samples, s.num_nonfinite, s.exponent[..., columns], s.sum_abs[..., columns], s.sum_squares[..., columns],
        s.max_abs[..., columns], s.hits[..., columns], s.removed[..., columns], s.log_tail[..., tails, :],
        s.tail_hits[..., tails],
    )  # fmt: skip
    outputs = tails[: min(output.stop - output.start, MAX_TAILED)]
    return Summary(moments, stats, slice_component_sums(summary.component_sums, outputs))
