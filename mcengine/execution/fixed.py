"""Runs of a fixed number of samples, or for a time."""

import math
import time

from jaxtyping import Array

from mcengine.execution.block_plan import BlockPlan, SampleRange
from mcengine.execution.device_calls import DeviceCalls
from mcengine.execution.settings import Execution
from mcengine.execution.task import SamplingTask
from mcengine.summaries.summary import Summary


def run_samples(task: SamplingTask, key: Array, num_samples: int, plan: BlockPlan, *, execution: Execution) -> Summary:
    """The merged summary of exactly `num_samples` samples."""
    num_blocks, done = -(-num_samples // plan.block_size), 0
    with DeviceCalls(task, key, SampleRange.of(num_samples, plan.block_size), plan, execution=execution) as calls:
        while done < num_blocks:
            left = num_blocks - done
            # One block alone at first: it compiles, and threads that ask for the same compilation do it twice.
            count = 1 if done == 0 else calls.next_count(done, left)
            calls.submit(done, count)
            if done == 0:
                calls.collect()
            done += count
            if execution.progress is not None:
                execution.progress(min(done * plan.block_size, num_samples), num_samples)
        calls.collect()
        return calls.tree.merged()


def run_seconds(task: SamplingTask, key: Array, limit: float, plan: BlockPlan, *, execution: Execution) -> Summary:
    """The merged summary of as many whole blocks as fit in `limit` seconds; at least one."""
    num_threads = execution.num_threads
    with DeviceCalls(task, key, SampleRange.endless(plan.block_size), plan, execution=execution) as calls:
        calls.compile()  # before the clock starts
        start, done, pace = time.perf_counter(), 0, math.inf
        while done == 0 or time.perf_counter() - start + pace < limit:
            left = limit - (time.perf_counter() - start)
            # A tenth of the time left at the pace so far, so that the last round overshoots little.
            wanted = 1 if done == 0 else int(max(1, min(2 * done, 0.1 * left / pace)))
            for _ in range(num_threads if done else 1):
                count = calls.next_count(done, wanted)
                calls.submit(done, count)
                done += count
            calls.collect()
            pace = (time.perf_counter() - start) / done
            if execution.progress is not None:
                execution.progress(done * plan.block_size, None)
        return calls.tree.merged()
