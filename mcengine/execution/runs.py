"""Runs of a fixed number of samples, or for a time."""

import math
import time

from jaxtyping import Array

from mcengine.execution.blocks import Extent, Plan, Work
from mcengine.execution.caller import Caller
from mcengine.execution.settings import Execution
from mcengine.moments import Row


def run_samples(work: Work, key: Array, num_samples: int, plan: Plan, execution: Execution) -> Row:
    """The merged row of exactly `num_samples` samples."""
    num_blocks, done = -(-num_samples // plan.block_size), 0
    with Caller(work, key, Extent.of(num_samples, plan.block_size), plan, execution) as caller:
        while done < num_blocks:
            left = num_blocks - done
            # One block alone at first: it compiles, and threads that ask for the same compilation do it twice.
            count = 1 if done == 0 else caller.room(done, left)
            caller.dispatch(done, count)
            if done == 0:
                caller.collect()
            done += count
            if execution.progress is not None:
                execution.progress(min(done * plan.block_size, num_samples), num_samples)
        caller.collect()
        return caller.tree.merged()


def run_seconds(work: Work, key: Array, limit: float, plan: Plan, execution: Execution) -> Row:
    """The merged row of as many whole blocks as fit in `limit` seconds; at least one."""
    num_threads = execution.num_threads
    with Caller(work, key, Extent.endless(plan.block_size), plan, execution) as caller:
        caller.compile()  # before the clock starts
        start, done, pace = time.perf_counter(), 0, math.inf
        while done == 0 or time.perf_counter() - start + pace < limit:
            left = limit - (time.perf_counter() - start)
            # A tenth of the time left at the pace seen, so that the last round overshoots little.
            wanted = 1 if done == 0 else int(max(1, min(2 * done, 0.1 * left / pace)))
            for _ in range(num_threads if done else 1):
                count = caller.room(done, wanted)
                caller.dispatch(done, count)
                done += count
            caller.collect()
            pace = (time.perf_counter() - start) / done
            if execution.progress is not None:
                execution.progress(done * plan.block_size, None)
        return caller.tree.merged()
