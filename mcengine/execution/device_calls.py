"""Device calls of a run: several under way at once, on all devices, their rows in the order of the blocks."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from mcengine import numerics
from mcengine.execution.block import draw_and_summarise
from mcengine.execution.block_plan import BlockPlan, SampleRange
from mcengine.execution.settings import Execution
from mcengine.execution.task import SamplingTask
from mcengine.numerics.partition import StaticPart, combine, partition, shapes_of
from mcengine.summaries.merge import stack_summaries
from mcengine.summaries.merge_tree import MergeTree
from mcengine.summaries.packing import pack, unpack
from mcengine.summaries.summary import Summary


class DeviceCalls:
    """Device calls of one run, several under way at once; their rows are merged in the order of the blocks.

    XLA on CPU splits single operations over its threads, which costs more than it gains at these sizes: two calls from
    two Python threads are 1.6 times as fast as one after the other. Of several trees block b goes to tree b mod
    `num_trees`, `tree` is the first.
    """

    def __init__(
        self,
        task: SamplingTask,
        key: Array,
        sample_range: SampleRange,
        plan: BlockPlan,
        execution: Execution,
        *,
        num_trees: int = 1,
    ) -> None:
        self.plan, self.num_threads = plan, execution.num_threads
        self._like = {tailed: summary_struct(task, sample_range, plan, tailed) for tailed in (False, True)}
        dynamic, self._static = partition(task)
        self._mesh = execution.mesh
        # Every device has the numbers, and takes whatever call is next: which one did which leaves no trace.
        self._at_places = [jax.device_put((dynamic, key, sample_range), place) for place in execution.places]
        self._calls = 0
        self.trees = [MergeTree() for _ in range(num_trees)]
        self._pool = ThreadPoolExecutor(self.num_threads)
        self._pending: deque[tuple[Future, int, int]] = deque()

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._pool.shutdown(cancel_futures=True)

    def dispatch(self, first: int, count: int) -> None:
        """Start one call on the next device, as soon as a thread is free."""
        arguments = self._at_places[self._calls % len(self._at_places)]
        self._calls += 1
        self._pending.append((self._pool.submit(self._rows, arguments, first, count), first, count))
        while len(self._pending) > self.num_threads:
            self._collect_one()

    def compile(self) -> None:
        """Compile both kernels, with and without a tail, for every device; nothing is drawn."""
        for first in (0, self.plan.tail_blocks):
            for _ in self._at_places:
                self.dispatch(first, 0)
        self.collect()

    def collect(self) -> None:
        """Wait for all that is under way."""
        while self._pending:
            self._collect_one()

    @property
    def tree(self) -> MergeTree:
        """The only tree, where there is one."""
        return self.trees[0]

    def merged(self) -> Summary:
        """The row of each tree, stacked."""
        return stack_summaries([tree.merged() for tree in self.trees])

    def room(self, first: int, wanted: int) -> int:
        """Blocks that one call from `first` takes of those wanted: no call straddles the end of the tail blocks."""
        limit = min(self.plan.blocks_per_call, -(-wanted // self.num_threads))
        return min(limit, self.plan.tail_blocks - first) if first < self.plan.tail_blocks else limit

    def _rows(self, arguments: Any, first: int, count: int) -> Summary:
        dynamic, key, sample_range = arguments
        with_tail = first < self.plan.tail_blocks
        bounds = np.asarray(first, np.int32), np.asarray(count, np.int32)
        summaries = summarise_blocks(
            dynamic,
            key,
            *bounds,
            sample_range,
            static=self._static,
            plan=self.plan,
            with_tail=with_tail,
            mesh=self._mesh,
        )
        return unpack(jax.device_get(summaries), self._like[with_tail])

    def _collect_one(self) -> None:
        future, first, count = self._pending.popleft()
        summaries = jax.tree.map(lambda leaf: leaf[:count], future.result())
        num_trees = len(self.trees)
        for i in range(min(count, num_trees)):
            self.trees[(first + i) % num_trees].append(jax.tree.map(lambda leaf, i=i: leaf[i::num_trees], summaries))


@partial(jax.jit, static_argnames=("static", "plan", "with_tail", "mesh"), compiler_options=numerics.KERNEL_OPTIONS)
def summarise_blocks(
    dynamic,
    key,
    first,
    count,
    sample_range,
    *,
    static: StaticPart,
    plan: BlockPlan,
    with_tail: bool,
    mesh: Mesh | None = None,
) -> Array:
    """Packed rows of blocks first .. first + count - 1, stacked; what is beyond `count` counts for nothing.

    On a `mesh` the blocks are dealt out to its devices in turn, and every device has all rows in the end.
    """
    step = 1 if mesh is None else mesh.size

    def dealt(dynamic, key, first, count, sample_range):
        def one(index):
            return pack(
                draw_and_summarise(combine(dynamic, static), key, index, sample_range, plan, with_tail, exact=True)
            )

        def body(i, summaries):
            return lax.dynamic_update_index_in_dim(summaries, one(first + step * i), i, 0)

        like = jax.eval_shape(one, first)
        return lax.fori_loop(0, count, body, jnp.zeros((-(-plan.blocks_per_call // step), *like.shape), like.dtype))

    if mesh is None:
        return dealt(dynamic, key, first, count, sample_range)

    def of_device(dynamic, key, first, count, sample_range):
        rank = lax.axis_index(mesh.axis_names)
        return lax.all_gather(
            dealt(dynamic, key, first + rank, -(-(count - rank) // step), sample_range), mesh.axis_names
        )

    everywhere = PartitionSpec()
    spread = jax.shard_map(of_device, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False)
    by_device = spread(dynamic, key, first, count, sample_range)
    return jnp.swapaxes(by_device, 0, 1).reshape(-1, *by_device.shape[2:])


def summary_struct(task: SamplingTask, sample_range: SampleRange, plan: BlockPlan, with_tail: bool) -> Any:
    """The shapes of a packed row's leaves."""
    return shapes_of(_first_summary, task, sample_range, plan, with_tail)


def _first_summary(task: SamplingTask, sample_range: SampleRange, plan: BlockPlan, with_tail: bool) -> Summary:
    return draw_and_summarise(
        task, jax.random.key(0), jnp.zeros((), jnp.int32), sample_range, plan, with_tail, exact=True
    )
