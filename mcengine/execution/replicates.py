"""Many independent estimates, vmapped, by one compiled kernel whatever their sample count.

`estimate` compiles for the sample count's power of two: right for one count, seven compilations for a ladder of seven.
Here every count is made of blocks of one size, the last one masked.
"""

import math
from collections.abc import Iterator
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from mcengine import numerics
from mcengine.execution.block import draw_and_summarise
from mcengine.execution.block_plan import (
    BLOCK_FLOATS,
    MAX_BLOCK,
    BlockPlan,
    FloatCounts,
    SampleRange,
    block_and_chunk,
    block_plan,
)
from mcengine.execution.device_calls import summary_struct
from mcengine.execution.fixed import run_samples
from mcengine.execution.settings import Execution
from mcengine.execution.task import SamplingTask
from mcengine.numerics.partition import StaticPart, combine, partition
from mcengine.summaries.merge import merge_all, stack_summaries
from mcengine.summaries.packing import pack, unpack
from mcengine.summaries.summary import Summary
from mcengine.weights import pareto_tail

# Small enough that masking a block down to 256 samples costs less than compiling again, large enough that reducing it
# costs less than drawing it.
LARGEST_BLOCK, SMALLEST_BLOCK = 2**12, 2**10
# Above this count, one estimate keeps the machine busy by itself.
MOST_SAMPLES = 2**22
# Summaries held before they are merged, and floats of them.
MOST_SUMMARIES, MOST_SUMMARY_FLOATS = 2**14, 2**26


def replicates_plan(task: SamplingTask, num_samples: int, floats: FloatCounts, execution: Execution) -> BlockPlan:
    """The plan of `run_replicates`: one block size for all counts, unless the weighting looks at samples together."""
    unit = task.points.unit_size
    if execution.block_size is not None or task.weighting.couples_samples or num_samples > MOST_SAMPLES:
        return block_plan(num_samples, floats, execution, unit)
    usual = block_plan(None, floats, execution, unit)
    size = min(max(usual.chunk_size // 32, SMALLEST_BLOCK), LARGEST_BLOCK)
    block, chunk = block_and_chunk(size, unit) if unit <= size else (usual.block_size, usual.chunk_size)
    # The tail that one block needs: of many blocks, each has its share of the largest values.
    return BlockPlan(block, chunk, min(usual.tail_length, int(pareto_tail.tail_size(block)) + 1), usual.blocks_per_call)


def run_replicates(
    task: SamplingTask, keys: Array, num_samples: int, floats: FloatCounts, *, plan: BlockPlan, execution: Execution
) -> Summary:
    """One summary per key, in float64, with leading axis [keys]."""
    if num_samples > MOST_SAMPLES:
        return stack_summaries([run_samples(task, key, num_samples, plan, execution=execution) for key in keys])
    lanes = max(1, min(MAX_BLOCK, BLOCK_FLOATS // floats.sample) // (2 * plan.chunk_size))
    most_summaries = max(1, min(MOST_SUMMARIES, MOST_SUMMARY_FLOATS // floats.summary))
    return _concatenate(list(_summaries(task, keys, num_samples, plan, lanes, most_summaries)))


def _summaries(
    task: SamplingTask, keys: Array, num_samples: int, plan: BlockPlan, lanes: int, most_summaries: int
) -> Iterator[Summary]:
    """Summaries of a few keys at a time, as many as keep `most_summaries` blocks in memory."""
    num_blocks = -(-num_samples // plan.block_size)
    sample_range, tail_length = (
        SampleRange.of(num_samples, plan.block_size),
        int(pareto_tail.tail_size(num_samples)) + 1,
    )
    dynamic, static = partition(task)
    like = summary_struct(task, sample_range, plan, True)
    key_data, impl = np.asarray(jax.random.key_data(keys)), str(jax.random.key_impl(keys))
    at_once = max(1, most_summaries // num_blocks)
    for first in range(0, len(key_data), at_once):
        some = key_data[first : first + at_once]
        total = len(some) * num_blocks
        # Whole batches; the surplus repeats the last block and is dropped.
        index = np.minimum(np.arange(math.ceil(total / lanes) * lanes), total - 1).reshape(-1, lanes)
        kernel = partial(_kernel, static=static, plan=plan, impl=impl)
        parts = [kernel(dynamic, some[i // num_blocks], (i % num_blocks).astype(np.int32), sample_range) for i in index]

        summaries = np.concatenate(jax.device_get(parts))[:total].astype(np.float64)
        by_block = unpack(np.swapaxes(summaries.reshape(len(some), num_blocks, -1), 0, 1), like)
        yield merge_all(by_block, tail_length=tail_length)


@partial(jax.jit, static_argnames=("static", "plan", "impl"), compiler_options=numerics.KERNEL_OPTIONS)
def _kernel(
    dynamic: list[Array],
    key_data: UInt32[Array, "lanes words"],
    block: Int[Array, " lanes"],
    sample_range: SampleRange,
    *,
    static: StaticPart,
    plan: BlockPlan,
    impl: str,
) -> Float[Array, "lanes F"]:
    """The packed summary of block `block[i]` under key i, for each i."""
    task = combine(dynamic, static)
    keys = jax.random.wrap_key_data(key_data, impl=impl)
    return jax.vmap(
        lambda key, index: pack(
            draw_and_summarise(task, key, index, sample_range, plan=plan, with_tail=True, exact=True)
        )
    )(keys, block)


def _concatenate(summaries: list[Summary]) -> Summary:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *summaries)
