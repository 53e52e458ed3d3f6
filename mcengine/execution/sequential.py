"""Runs that are looked at on their way: more blocks until somebody says it is enough."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Array

from mcengine.execution.block_plan import BlockPlan, SampleRange
from mcengine.execution.device_calls import DeviceCalls
from mcengine.execution.settings import Execution
from mcengine.execution.task import SamplingTask
from mcengine.summaries.merge import as_one_unit, merge_all, merge_pair
from mcengine.summaries.summary import Summary

# From one look to the next: few looks, little overshoot.
GROWTH = 1.3


def block_counts(most: int) -> Iterator[int]:
    """1, 2, 3, 4, 6, 8, 11, ... blocks, and `most` at the end."""
    count = 1
    while count < most:
        yield count
        count = max(count + 1, math.ceil(GROWTH * count))
    yield most


def run_sequential(
    task: SamplingTask,
    key: Array,
    most: int,
    plan: BlockPlan,
    execution: Execution,
    enough: Callable[[Summary, int], bool],
) -> Summary:
    """The merged row of as many blocks as it takes until `enough(row, look)`, at most `most`."""
    with DeviceCalls(task, key, SampleRange.endless(plan.block_size), plan, execution) as calls:
        done, summary = 0, None
        for look, count in enumerate(block_counts(most), start=1):
            _advance(calls, done, count)
            done, summary = count, calls.tree.merged()
            _report(execution, done * plan.block_size, most * plan.block_size)
            if enough(summary, look):
                break
        assert summary is not None
        return summary


def run_growing(
    task: SamplingTask,
    key: Array,
    most: int,
    plan: BlockPlan,
    execution: Execution,
    enough: Callable[[Summary, int], bool],
) -> Summary:
    """The same for points whose units grow (`points.units.Prefixes`): every look doubles all, up to `most` blocks.

    Blocks of one unit are gathered first; the row has one number for each unit.
    """
    num_units, summaries, parts, look = task.points.num_units, None, 0, 0
    while True:
        look, longer = look + 1, max(1, 2 * parts)
        with DeviceCalls(
            task, key, SampleRange.endless(plan.block_size), plan, execution, num_trees=num_units
        ) as calls:
            _advance(calls, parts * num_units, longer * num_units)
            gathered = calls.merged()
        summaries = gathered if summaries is None else merge_pair(summaries, gathered)
        parts = longer
        summary = merge_all(as_one_unit(summaries, np))
        _report(execution, parts * num_units * plan.block_size, most * num_units * plan.block_size)
        if enough(summary, look) or 2 * parts > most:
            return summary


def _advance(calls: DeviceCalls, done: int, until: int) -> None:
    while done < until:
        # One block alone at first: it compiles, and threads that ask for the same compilation do it twice.
        count = 1 if done == 0 else calls.room(done, until - done)
        calls.dispatch(done, count)
        if done == 0:
            calls.collect()
        done += count
    calls.collect()


def _report(execution: Execution, done: int, most: int) -> None:
    if execution.progress is not None:
        execution.progress(done, most)


def blocks_within(budget: Any, samples_a_block: int) -> int:
    """How many whole blocks the budget's sample limit allows, at least one."""
    return max(1, budget.max_samples // samples_a_block)
