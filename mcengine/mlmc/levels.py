"""The levels of a hierarchy, and the estimate of one of them."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from mcengine.engine.budgets import Samples
from mcengine.engine.plan import PlannedRun, prepare
from mcengine.execution.block_plan import BlockPlan, block_plan
from mcengine.execution.fixed import run_samples
from mcengine.execution.settings import Execution
from mcengine.inference.estimate import Estimate, finish
from mcengine.inference.outputs import slice_of
from mcengine.numerics.tracing import closes_over_trace, is_traced
from mcengine.points import IID
from mcengine.problems.difference import Difference
from mcengine.weights.weighting import Raw

# Floats of a block: large ones for cheap levels, which get many samples, small ones for levels that need few.
LEVEL_FLOATS, SMALLEST_BLOCK, LARGEST_BLOCK = 2**16, 2**10, 2**14


class Level(NamedTuple):
    """The correction P_l - P_(l-1) of level l (P_0 itself on level 0) and what a sample of it costs, in any unit."""

    problem: Any
    cost: float


class Prepared(NamedTuple):
    """A level that is checked and planned, once for pilot and result: that takes longer than a short run."""

    run: PlannedRun
    plan: BlockPlan
    cost: float


class Hierarchy:
    """Levels 0, 1, ..., made once each when asked for; `finest` is the last that may be asked for."""

    def __init__(self, levels: Any, max_level: int, execution: Execution) -> None:
        if callable(levels):
            self._make: Callable[[int], Any] = levels
            self.finest = max_level
        elif isinstance(levels, Sequence) and not isinstance(levels, str):
            self._make, self.finest = levels.__getitem__, min(len(levels) - 1, max_level)
        else:
            raise TypeError(f"multilevel: levels must be a function of the level or a list of levels, got {levels!r}.")
        if self.finest < 1:
            raise ValueError("multilevel: there must be at least two levels, or nothing tells the finest one's bias.")
        self._execution = execution
        self._made: dict[int, Prepared] = {}

    def __getitem__(self, level: int) -> Prepared:
        if level not in self._made:
            self._made[level] = _prepared(_checked(self._make(level), level), level, self._execution)
        return self._made[level]

    def estimate(self, level: int, key: Array, count: int) -> Estimate:
        """The estimate of one level from `count` samples, by one compiled kernel whatever the count."""
        run, plan, _ = self[level]
        start = time.perf_counter()
        summary = run_samples(run.task, key, count, plan, self._execution)
        (part,) = run.parts.of_columns.values()
        spec = jax.tree.map(np.asarray, part.spec)
        return finish(slice_of(summary, part), spec, np, time.perf_counter() - start)


def _checked(made: Any, level: int) -> Level:
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise TypeError(f"multilevel: level {level} must be a pair (problem, cost per sample), got {made!r}.")
    problem, cost = made
    if is_traced((problem, cost)) or closes_over_trace(problem):
        raise TypeError("multilevel: it decides by what it sees, and cannot be called inside jit, vmap or grad.")
    cost = float(cost)
    if not (math.isfinite(cost) and cost > 0):
        raise ValueError(f"multilevel: the cost of a sample of level {level} must be positive, got {cost}.")
    if isinstance(problem, Difference):
        problem = dataclasses.replace(problem, only_difference=True, exact=None)
    return Level(problem, cost)


def _prepared(made: Level, level: int, execution: Execution) -> Prepared:
    # The count is given to each run by itself.
    run = prepare(made.problem, None, Samples(1), IID(), None, Raw(), None, execution, None, "diagonal")
    (part,) = run.parts.of_columns.values()
    if part.spec.num_outputs != 1:
        raise ValueError(
            f"multilevel: samples are shared out by one variance, and level {level} has {part.recipe.num_outputs} "
            "outputs: estimate one number."
        )
    size = execution.block_size or min(
        max(_power_of_two(LEVEL_FLOATS // sum(run.floats)), SMALLEST_BLOCK), LARGEST_BLOCK
    )
    plan = block_plan(None, run.floats, dataclasses.replace(execution, block_size=size), 1)
    return Prepared(run, plan, made.cost)


def _power_of_two(number: int) -> int:
    return 1 << (max(number, 1).bit_length() - 1)
