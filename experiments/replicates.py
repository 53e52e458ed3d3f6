"""Many independent estimates, vmapped, by one compiled kernel whatever their sample count.

`mc.estimate` and `mc.replicate` compile for the sample count: right for one count, seven compilations for a ladder of
seven. Here every count is made of blocks of one size, the last one masked.
"""

import dataclasses
import time
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

import mcengine as mc
from mcengine import checks, moments, pareto
from mcengine.engine import prepare
from mcengine.execution.blocks import Extent, Plan, row_of
from mcengine.execution.caching import join, split
from mcengine.result import finish

# Small enough that masking a block down to 256 samples costs less than compiling again, large enough that reducing it
# costs less than drawing it.
LARGEST_BLOCK, SMALLEST_BLOCK = 2**12, 2**11
# Beyond, one estimate keeps the machine busy by itself, and the rows of many would fill the memory.
MOST_SAMPLES = 2**20


class Replicates:
    """Independent estimates by one method: replicate r from n samples is, to rounding,

    `mc.estimate(fold_in(key, r), problem, proposal, ..., budget=mc.Samples(n), execution=mc.Execution(block_size))`

    **Raises:** `ValueError` in words, as `mc.estimate` does, for a proposal that does not fit the problem.
    """

    def __init__(self, problem: Any, proposal: Any, points: Any, weighting: Any) -> None:
        self.method = {"problem": problem, "proposal": proposal, "points": points, "weighting": weighting}
        self.unit_size = points.unit_size
        run = prepare(**self.method, budget=mc.Samples(MOST_SAMPLES), execution=mc.Execution())
        checks.check_support(run.work.problem, run.work.proposal)
        usual = run.plan.block_size
        # Smoothing looks at the weights of a block together: its blocks must be as large as an estimate's are.
        whole = "ParetoSmoothed" in repr(weighting)
        self.block_size = usual if whole else min(max(usual // 32, SMALLEST_BLOCK), LARGEST_BLOCK)
        self.lanes = max(1, usual // (2 * self.block_size))
        # What one block needs; of many, each has its share of the largest values.
        tail = min(run.plan.tail_length, int(pareto.tail_size(self.block_size)) + 1)
        self.plan = dataclasses.replace(run.plan, block_size=self.block_size, tail_length=tail)
        self.recipe = jax.tree.map(np.asarray, run.recipe)
        self.dynamic, self.static = split(run.work)

    def compile(self, key: PRNGKeyArray) -> float:
        """Compile the kernel, if nothing of its structure was compiled before; the seconds that it took."""
        started = time.perf_counter()
        self._rows(key, self.unit_size, 1)
        return time.perf_counter() - started

    def estimate(self, key: PRNGKeyArray, num_samples: int, replicates: int) -> tuple[mc.Estimate, float]:
        """`replicates` estimates from `num_samples` samples each, as one `Estimate` with leading axis [replicates].

        **Returns:** (estimates, seconds of sampling for one of them, not charged for masked samples and merging).
        """
        num_samples -= num_samples % self.unit_size
        if num_samples > MOST_SAMPLES:
            keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(replicates))
            found = mc.replicate(keys, budget=mc.Samples(num_samples), **self.method)
            return found, (found.seconds or np.nan) / replicates
        started = time.perf_counter()
        rows = self._rows(key, num_samples, replicates)
        seconds = time.perf_counter() - started
        merged = _merged(rows, int(pareto.tail_size(num_samples)) + 1)
        drawn = rows.moments.count.size * self.block_size
        return finish(merged, self.recipe, np), seconds * num_samples / drawn

    def _rows(self, key: PRNGKeyArray, num_samples: int, replicates: int) -> moments.Row:
        """Rows in float64 with leading axes [replicates, blocks]."""
        extent = Extent.of(num_samples, self.block_size)
        num_blocks = -(-num_samples // self.block_size)
        total = replicates * num_blocks
        # Whole batches; the surplus repeats the last block and is thrown away.
        index = (
            np.minimum(np.arange(-(-total // self.lanes) * self.lanes), total - 1)
            .astype(np.int32)
            .reshape(-1, self.lanes)
        )
        kernel = partial(_kernel, static=self.static, plan=self.plan)
        parts = [kernel(self.dynamic, key, some // num_blocks, some % num_blocks, extent) for some in index]

        def stacked(*leaves: np.ndarray) -> np.ndarray:
            rows = np.concatenate(leaves)[:total].astype(np.float64)
            return rows.reshape(replicates, num_blocks, *rows.shape[1:])

        return jax.tree.map(stacked, *jax.device_get(parts))


def _merged(rows: moments.Row, tail_length: int) -> moments.Row:
    """Rows [replicates, blocks] to rows [replicates], with the tail that an estimate from as many samples keeps.

    All blocks' tails are sorted at once: pairwise merging would sort them at every level of the tree.
    """
    tails = np.moveaxis(np.asarray(rows.stats.log_tail), 1, -2)
    tails = -np.sort(-tails.reshape(*tails.shape[:-2], -1), axis=-1)[..., :tail_length]
    bare = eqx.tree_at(lambda row: row.stats.log_tail, rows, rows.stats.log_tail[..., :0])
    merged = moments.merge_all(jax.tree.map(lambda leaf: np.swapaxes(leaf, 0, 1), bare))
    return eqx.tree_at(lambda row: row.stats.log_tail, merged, tails)


@partial(jax.jit, static_argnames=("static", "plan"))
def _kernel(dynamic, key, replicate: Array, block: Array, extent: Extent, *, static, plan: Plan) -> moments.Row:
    """The row of block `block[i]` of replicate `replicate[i]`, for each i."""
    work = join(dynamic, static)

    def one(replicate, block):
        return row_of(work, jax.random.fold_in(key, replicate), block, extent, plan, with_tail=True)

    return jax.vmap(one)(replicate, block)
