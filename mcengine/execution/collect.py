"""Runs that return every sample: for functionals that no sum can make, and for other libraries."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from mcengine.execution.block_plan import BlockPlan
from mcengine.execution.draw import WeightedBlock, read_block
from mcengine.execution.task import SamplingTask
from mcengine.numerics.partition import partition

Reading = TypeVar("Reading")


def collect_blocks(
    task: SamplingTask, key: Array, num_samples: int, plan: BlockPlan, *, read: Callable[[WeightedBlock], Reading]
) -> list[Reading]:
    """What `read` makes of each of the blocks that hold the first `num_samples` samples, in their order."""
    dynamic, static = partition(task)
    size = plan.chunk_size
    return [
        read_block(dynamic, key, np.asarray(index, np.int32), static=static, size=size, read=read)
        for index in range(-(-num_samples // size))
    ]


def collect_losses(
    task: SamplingTask, key: Array, num_samples: int, plan: BlockPlan
) -> tuple[Float[np.ndarray, " n"] | None, Float[np.ndarray, " n"]]:
    """(log-weights or None where all are 0, values) of exactly `num_samples` samples in their order, float64."""
    blocks = collect_blocks(task, key, num_samples, plan, read=_losses)
    values = np.concatenate([np.asarray(loss, np.float64) for _, loss in blocks])[:num_samples]
    if blocks[0][0] is None:
        return None, values
    return np.concatenate([np.asarray(log_w, np.float64) for log_w, _ in blocks])[:num_samples], values


def _losses(block: WeightedBlock) -> tuple[Float[Array, " n"] | None, Float[Array, " n"]]:
    if block.log_w is not None and block.log_w.ndim > 1:
        raise ValueError(
            "estimate: the problem weighs each output by itself, so its values have no common distribution, which a "
            "functional that keeps samples needs."
        )
    (loss,) = jax.tree.leaves(block.value)
    return block.log_w, jnp.asarray(loss)


def collect_samples(
    task: SamplingTask, key: Array, num_samples: int, plan: BlockPlan
) -> tuple[PyTree, Float[Array, "n *outputs"], PyTree]:
    """(x, log-weights, values) of exactly `num_samples` samples in their order, along the first axis."""
    blocks = collect_blocks(task, key, num_samples, plan, read=_samples)

    def joined(*leaves: Array) -> Array:
        return jnp.moveaxis(jnp.concatenate(leaves, axis=-1)[..., :num_samples], -1, 0)

    return jax.tree.map(joined, *blocks)


def _samples(block: WeightedBlock) -> tuple[PyTree, Float[Array, "*outputs n"], PyTree]:
    size = jax.tree.leaves(block.value)[0].shape[-1]
    log_w = jnp.zeros(size) if block.log_w is None else block.log_w
    return block.x, log_w, block.value
