"""Runs that stop when every interval is short enough."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from mcengine.engine.budgets import Tolerance
from mcengine.execution.batch_means import BatchMeans
from mcengine.execution.block_plan import BlockPlan
from mcengine.execution.sequential import blocks_within, run_growing, run_sequential
from mcengine.execution.settings import Execution
from mcengine.execution.task import SamplingTask
from mcengine.inference.betting import Betting
from mcengine.inference.confidence_sequences import Asymptotic, FewUnits, FiniteSample, mixture_variance
from mcengine.inference.estimate import Estimate
from mcengine.inference.outputs import OutputLayout, OutputSlice, finish_outputs
from mcengine.points.growing import GrowingUnits


def run_until_precise(
    task: SamplingTask, outputs: OutputLayout, key: Array, budget: Tolerance, plan: BlockPlan, execution: Execution
) -> tuple[Any, OutputLayout]:
    """The row of a run that stopped when every output was precise enough, and its parts with their interval."""
    grows = isinstance(task.points, GrowingUnits)
    a_round = plan.block_size * (task.points.num_units if grows else 1)
    first_look = plan.block_size // task.points.unit_size
    batches = _batch_means(task, outputs, key, plan) if budget.finite_sample == "betting" else None
    settled = outputs

    def enough(summary: Any, look: int) -> bool:
        nonlocal settled
        if budget.finite_sample:
            sequence: Any = FiniteSample(look)
        else:
            sequence = FewUnits() if grows else Asymptotic(mixture_variance(first_look, budget.level))
        settled = _with_sequence(outputs, sequence=sequence)
        if batches is not None:
            settled = _with_bets(outputs, *batches.until(int(summary.stats.num_samples)), look)
        reached = all(_is_precise(result, budget) for result in finish_outputs(summary, settled, np).values())
        settled = _with_sequence(settled, missed=not reached)
        return reached

    run = run_growing if grows else run_sequential
    summary = run(task, key, blocks_within(budget, a_round), plan, execution, enough)
    return summary, settled


def _batch_means(task: SamplingTask, outputs: OutputLayout, key: Array, plan: BlockPlan) -> BatchMeans:
    largest = [np.full(output.stop - output.start, output.spec.largest) for output in outputs.of_columns.values()]
    return BatchMeans(task, key, plan, np.concatenate(largest))


def _with_bets(outputs: OutputLayout, means: np.ndarray, sizes: np.ndarray, look: int) -> OutputLayout:
    return outputs._replace(
        of_columns={
            i: _with_spec(
                output,
                sequence=Betting(means[:, output.start : output.stop], sizes, np.asarray(output.spec.largest), look),
            )
            for i, output in outputs.of_columns.items()
        }
    )


def _with_sequence(outputs: OutputLayout, **changes: Any) -> OutputLayout:
    return outputs._replace(of_columns={i: _with_spec(output, **changes) for i, output in outputs.of_columns.items()})


def _with_spec(output: OutputSlice, **changes: Any) -> OutputSlice:
    return dataclasses.replace(output, spec=dataclasses.replace(output.spec, **changes))


def _is_precise(result: Estimate, budget: Tolerance) -> bool:
    sides = map(jax.tree.leaves, (result.value, *result.interval(budget.level)))
    return all(
        np.all(high - low <= 2.0 * np.maximum(budget.atol or 0.0, budget.rtol * np.abs(value)))
        for value, low, high in zip(*sides, strict=True)
    )
