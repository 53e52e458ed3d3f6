"""Runs with interim looks: more blocks until a stopping rule is satisfied."""

import math
from collections.abc import Callable, Iterator

from jaxtyping import Array

from mcengine.execution.block_plan import BlockPlan, SampleRange
from mcengine.execution.device_calls import DeviceCalls
from mcengine.execution.settings import Execution
from mcengine.execution.task import SamplingTask
from mcengine.summaries.merge import as_one_unit, merge_all, merge_pair
from mcengine.summaries.summary import Summary

# Growth of the block count between interim looks: few looks, and little overshoot.
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
    *,
    execution: Execution,
    is_enough: Callable[[Summary, int], bool],
) -> Summary:
    """The merged summary of as many blocks as it takes until `is_enough(summary, look)`, at most `most`."""
    with DeviceCalls(task, key, SampleRange.endless(plan.block_size), plan, execution=execution) as calls:
        done, summary = 0, None
        for look, count in enumerate(block_counts(most), start=1):
            _advance(calls, done, count)
            done, summary = count, calls.tree.merged()
            _report(execution, done * plan.block_size, most * plan.block_size)
            if is_enough(summary, look):
                break
        assert summary is not None
        return summary


def run_growing(
    task: SamplingTask,
    key: Array,
    most: int,
    plan: BlockPlan,
    *,
    execution: Execution,
    is_enough: Callable[[Summary, int], bool],
) -> Summary:
    """The same for `GrowingUnits`: every interim look doubles the length of all units, up to `most` blocks of each.

    The blocks of one unit are merged first; the summary then has one number for each unit.
    """
    num_units, by_unit, blocks, look = task.points.num_units, None, 0, 0
    endless = SampleRange.endless(plan.block_size)
    while True:
        look, longer = look + 1, max(1, 2 * blocks)
        with DeviceCalls(task, key, endless, plan, execution=execution, num_trees=num_units) as calls:
            _advance(calls, blocks * num_units, longer * num_units)
            added = calls.merged()
        by_unit = added if by_unit is None else merge_pair(by_unit, added)
        blocks = longer
        summary = merge_all(as_one_unit(by_unit))
        _report(execution, blocks * num_units * plan.block_size, most * num_units * plan.block_size)
        if is_enough(summary, look) or 2 * blocks > most:
            return summary


def _advance(calls: DeviceCalls, done: int, until: int) -> None:
    while done < until:
        # One block alone at first: it compiles, and threads that ask for the same compilation do it twice.
        count = 1 if done == 0 else calls.next_count(done, until - done)
        calls.submit(done, count)
        if done == 0:
            calls.collect()
        done += count
    calls.collect()


def _report(execution: Execution, done: int, most: int) -> None:
    if execution.progress is not None:
        execution.progress(done, most)


def blocks_within(max_samples: int, block_size: int) -> int:
    """How many whole blocks a sample limit allows, at least one."""
    return max(1, max_samples // block_size)
