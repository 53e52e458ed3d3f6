"""Many independent estimates, vmapped, by one compiled kernel whatever their sample count.

`estimate` compiles for the sample count's power of two: right for one count, seven compilations for a ladder of seven.
Here every count is made of blocks of one size, the last one masked.
"""

import math
from collections.abc import Iterator
from functools import partial

import jax
import numpy as np
from jaxtyping import Array

from mcengine import merging, numerics, pareto
from mcengine.caching import Static, join, split
from mcengine.execution.blocks import (
    BLOCK_FLOATS,
    MAX_BLOCK,
    Extent,
    Floats,
    Plan,
    Work,
    block_and_chunk,
    plan_of,
    row_like,
    row_of,
)
from mcengine.execution.packing import pack, unpack
from mcengine.execution.runs import run_samples
from mcengine.execution.settings import Execution
from mcengine.moments import Row

# Small enough that masking a block down to 256 samples costs less than compiling again, large enough that reducing it
# costs less than drawing it.
LARGEST_BLOCK, SMALLEST_BLOCK = 2**12, 2**10
# Beyond, one estimate keeps the machine busy by itself.
MOST_SAMPLES = 2**22
# Rows held before they are merged, and floats of them.
MOST_ROWS, MOST_ROW_FLOATS = 2**14, 2**26


def replicates_plan(work: Work, num_samples: int, floats: Floats, execution: Execution) -> Plan:
    """The plan of `run_replicates`: one block size for all counts, unless the weighting looks at samples together."""
    unit = work.points.unit_size
    if execution.block_size is not None or work.weighting.couples_samples or num_samples > MOST_SAMPLES:
        return plan_of(num_samples, floats, execution, unit)
    usual = plan_of(None, floats, execution, unit)
    size = min(max(usual.chunk_size // 32, SMALLEST_BLOCK), LARGEST_BLOCK)
    block, chunk = block_and_chunk(size, unit) if unit <= size else (usual.block_size, usual.chunk_size)
    # What one block needs; of many, each has its share of the largest values.
    return Plan(block, chunk, min(usual.tail_length, int(pareto.tail_size(block)) + 1), usual.blocks_per_call)


def run_replicates(work: Work, keys: Array, num_samples: int, floats: Floats, plan: Plan, execution: Execution) -> Row:
    """One row per key, in float64, with leading axis [keys]."""
    if num_samples > MOST_SAMPLES:
        return merging.stack([run_samples(work, key, num_samples, plan, execution) for key in keys])
    lanes = max(1, min(MAX_BLOCK, BLOCK_FLOATS // floats.sample) // (2 * plan.chunk_size))
    most_rows = max(1, min(MOST_ROWS, MOST_ROW_FLOATS // floats.row))
    return _concatenate(list(_rows(work, keys, num_samples, plan, lanes, most_rows)))


def _rows(work: Work, keys: Array, num_samples: int, plan: Plan, lanes: int, most_rows: int) -> Iterator[Row]:
    """Rows of a few keys at a time, as many as keep `most_rows` blocks in memory."""
    num_blocks = -(-num_samples // plan.block_size)
    extent, tail_length = Extent.of(num_samples, plan.block_size), int(pareto.tail_size(num_samples)) + 1
    dynamic, static = split(work)
    like = row_like(work, extent, plan, True)
    key_data, impl = np.asarray(jax.random.key_data(keys)), str(jax.random.key_impl(keys))
    at_once = max(1, most_rows // num_blocks)
    for first in range(0, len(key_data), at_once):
        some = key_data[first : first + at_once]
        total = len(some) * num_blocks
        # Whole batches; the surplus repeats the last block and is thrown away.
        index = np.minimum(np.arange(math.ceil(total / lanes) * lanes), total - 1).reshape(-1, lanes)
        kernel = partial(_kernel, static=static, plan=plan, impl=impl)
        parts = [kernel(dynamic, some[i // num_blocks], (i % num_blocks).astype(np.int32), extent) for i in index]

        rows = np.concatenate(jax.device_get(parts))[:total].astype(np.float64)
        by_block = unpack(np.swapaxes(rows.reshape(len(some), num_blocks, -1), 0, 1), like)
        yield merging.merge_all(by_block, tail_length=tail_length)


@partial(jax.jit, static_argnames=("static", "plan", "impl"), compiler_options=numerics.KERNEL_OPTIONS)
def _kernel(dynamic, key_data: Array, block: Array, extent: Extent, *, static: Static, plan: Plan, impl: str) -> Array:
    """The packed row of block `block[i]` under key i, for each i."""
    work = join(dynamic, static)
    keys = jax.random.wrap_key_data(key_data, impl=impl)
    return jax.vmap(lambda key, index: pack(row_of(work, key, index, extent, plan, True, exact=True)))(keys, block)


def _concatenate(rows: list[Row]) -> Row:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows)
