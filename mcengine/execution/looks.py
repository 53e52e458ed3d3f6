"""Runs that are looked at on their way: more blocks until somebody says it is enough."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Array

from mcengine import merging
from mcengine.execution.blocks import Extent, Plan, Work
from mcengine.execution.caller import Caller
from mcengine.execution.settings import Execution
from mcengine.moments import Row

# From one look to the next: few looks, little overshoot.
GROWTH = 1.3


def block_counts(most: int) -> Iterator[int]:
    """1, 2, 3, 4, 6, 8, 11, ... blocks, and `most` at the end."""
    count = 1
    while count < most:
        yield count
        count = max(count + 1, math.ceil(GROWTH * count))
    yield most


def run_looks(
    work: Work, key: Array, most: int, plan: Plan, execution: Execution, enough: Callable[[Row, int], bool]
) -> Row:
    """The merged row of as many blocks as it takes until `enough(row, look)`, at most `most`."""
    with Caller(work, key, Extent.endless(plan.block_size), plan, execution) as caller:
        done, row = 0, None
        for look, count in enumerate(block_counts(most), start=1):
            _advance(caller, done, count)
            done, row = count, caller.tree.merged()
            _report(execution, done * plan.block_size, most * plan.block_size)
            if enough(row, look):
                break
        assert row is not None
        return row


def run_prefixes(
    work: Work, key: Array, most: int, plan: Plan, execution: Execution, enough: Callable[[Row, int], bool]
) -> Row:
    """The same for points whose units grow (`points.units.Prefixes`): every look doubles all, up to `most` blocks.

    Blocks of one unit are gathered first; the row has one number for each unit.
    """
    num_units, rows, parts, look = work.points.num_units, None, 0, 0
    while True:
        look, longer = look + 1, max(1, 2 * parts)
        with Caller(work, key, Extent.endless(plan.block_size), plan, execution, num_trees=num_units) as caller:
            _advance(caller, parts * num_units, longer * num_units)
            gathered = caller.merged()
        rows = gathered if rows is None else merging.merge(rows, gathered)
        parts = longer
        row = merging.merge_all(merging.as_one_unit(rows, np))
        _report(execution, parts * num_units * plan.block_size, most * num_units * plan.block_size)
        if enough(row, look) or 2 * parts > most:
            return row


def _advance(caller: Caller, done: int, until: int) -> None:
    while done < until:
        # One block alone at first: it compiles, and threads that ask for the same compilation do it twice.
        count = 1 if done == 0 else caller.room(done, until - done)
        caller.dispatch(done, count)
        if done == 0:
            caller.collect()
        done += count
    caller.collect()


def _report(execution: Execution, done: int, most: int) -> None:
    if execution.progress is not None:
        execution.progress(done, most)


def blocks_within(budget: Any, samples_a_block: int) -> int:
    """How many whole blocks the budget's sample limit allows, at least one."""
    return max(1, budget.max_samples // samples_a_block)
