"""Blocks of many problems at once: one structure, different numbers, a summary for each problem.

A device call draws one block of each of a group of problems, about `LANES` samples in all. The problem is the last axis
of every array and runs fastest: leaves that problems share are broadcast, and a sum over samples adds whole vectors of
problems. A block is still a pure function of (task, key, index), so no grouping changes a problem's bits.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from mcengine import numerics
from mcengine.execution.block import draw_and_summarise
from mcengine.execution.block_plan import BlockPlan, SampleRange
from mcengine.execution.sequential import block_counts
from mcengine.execution.settings import Execution
from mcengine.execution.task import SamplingTask
from mcengine.numerics.arrays import AnyArray
from mcengine.numerics.partition import StaticPart, combine
from mcengine.points.growing import GrowingUnits
from mcengine.summaries.merge import as_one_unit, merge_all, merge_pair
from mcengine.summaries.merge_tree import MergeTree
from mcengine.summaries.packing import pack, unpack
from mcengine.summaries.summary import Summary

# Samples of one call: enough to be worth the call, few enough to stay near the processor.
LANES = 2**16

TaskOf = Callable[..., SamplingTask]
Indices = Int[np.ndarray, " problems"]
IsEnough = Callable[[Summary, Indices], Bool[np.ndarray, " problems"]]


class Rows(NamedTuple):
    """A pytree for each of P problems, in parts: leaves that vary have a last axis [P], all others are shared."""

    leaves: list[AnyArray]
    varies: tuple[bool, ...]
    static: StaticPart


class ProblemBatch(NamedTuple):
    """What the blocks of many problems are drawn from; problem i has the key of `key_data[i]`.

    `task_of` makes a problem's task of its row. It is a function of a module, so that batches of one structure share
    their kernels.
    """

    rows: Rows
    key_data: UInt32[np.ndarray, "P words"]
    impl: str
    task_of: TaskOf
    plan: BlockPlan

    def group_size(self, with_tail: bool = False) -> int:
        """How many problems one call draws.

        It depends on the block size alone, since another size is another kernel, whose last bits may differ: a problem
        has the same bits whichever others are in its batch. Tails cost far more than padding, so a call that keeps them
        has a group of the batch's size.
        """
        group = max(1, LANES // self.plan.block_size)
        return min(group, 1 << (len(self.key_data) - 1).bit_length()) if with_tail else group

    def take(self, index: Indices) -> "ProblemBatch":
        """Some of the problems."""
        rows = self.rows
        leaves = [leaf[..., index] if varies else leaf for leaf, varies in zip(rows.leaves, rows.varies, strict=True)]
        return self._replace(rows=rows._replace(leaves=leaves), key_data=self.key_data[index])


def run_samples_of_all(
    batch: ProblemBatch, num_samples: int, *, execution: Execution, with_tail: bool = False
) -> Summary:
    """The merged summary of exactly `num_samples` samples of every problem, in float64, with leading axis [P]."""
    sample_range = SampleRange.of(num_samples, batch.plan.block_size)
    blocks = range(-(-num_samples // batch.plan.block_size))
    merged = []
    for summaries in _block_summaries(batch, blocks, sample_range, execution=execution, with_tail=with_tail):
        one_block = len(blocks) == 1
        merged.append(jax.tree.map(lambda leaf: leaf[0], summaries) if one_block else merge_all(summaries))
        if execution.progress is not None:
            done = min(len(merged) * batch.group_size(with_tail), len(batch.key_data))
            execution.progress(done * num_samples, len(batch.key_data) * num_samples)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *merged)


def run_until_enough(batch: ProblemBatch, most: int, *, execution: Execution, is_enough: IsEnough) -> Summary:
    """The summary of every problem, each of as many blocks as it takes until `is_enough`, at most `most` (of a unit).

    At every interim look `is_enough(summary, active)` says which of the active problems are done. They stop drawing,
    and the others fill the calls.
    """
    points = _task_of_first(batch).points
    merged = _MergedUnits(points.num_units) if isinstance(points, GrowingUnits) else _MergedBlocks()
    sample_range = SampleRange.endless(batch.plan.block_size)
    active, done, finished = np.arange(len(batch.key_data)), 0, []
    for count in merged.block_counts(most):
        blocks = range(done, count)
        groups = list(_block_summaries(batch, blocks, sample_range, execution=execution, with_tail=False))
        merged.append(jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *groups))
        done, summary = count, merged.summary()
        stops = is_enough(summary, active) | (count == merged.last_count(most))
        finished.append((active[stops], jax.tree.map(lambda leaf, stops=stops: leaf[stops], summary)))
        goes_on = np.flatnonzero(~stops)
        active, batch = active[goes_on], batch.take(goes_on)
        merged.keep(goes_on)
        if execution.progress is not None:
            execution.progress(sum(len(index) for index, _ in finished), len(active) + sum(len(i) for i, _ in finished))
        if not len(active):
            break
    order = np.argsort(np.concatenate([index for index, _ in finished]))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *(summary for _, summary in finished))


class _MergedBlocks:
    """The merged summaries of the active problems, block after block in a fixed tree."""

    def __init__(self) -> None:
        self._tree = MergeTree()

    def block_counts(self, most: int) -> Iterator[int]:
        """The block counts at the interim looks."""
        return block_counts(most)

    def last_count(self, most: int) -> int:
        """The block count at which every problem stops."""
        return most

    def append(self, summaries: Summary) -> None:
        """Add the summaries of the next blocks, with leading axes [blocks, problems]."""
        self._tree.append(summaries)

    def summary(self) -> Summary:
        """The merged summary, with leading axis [problems]."""
        return self._tree.merged()

    def keep(self, index: Indices) -> None:
        """Go on with some of the problems."""
        self._tree.take(index)


class _MergedUnits:
    """The same for growing units: block b is the next piece of unit b mod `num_units`."""

    def __init__(self, num_units: int) -> None:
        self._num_units = num_units
        self._by_unit: Summary | None = None

    def block_counts(self, most: int) -> Iterator[int]:
        """The block counts at the interim looks: every unit doubles from look to look."""
        length = 1
        while length <= most:
            yield length * self._num_units
            length *= 2

    def last_count(self, most: int) -> int:
        """The block count at which every problem stops."""
        return self._num_units << (most.bit_length() - 1)

    def append(self, summaries: Summary) -> None:
        """Add the summaries of the next blocks, with leading axes [blocks, problems]."""
        length = len(summaries.moments.count) // self._num_units
        added = merge_all(jax.tree.map(lambda leaf: leaf.reshape(length, self._num_units, *leaf.shape[1:]), summaries))
        self._by_unit = added if self._by_unit is None else merge_pair(self._by_unit, added)

    def summary(self) -> Summary:
        """The merged summary, one number from every unit, with leading axis [problems]."""
        assert self._by_unit is not None
        return merge_all(as_one_unit(self._by_unit))

    def keep(self, index: Indices) -> None:
        """Go on with some of the problems."""
        self._by_unit = jax.tree.map(lambda leaf: leaf[:, index], self._by_unit)


def _task_of_first(batch: ProblemBatch) -> SamplingTask:
    rows = batch.take(np.zeros(1, int)).rows
    leaves = [leaf[..., 0] if varies else leaf for leaf, varies in zip(rows.leaves, rows.varies, strict=True)]
    return batch.task_of(combine([jnp.asarray(leaf) for leaf in leaves], rows.static))


def _block_summaries(
    batch: ProblemBatch, blocks: Sequence[int], sample_range: SampleRange, *, execution: Execution, with_tail: bool
) -> Iterator[Summary]:
    """For each group of problems the summaries of the blocks, in float64, with leading axes [blocks, problems]."""
    size, group = len(batch.key_data), batch.group_size(with_tail)
    shapes = tuple(
        jax.ShapeDtypeStruct(leaf.shape[:-1] if varies else leaf.shape, leaf.dtype)
        for leaf, varies in zip(batch.rows.leaves, batch.rows.varies, strict=True)
    )
    structure = _Structure(
        batch.rows.varies, batch.rows.static, batch.task_of, batch.plan, impl=batch.impl, with_tail=with_tail
    )
    like = _summary_struct(shapes, structure)
    kernel = partial(_summarise_problems, structure=structure)
    places = itertools.cycle(execution.places if execution.devices is not None else (None,))

    def call(index: Indices, block: int, place: jax.Device | None) -> np.ndarray:
        some = batch.take(index)
        arguments = some.rows.leaves, some.key_data.T, np.asarray(block, np.int32), sample_range
        return np.asarray(kernel(*(arguments if place is None else jax.device_put(arguments, place))))

    with ThreadPoolExecutor(execution.num_threads) as pool:
        pending: deque[tuple[int, list[Future[np.ndarray]]]] = deque()

        def collected() -> Summary:
            valid, futures = pending.popleft()
            packed = np.stack([future.result() for future in futures]).astype(np.float64)
            return unpack(np.swapaxes(packed, 1, 2)[:, :valid], like)

        for start in range(0, size, group):
            # The last group repeats its last problem; what that adds is dropped.
            index = np.minimum(np.arange(start, start + group), size - 1)
            futures = []
            for block in blocks:
                futures.append(pool.submit(call, index, block, next(places)))
                if start == 0 and len(futures) == 1:
                    futures[0].result()  # it compiles; threads that ask for the same compilation do it twice
            pending.append((min(group, size - start), futures))
            while len(pending) > execution.num_threads:
                yield collected()
        while pending:
            yield collected()


class _Structure(NamedTuple):
    """What a kernel is compiled for."""

    varies: tuple[bool, ...]
    static: StaticPart
    task_of: TaskOf
    plan: BlockPlan
    impl: str
    with_tail: bool

    def summarise(
        self, leaves: list[Array], key_data: UInt32[Array, " words"], block: Int[Array, ""], sample_range: SampleRange
    ) -> Summary:
        """The summary of one block of one problem."""
        task, key = self.task_of(combine(leaves, self.static)), jax.random.wrap_key_data(key_data, impl=self.impl)
        return draw_and_summarise(task, key, block, sample_range, plan=self.plan, with_tail=self.with_tail)


@lru_cache(maxsize=256)
def _summary_struct(shapes: tuple[jax.ShapeDtypeStruct, ...], structure: _Structure) -> Summary:
    """The summary of a block of one problem with shapes in place of arrays, traced once for each structure."""
    size = structure.plan.block_size
    key_data = jax.random.key_data(jax.random.key(0, impl=structure.impl))
    block = jnp.zeros((), jnp.int32)
    return jax.eval_shape(structure.summarise, list(shapes), key_data, block, SampleRange.of(size, size))


@partial(jax.jit, static_argnames=("structure",), compiler_options=numerics.KERNEL_OPTIONS)
def _summarise_problems(
    leaves: list[Array],
    key_data: UInt32[Array, "words P"],
    block: Int[Array, ""],
    sample_range: SampleRange,
    *,
    structure: _Structure,
) -> Float[Array, "F P"]:
    """The packed summary of one block of each problem."""

    def of_problem(leaves: list[Array], key_data: UInt32[Array, " words"]) -> Float[Array, " F"]:
        return pack(structure.summarise(leaves, key_data, block, sample_range))

    axes = [-1 if varies else None for varies in structure.varies]
    return jax.vmap(of_problem, in_axes=(axes, -1), out_axes=-1)(leaves, key_data)
