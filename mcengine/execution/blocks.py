"""Blocks of samples: a pure function of (work, key, index), compiled for one shape, run many to a device call."""

import math
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from mcengine import merging, mis, moments, numerics, pareto, weights
from mcengine.distributions import Labelled
from mcengine.execution.caching import Static, join, split
from mcengine.execution.settings import Execution
from mcengine.merging import RowTree
from mcengine.moments import MAX_TAIL, Row

# Blocks that keep a tail for k-hat cover the first so many samples.
TAIL_SAMPLES = 2**22
MAX_BLOCK = 2**18
# Floats (uniforms and outputs) of one block, so that they stay near the processor.
BLOCK_FLOATS = 2**20


class Work(eqx.Module):
    """Everything a block needs besides its key and index."""

    problem: Any
    proposal: Any
    points: Any
    weighting: Any
    mis: Any = None
    controls: Any = None
    coefficients: Any = None  # of the controls; None while a pilot looks for them


class Plan(eqx.Module):
    """The shapes that a run is compiled for; hashable. A block is drawn `chunk_size` samples at a time."""

    block_size: int = eqx.field(static=True)
    chunk_size: int = eqx.field(static=True)
    tail_length: int = eqx.field(static=True)
    blocks_per_call: int = eqx.field(static=True)

    @property
    def tail_blocks(self) -> int:
        """How many of the first blocks keep a tail."""
        return max(1, TAIL_SAMPLES // self.block_size)


class Extent(eqx.Module):
    """Where a run ends: only its last block is partly filled. Numbers, so that another count compiles nothing."""

    last_block: Array
    last_valid: Array
    num_samples: Array | None

    @classmethod
    def of(cls, num_samples: int, block_size: int) -> "Extent":
        last = (num_samples - 1) // block_size
        return cls(
            jnp.asarray(last, jnp.int32),
            jnp.asarray(num_samples - last * block_size, jnp.int32),
            jnp.asarray(num_samples, numerics.float_dtype()),
        )

    @classmethod
    def endless(cls, block_size: int) -> "Extent":
        return cls(jnp.asarray(-1, jnp.int32), jnp.asarray(block_size, jnp.int32), None)


def plan_of(num_samples: int | None, floats_per_sample: int, execution: Execution, unit_size: int) -> Plan:
    """Block size and tail length: functions of the sample count's next power of two, so few shapes are compiled."""
    rounded = TAIL_SAMPLES if num_samples is None else 2 ** math.ceil(math.log2(max(num_samples, 2)))
    roomy = 2 ** math.floor(math.log2(max(BLOCK_FLOATS // floats_per_sample, 256)))
    size = execution.block_size or min(MAX_BLOCK, roomy, rounded)
    tail = min(MAX_TAIL, int(pareto.tail_size(rounded)))
    return Plan(*block_and_chunk(size, unit_size), tail + 1, execution.blocks_per_call)


def block_and_chunk(size: int, unit_size: int) -> tuple[int, int]:
    """About `size` samples as whole units: several units to a block, or a block of one unit, drawn in chunks."""
    if size >= unit_size:
        whole = size - size % unit_size
        return whole, whole
    return unit_size, size if unit_size % size == 0 else unit_size


def row_of(work: Work, key: Array, index: Array, extent: Extent, plan: Plan, with_tail: bool) -> Row:
    """Draw block `index`, weigh it, and reduce it to its row."""
    tail_length = plan.tail_length if with_tail else 0
    if plan.chunk_size == plan.block_size:
        num_valid = jnp.where(index == extent.last_block, extent.last_valid, plan.block_size)
        return _row_of_chunk(work, key, index, num_valid, extent, plan.block_size, work.points.unit_size, tail_length)
    # One unit, larger than what is drawn at a time: its samples are gathered first, then count as one.
    parts = plan.block_size // plan.chunk_size
    whole = jnp.asarray(plan.chunk_size, index.dtype)

    def chunk(part: Array) -> Row:
        return _row_of_chunk(work, key, index * parts + part, whole, extent, plan.chunk_size, 1, tail_length)

    return merging.as_one_unit(merging.merge_all(lax.map(chunk, jnp.arange(parts, dtype=index.dtype)), jnp))


def _row_of_chunk(
    work: Work, key: Array, index: Array, num_valid: Array, extent: Extent, size: int, unit_size: int, tail_length: int
) -> Row:
    problem, proposal = work.problem, work.proposal
    source = problem.plain if proposal is None else proposal
    one, indicator = numerics.runtime_one(key), bool(getattr(problem, "is_indicator", False))
    x, log_q, log_terms = _draw(work, key, index, size, source)
    if not indicator:
        # Weight and value are both kept, and both read x.
        x = jax.tree.map(lambda leaf: numerics.fence(leaf, one) if leaf.dtype == one.dtype else leaf, x)
    log_w = None
    if proposal is not None or problem.plain is not problem.target:
        log_q = jax.vmap(source.log_prob, in_axes=-1)(x) if log_q is None else log_q
        log_w = weights.log_ratio(jax.vmap(problem.target.log_prob, in_axes=-1)(x), log_q)
    value = jax.vmap(problem.integrand, in_axes=-1, out_axes=-1)(x)
    dtype = numerics.float_dtype()
    columns = jnp.concatenate([leaf.astype(dtype).reshape(-1, size) for leaf in jax.tree.leaves(value)])
    controls = None if work.controls is None else work.controls.columns(x, log_w, log_terms, mixture_of(source))
    weighting = work.weighting
    transform = partial(weighting.transform, num_samples=extent.num_samples) if weighting.changes_weights else None
    return moments.row_of_block(
        log_w, columns, num_valid, transform=transform, with_denominator=weighting.self_normalised,
        controls=controls, coefficients=work.coefficients,
        indicator=indicator, unit_size=unit_size, tail_length=tail_length,
        one=one,
    )  # fmt: skip


def _draw(work: Work, key: Array, index: Array, size: int, source: Any) -> tuple[Any, Array | None, Array | None]:
    """(samples, what stands for their log q where known, log(alpha_k q_k) of a mixture where somebody asks)."""
    wants_terms = getattr(work.controls, "needs_terms", False)
    if work.mis is None and not wants_terms:
        return *work.points.draw(key, index, size, source), None
    mixture = mixture_of(source)
    (x, chosen), _ = work.points.draw(key, index, size, Labelled(mixture))
    one = numerics.runtime_one(key)
    terms = jax.vmap(partial(mis.log_terms, mixture), in_axes=-1, out_axes=-1)(x)
    log_terms = numerics.fence(terms, one)
    heuristic = mis.Balance() if work.mis is None else work.mis
    return x, mis.log_density(heuristic, log_terms, chosen), log_terms


def mixture_of(source: Any) -> Any:
    """The mixture inside a proposal that wraps one."""
    return getattr(source, "mixture", source)


@partial(jax.jit, static_argnames=("static", "plan", "with_tail"))
def _call(dynamic, key, first, count, extent, *, static: Static, plan: Plan, with_tail: bool) -> Row:
    """Rows of blocks first .. first + count - 1, stacked; those beyond `count` are left at zero."""
    work = join(dynamic, static)

    def one(index):
        return row_of(work, key, index, extent, plan, with_tail)

    like = jax.eval_shape(one, first)
    rows = jax.tree.map(lambda leaf: jnp.zeros((plan.blocks_per_call, *leaf.shape), leaf.dtype), like)

    def body(i, rows):
        return jax.tree.map(lambda all_, new: lax.dynamic_update_index_in_dim(all_, new, i, 0), rows, one(first + i))

    return lax.fori_loop(0, count, body, rows)


class Caller:
    """Device calls of one run, several under way at once; their rows are merged in the order of the blocks.

    XLA on CPU splits single operations over its threads, which costs more than it gains at these sizes: two calls from
    two Python threads are 1.6 times as fast as one after the other.
    """

    def __init__(
        self, work: Work, key: Array, extent: Extent, plan: Plan, num_threads: int, *, keep: bool = False
    ) -> None:
        self.key, self.extent, self.plan, self.num_threads = key, extent, plan, num_threads
        self.dynamic, self.static = split(work)
        self.tree = RowTree()
        self._kept: list[Row] | None = [] if keep else None
        self._pool = ThreadPoolExecutor(num_threads)
        self._pending: deque[tuple[Future, int]] = deque()

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._pool.shutdown(cancel_futures=True)

    def dispatch(self, first: int, count: int) -> None:
        """Start one call, as soon as a thread is free."""
        self._pending.append((self._pool.submit(self._rows, first, count), count))
        while len(self._pending) > self.num_threads:
            self._collect_one()

    def collect(self) -> None:
        """Wait for all that is under way."""
        while self._pending:
            self._collect_one()

    def kept(self) -> Row:
        """All rows in the order of the blocks, unmerged, in float64 (of a caller made with `keep`)."""
        tails = max(rows.stats.log_tail.shape[-1] for rows in self._kept or [])
        padded = [merging.with_tail_length(rows, tails) for rows in self._kept or []]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves).astype(np.float64), *padded)

    def room(self, first: int, wanted: int) -> int:
        """Blocks that one call from `first` takes of those wanted: no call straddles the end of the tail blocks."""
        limit = min(self.plan.blocks_per_call, -(-wanted // self.num_threads))
        return min(limit, self.plan.tail_blocks - first) if first < self.plan.tail_blocks else limit

    def _rows(self, first: int, count: int) -> Row:
        rows = _call(
            self.dynamic,
            self.key,
            jnp.asarray(first, jnp.int32),
            jnp.asarray(count, jnp.int32),
            self.extent,
            static=self.static,
            plan=self.plan,
            with_tail=first < self.plan.tail_blocks,
        )
        return jax.device_get(rows)

    def _collect_one(self) -> None:
        future, count = self._pending.popleft()
        rows = jax.tree.map(lambda leaf: leaf[:count], future.result())
        if self._kept is None:
            self.tree.append(rows)
        else:
            self._kept.append(rows)


def run_samples(work: Work, key: Array, num_samples: int, plan: Plan, execution: Execution) -> Row:
    """The merged row of exactly `num_samples` samples."""
    num_blocks, done, num_threads = -(-num_samples // plan.block_size), 0, execution.num_threads
    with Caller(work, key, Extent.of(num_samples, plan.block_size), plan, num_threads) as caller:
        while done < num_blocks:
            left = num_blocks - done
            # One block alone at first: it compiles, and threads that ask for the same compilation do it twice.
            count = 1 if done == 0 else caller.room(done, left)
            caller.dispatch(done, count)
            if done == 0:
                caller.collect()
            done += count
            if execution.progress is not None:
                execution.progress(min(done * plan.block_size, num_samples), num_samples)
        caller.collect()
        return caller.tree.merged()


def run_seconds(work: Work, key: Array, limit: float, plan: Plan, execution: Execution) -> Row:
    """The merged row of as many whole blocks as fit in `limit` seconds; at least one."""
    num_threads = execution.num_threads
    with Caller(work, key, Extent.endless(plan.block_size), plan, num_threads) as caller:
        for first in (0, plan.tail_blocks):  # both kernels compile before the clock starts
            caller.dispatch(first, 0)
        caller.collect()
        start, done, pace = time.perf_counter(), 0, math.inf
        while done == 0 or time.perf_counter() - start + pace < limit:
            left = limit - (time.perf_counter() - start)
            # A tenth of the time left at the pace seen, so that the last round overshoots little.
            wanted = 1 if done == 0 else int(max(1, min(2 * done, 0.1 * left / pace)))
            for _ in range(num_threads if done else 1):
                count = caller.room(done, wanted)
                caller.dispatch(done, count)
                done += count
            caller.collect()
            pace = (time.perf_counter() - start) / done
            if execution.progress is not None:
                execution.progress(done * plan.block_size, None)
        return caller.tree.merged()


def run_traced(work: Work, key: Array, num_samples: int, plan: Plan) -> Row:
    """The same blocks inside somebody else's trace, merged in the kernels' dtype; differentiable, flat in memory."""
    extent = Extent.of(num_samples, plan.block_size)
    num_blocks = -(-num_samples // plan.block_size)
    num_tail = min(num_blocks, plan.tail_blocks)

    def rows(first: int, last: int, with_tail: bool) -> Row:
        block = jax.checkpoint(lambda index: row_of(work, key, index, extent, plan, with_tail))
        if last - first == 1:
            return jax.tree.map(lambda leaf: leaf[None], block(jnp.asarray(first, jnp.int32)))
        return lax.map(block, jnp.arange(first, last, dtype=jnp.int32))

    row = merging.merge_all(rows(0, num_tail, True), jnp)
    if num_blocks > num_tail:
        row = merging.merge(row, merging.merge_all(rows(num_tail, num_blocks, False), jnp), jnp)
    return row


def row_of_arrays(log_w: Any, values: Any, weighting: Any) -> Row:
    """The row of samples that somebody else drew: `log_w` [n] and `values` [K, n], reduced in float64."""
    with np.errstate(all="ignore"), jax.enable_x64(True):
        n = values.shape[-1]
        count = jnp.asarray(n, jnp.int32)
        num_samples = jnp.asarray(n, jnp.float64)
        transform = partial(weighting.transform, num_samples=num_samples) if weighting.changes_weights else None
        row = moments.row_of_block(
            None if log_w is None else jnp.asarray(log_w), jnp.asarray(values), count, transform=transform,
            with_denominator=weighting.self_normalised,
            tail_length=min(MAX_TAIL, int(pareto.tail_size(n))) + 1,
        )  # fmt: skip
        return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), row)
