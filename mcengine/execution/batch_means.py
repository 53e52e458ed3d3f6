"""Means of small batches of w f, in the order of the samples: the data of intervals by betting."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mcengine import numerics, weights
from mcengine.execution.block_plan import BlockPlan
from mcengine.execution.draw import WeightedBlock, read_block
from mcengine.execution.task import SamplingTask
from mcengine.numerics.partition import partition

# Batches of b values lengthen the interval by about b / (sd sqrt(n)) of itself, and n / b of them are kept.
LONGER = 0.1


class BatchMeans:
    """Means of batches of w f / largest over the blocks of a run, which are drawn a second time.

    A batch holds one unit of the points, or more as the run grows: the largest power of two below a tenth of sd
    sqrt(n). The standard deviation is that of earlier samples, so that a size is fixed before its values are drawn.
    Memory grows like the square root of the run.
    """

    def __init__(self, task: SamplingTask, key: Array, plan: BlockPlan, largest: Float[np.ndarray, " K"]) -> None:
        self._dynamic, self._static = partition(task)
        self._key, self._chunk, self._largest = key, plan.chunk_size, largest[:, None]
        self._unit = task.points.unit_size
        self._done, self._chunks = 0, 0
        self._sums = np.zeros((2, len(largest)))
        self._means: list[np.ndarray] = []
        self._sizes: list[np.ndarray] = []

    def until(self, num_samples: int) -> tuple[Float[np.ndarray, "N K"], Int[np.ndarray, " N"]]:
        """(means, sizes) of the batches of the first `num_samples` samples, in whole units."""
        left = np.zeros((len(self._largest), 0))
        while self._done + left.shape[1] < num_samples:
            index = np.asarray(self._chunks, np.int32)
            y = read_block(self._dynamic, self._key, index, static=self._static, size=self._chunk, read=_products)
            # Rounding must not put a value beyond its bound.
            y = np.clip(np.asarray(y, np.float64) / self._largest, 0.0, 1.0)
            left = np.concatenate([left, y], axis=1)
            self._chunks += 1
            if left.shape[1] % self._unit == 0:
                self._keep(left)
                left = left[:, :0]
        return np.concatenate(self._means), np.concatenate(self._sizes)

    def _keep(self, y: Float[np.ndarray, "K n"]) -> None:
        size = self._batch_size(y.shape[1])
        batches = y.reshape(len(y), -1, size)
        self._means.append(batches.mean(axis=2).T)
        self._sizes.append(np.full(batches.shape[1], size))
        self._sums += np.stack([y.sum(axis=1), (y * y).sum(axis=1)])
        self._done += y.shape[1]

    def _batch_size(self, most: int) -> int:
        first, second = self._sums / max(self._done, 1)
        deviation = np.sqrt(np.maximum(second - first**2, 0.0))
        seen = deviation[deviation > 0]
        wanted = LONGER * np.min(seen) * np.sqrt(self._done) if len(seen) == len(first) else 1.0
        size = self._unit
        while 2 * size <= wanted and most % (2 * size) == 0:
            size *= 2
        return size


def _products(block: WeightedBlock) -> Float[Array, "K n"]:
    """w f of every output; 0 where it is not finite, as in the moments."""
    leaves = jax.tree.leaves(block.value)
    columns = jnp.concatenate([leaf.astype(numerics.float_dtype()).reshape(-1, leaf.shape[-1]) for leaf in leaves])
    products = columns if block.log_w is None else weights.from_log(block.log_w)[None, :] * columns
    return jnp.where(jnp.isfinite(products), products, 0.0)
