"""The blocks of a run inside a trace of the caller."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from mcengine.execution.block import draw_and_summarise
from mcengine.execution.block_plan import BlockPlan, SampleRange
from mcengine.execution.task import SamplingTask
from mcengine.summaries.merge import merge_all, merge_pair
from mcengine.summaries.summary import Summary


def run_traced(task: SamplingTask, key: Array, num_samples: int, plan: BlockPlan) -> Summary:
    """The same blocks inside the caller's trace, merged in the dtype of the kernels; differentiable."""
    sample_range = SampleRange.of(num_samples, plan.block_size)
    num_blocks = -(-num_samples // plan.block_size)
    num_tail = min(num_blocks, plan.tail_blocks)

    def summaries(first: int, last: int, with_tail: bool) -> Summary:
        block = jax.checkpoint(
            lambda index: draw_and_summarise(task, key, index, sample_range, plan=plan, with_tail=with_tail)
        )
        if last - first == 1:
            return jax.tree.map(lambda leaf: leaf[None], block(jnp.asarray(first, jnp.int32)))
        return lax.map(block, jnp.arange(first, last, dtype=jnp.int32))

    summary = merge_all(summaries(0, num_tail, True))
    if num_blocks > num_tail:
        summary = merge_pair(summary, merge_all(summaries(num_tail, num_blocks, False)))
    return summary
