"""Block sizes and call sizes of a run, which are settled before the first sample."""

import math
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from mcengine import numerics
from mcengine.execution.settings import Execution
from mcengine.summaries.summary import MAX_TAIL
from mcengine.weights import pareto_tail

# The blocks that keep a tail for k-hat cover this many samples, the first of a run.
TAIL_SAMPLES = 2**22
MAX_BLOCK = 2**18
# Floats (uniforms, outputs, densities of components) of one block: few enough to stay in the cache.
BLOCK_FLOATS = 2**20
# A block has at least LEAST_SAMPLES samples, to be worth its summary, unless they would need over MOST_FLOATS floats.
LEAST_SAMPLES, MOST_FLOATS = 256, 2**24
# Floats of the summaries of one call.
CALL_FLOATS = 2**23


class FloatCounts(NamedTuple):
    """How many floats one sample (uniforms, outputs, densities of components) and one summary need."""

    sample: int
    summary: int


class BlockPlan(eqx.Module):
    """The shapes that a run is compiled for; hashable. A block is drawn `chunk_size` samples at a time."""

    block_size: int = eqx.field(static=True)
    chunk_size: int = eqx.field(static=True)
    tail_length: int = eqx.field(static=True)
    blocks_per_call: int = eqx.field(static=True)

    @property
    def tail_blocks(self) -> int:
        """How many of the first blocks keep a tail."""
        return max(1, TAIL_SAMPLES // self.block_size)


class SampleRange(eqx.Module):
    """Where a run ends: only its last block is partly filled. Numbers, so that another count compiles nothing."""

    last_block: Array
    last_valid: Array
    num_samples: Array | None

    @classmethod
    def of(cls, num_samples: int, block_size: int) -> "SampleRange":
        last = (num_samples - 1) // block_size
        return cls(
            jnp.asarray(last, jnp.int32),
            jnp.asarray(num_samples - last * block_size, jnp.int32),
            jnp.asarray(num_samples, numerics.float_dtype()),
        )

    @classmethod
    def endless(cls, block_size: int) -> "SampleRange":
        return cls(jnp.asarray(-1, jnp.int32), jnp.asarray(block_size, jnp.int32), None)


def block_plan(num_samples: int | None, floats: FloatCounts, execution: Execution, unit_size: int) -> BlockPlan:
    """Block size and tail length: functions of the sample count's next power of two, so few shapes are compiled."""
    rounded = TAIL_SAMPLES if num_samples is None else 2 ** math.ceil(math.log2(max(num_samples, 2)))
    least = max(1, min(LEAST_SAMPLES, MOST_FLOATS // floats.sample))
    roomy = 2 ** math.floor(math.log2(max(BLOCK_FLOATS // floats.sample, least)))
    size = execution.block_size or min(MAX_BLOCK, roomy, rounded)
    tail = min(MAX_TAIL, int(pareto_tail.tail_size(rounded)))
    at_once = min(execution.blocks_per_call, max(1, CALL_FLOATS // floats.summary))
    if execution.mesh is not None:
        at_once += -at_once % execution.mesh.size  # none of its devices idle
    return BlockPlan(*block_and_chunk(size, unit_size), tail + 1, at_once)


def block_and_chunk(size: int, unit_size: int) -> tuple[int, int]:
    """About `size` samples as whole units: several units to a block, or a block of one unit, drawn in chunks."""
    if size >= unit_size:
        whole = size - size % unit_size
        return whole, whole
    return unit_size, size if unit_size % size == 0 else unit_size
