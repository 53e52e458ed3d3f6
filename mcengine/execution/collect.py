"""Runs that bring every sample's weight and value back, for functionals that no sum can make."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcengine.execution.block_plan import BlockPlan
from mcengine.execution.draw import draw_weighted
from mcengine.execution.task import SamplingTask
from mcengine.numerics.partition import StaticPart, combine, partition


def collect_samples(
    task: SamplingTask, key: Array, num_samples: int, plan: BlockPlan
) -> tuple[np.ndarray | None, np.ndarray]:
    """(log-weights or None where all are 0, values) of exactly `num_samples` samples in their order, float64 [n]."""
    dynamic, static = partition(task)
    log_w, values = [], []
    for index in range(-(-num_samples // plan.chunk_size)):
        weights, found = _samples(dynamic, key, np.asarray(index, np.int32), static=static, size=plan.chunk_size)
        log_w.append(None if weights is None else np.asarray(weights, np.float64))
        values.append(np.asarray(found, np.float64))
    joined = None if log_w[0] is None else np.concatenate(log_w)[:num_samples]
    return joined, np.concatenate(values)[:num_samples]


@partial(jax.jit, static_argnames=("static", "size"))
def _samples(dynamic, key: Array, index: Array, *, static: StaticPart, size: int):
    log_w, value, *_ = draw_weighted(combine(dynamic, static), key, index, size)
    if log_w is not None and log_w.ndim > 1:
        raise ValueError("TailRisk: the problem weighs each output by itself, so its values have no common law.")
    (loss,) = jax.tree.leaves(value)
    return log_w, jnp.asarray(loss)
