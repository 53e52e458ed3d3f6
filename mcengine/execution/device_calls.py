"""Device calls of a run: several in flight at once, on all devices, their summaries in the order of the blocks."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Integer

from mcengine import numerics
from mcengine.execution.block import draw_and_summarise
from mcengine.execution.block_plan import BlockPlan, SampleRange
from mcengine.execution.settings import Execution
from mcengine.execution.task import SamplingTask
from mcengine.numerics.arrays import AnyArray
from mcengine.numerics.partition import StaticPart, combine, partition, shapes_of
from mcengine.summaries.merge import stack_summaries
from mcengine.summaries.merge_tree import MergeTree
from mcengine.summaries.packing import pack, unpack
from mcengine.summaries.summary import Summary


class DeviceCalls:
    """Device calls of one run, several in flight at once; their summaries merge in the order of the blocks.

    XLA on CPU splits single operations over its threads, which costs more than it gains at these sizes: two calls from
    two Python threads are 1.6 times as fast as one after the other. Block b goes to tree b mod `num_trees`; `tree` is
    the first one.
    """

    def __init__(
        self,
        task: SamplingTask,
        key: Array,
        sample_range: SampleRange,
        plan: BlockPlan,
        *,
        execution: Execution,
        num_trees: int = 1,
    ) -> None:
        self.plan, self.num_threads = plan, execution.num_threads
        self._like = {tailed: summary_struct(task, sample_range, plan, tailed) for tailed in (False, True)}
        dynamic, self._static = partition(task)
        self._mesh = execution.mesh
        # Every device has the numbers and takes the next call: the result does not depend on which device did which.
        self._at_places = [jax.device_put((dynamic, key, sample_range), place) for place in execution.places]
        self._calls = 0
        self.trees = [MergeTree() for _ in range(num_trees)]
        self._pool = ThreadPoolExecutor(self.num_threads)
        self._pending: deque[tuple[Future, int, int]] = deque()

    def __enter__(self) -> "DeviceCalls":
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, first: int, count: int) -> None:
        """Start one call on the next device, as soon as a thread is free."""
        arguments = self._at_places[self._calls % len(self._at_places)]
        self._calls += 1
        self._pending.append((self._pool.submit(self._summaries, arguments, first, count), first, count))
        while len(self._pending) > self.num_threads:
            self._collect_one()

    def compile(self) -> None:
        """Compile both kernels, with and without a tail, for every device; nothing is drawn."""
        for first in (0, self.plan.tail_blocks):
            for _ in self._at_places:
                self.submit(first, 0)
        self.collect()

    def collect(self) -> None:
        """Wait for all calls in flight."""
        while self._pending:
            self._collect_one()

    @property
    def tree(self) -> MergeTree:
        """The only tree, where there is one."""
        return self.trees[0]

    def merged(self) -> Summary:
        """The summary of each tree, stacked."""
        return stack_summaries([tree.merged() for tree in self.trees])

    def next_count(self, first: int, wanted: int) -> int:
        """Blocks that one call from `first` takes of those wanted: no call straddles the end of the tail blocks."""
        limit = min(self.plan.blocks_per_call, -(-wanted // self.num_threads))
        return min(limit, self.plan.tail_blocks - first) if first < self.plan.tail_blocks else limit

    def _summaries(self, arguments: tuple[list[Array], Array, SampleRange], first: int, count: int) -> Summary:
        with_tail = first < self.plan.tail_blocks
        blocks = BlockRange(np.asarray(first, np.int32), np.asarray(count, np.int32))
        packed = summarise_blocks(
            *arguments, blocks, static=self._static, plan=self.plan, with_tail=with_tail, mesh=self._mesh
        )
        return unpack(jax.device_get(packed), self._like[with_tail])

    def _collect_one(self) -> None:
        future, first, count = self._pending.popleft()
        summaries = jax.tree.map(lambda leaf: leaf[:count], future.result())
        num_trees = len(self.trees)
        for i in range(min(count, num_trees)):
            self.trees[(first + i) % num_trees].append(jax.tree.map(lambda leaf, i=i: leaf[i::num_trees], summaries))


class BlockRange(NamedTuple):
    """Blocks first .. first + count - 1."""

    first: Integer[AnyArray, ""]
    count: Integer[AnyArray, ""]


@partial(jax.jit, static_argnames=("static", "plan", "with_tail", "mesh"), compiler_options=numerics.KERNEL_OPTIONS)
def summarise_blocks(
    dynamic: list[Array],
    key: Array,
    sample_range: SampleRange,
    blocks: BlockRange,
    *,
    static: StaticPart,
    plan: BlockPlan,
    with_tail: bool,
    mesh: Mesh | None = None,
) -> Float[Array, "blocks F"]:
    """Packed summaries of the blocks, stacked; entries beyond `blocks.count` are zeros.

    On a `mesh` its devices take the blocks in turn, and every device has all summaries in the end.
    """
    step = 1 if mesh is None else mesh.size

    def every_step(dynamic: list[Array], key: Array, sample_range: SampleRange, blocks: BlockRange) -> Array:
        def one(index: AnyArray) -> Array:
            task = combine(dynamic, static)
            return pack(
                draw_and_summarise(
                    task, key, jnp.asarray(index), sample_range, plan=plan, with_tail=with_tail, exact=True
                )
            )

        def body(i: Array, summaries: Array) -> Array:
            return lax.dynamic_update_index_in_dim(summaries, one(blocks.first + step * i), i, 0)

        like = jax.eval_shape(one, blocks.first)
        length = -(-plan.blocks_per_call // step)
        return lax.fori_loop(0, blocks.count, body, jnp.zeros((length, *like.shape), like.dtype))

    if mesh is None:
        return every_step(dynamic, key, sample_range, blocks)

    def of_device(dynamic: list[Array], key: Array, sample_range: SampleRange, blocks: BlockRange) -> Array:
        rank = lax.axis_index(mesh.axis_names)
        own = BlockRange(blocks.first + rank, -(-(blocks.count - rank) // step))
        return lax.all_gather(every_step(dynamic, key, sample_range, own), mesh.axis_names)

    everywhere = PartitionSpec()
    spread = jax.shard_map(of_device, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False)
    by_device = spread(dynamic, key, sample_range, blocks)
    return jnp.swapaxes(by_device, 0, 1).reshape(-1, *by_device.shape[2:])


def summary_struct(task: SamplingTask, sample_range: SampleRange, plan: BlockPlan, with_tail: bool) -> Summary:
    """The summary of a block with shapes and dtypes in place of arrays."""
    return shapes_of(_first_summary, task, sample_range, plan, with_tail)


def _first_summary(task: SamplingTask, sample_range: SampleRange, plan: BlockPlan, with_tail: bool) -> Summary:
    key, index = jax.random.key(0), jnp.zeros((), jnp.int32)
    return draw_and_summarise(task, key, index, sample_range, plan=plan, with_tail=with_tail, exact=True)
