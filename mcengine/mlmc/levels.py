"""The levels of a hierarchy, and the estimate of one of them."""

import dataclasses
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from mcengine.engine.budgets import Samples
from mcengine.engine.options import Options
from mcengine.engine.plan import PlannedRun, plan_run
from mcengine.execution.block_plan import BlockPlan, block_plan
from mcengine.execution.fixed import run_samples
from mcengine.execution.settings import Execution
from mcengine.inference.estimate import Estimate, finish
from mcengine.inference.outputs import slice_of
from mcengine.problems.protocol import Problem

# Floats of a block. A level that is cheap gets many samples and large blocks; one that needs few gets small ones.
LEVEL_FLOATS, SMALLEST_BLOCK, LARGEST_BLOCK = 2**16, 2**10, 2**14


class Level(NamedTuple):
    """The correction P_l - P_(l-1) of level l (on level 0 P_0), and the cost of one sample of it, in any unit."""

    problem: Problem
    cost: float


class PlannedLevel(NamedTuple):
    """A level that is checked and planned once, for pilot and result: planning takes longer than a short run."""

    run: PlannedRun
    plan: BlockPlan
    cost: float


class Hierarchy:
    """Levels 0, 1, ..., each planned once, when it is first asked for.

    **Arguments:** `level_at`, from the number of a level to the level; `finest`, the last level that may be asked for.
    """

    def __init__(self, level_at: Callable[[int], Level], finest: int, execution: Execution) -> None:
        self.finest = finest
        self._level_at = level_at
        self._execution = execution
        self._planned: dict[int, PlannedLevel] = {}

    def __getitem__(self, level: int) -> PlannedLevel:
        if level not in self._planned:
            self._planned[level] = _planned_level(self._level_at(level), level, self._execution)
        return self._planned[level]

    def estimate(self, level: int, key: PRNGKeyArray, count: int) -> Estimate:
        """The estimate of one level from `count` samples, by one compiled kernel for every count."""
        run, plan, _ = self[level]
        start = time.perf_counter()
        summary = run_samples(run.task, key, count, plan, execution=self._execution)
        (output,) = run.outputs.of_columns.values()
        spec = jax.tree.map(np.asarray, output.spec)
        return finish(slice_of(summary, output), spec, time.perf_counter() - start)


def _planned_level(level: Level, number: int, execution: Execution) -> PlannedLevel:
    # Samples(1) stands in for the count, which every run gets by itself.
    run = plan_run(level.problem, None, Options(Samples(1), execution=execution))
    (output,) = run.outputs.of_columns.values()
    if output.spec.num_outputs != 1:
        raise ValueError(
            f"multilevel: one variance decides how many samples a level gets, and level {number} has "
            f"{output.spec.num_outputs} outputs: estimate one number."
        )
    size = execution.block_size or min(
        max(_power_of_two(LEVEL_FLOATS // sum(run.floats)), SMALLEST_BLOCK), LARGEST_BLOCK
    )
    plan = block_plan(None, run.floats, dataclasses.replace(execution, block_size=size), 1)
    return PlannedLevel(run, plan, level.cost)


def _power_of_two(number: int) -> int:
    """The largest power of two that is at most the number, and at least 1."""
    return 1 << (max(number, 1).bit_length() - 1)
