"""Runs that stop when every interval is short enough."""

import jax
import numpy as np
from jaxtyping import Array, Bool

from mcengine.engine.budgets import Tolerance
from mcengine.engine.plan import PlannedRun
from mcengine.engine.stopping_rules import rule_of
from mcengine.execution.sequential import blocks_within, run_growing, run_sequential
from mcengine.execution.settings import Execution
from mcengine.inference.estimate import Estimate
from mcengine.inference.outputs import OutputLayout, finish_outputs
from mcengine.points.growing import GrowingUnits
from mcengine.summaries.summary import Summary


def run_until_precise(
    key: Array, run: PlannedRun, budget: Tolerance, execution: Execution
) -> tuple[Summary, OutputLayout]:
    """The summary of a run that stopped when every output was precise enough, and its outputs with their interval."""
    rule, points, plan = rule_of(budget, run, key), run.task.points, run.plan
    outputs = run.outputs

    def is_enough(summary: Summary, look: int) -> bool:
        nonlocal outputs
        outputs = rule.interval_at(look, summary, run.outputs)
        reached = all(bool(np.all(is_precise(r, budget))) for r in finish_outputs(summary, outputs).values())
        outputs = outputs.with_specs(missed=not reached)
        return reached

    grows = isinstance(points, GrowingUnits)
    round_size = plan.block_size * (points.num_units if grows else 1)
    most = blocks_within(budget.max_samples, round_size)
    drive = run_growing if grows else run_sequential
    summary = drive(run.task, key, most, plan, execution=execution, is_enough=is_enough)
    return summary, outputs


def is_precise(result: Estimate, budget: Tolerance) -> Bool[np.ndarray, "*batch"]:
    """Whether the intervals of all outputs are short enough, for each problem of a batch."""
    batch = np.ndim(result.num_samples)
    sides = map(jax.tree.leaves, (result.value, *result.interval(budget.level)))
    short = [
        high - low <= 2.0 * np.maximum(budget.atol or 0.0, budget.rtol * np.abs(value))
        for value, low, high in zip(*sides, strict=True)
    ]
    flat = [np.asarray(leaf).reshape(*np.shape(leaf)[:batch], -1) for leaf in short]
    return np.asarray(np.all(np.concatenate(flat, axis=-1), axis=-1))
