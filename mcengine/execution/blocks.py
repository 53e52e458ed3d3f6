"""Blocks of samples: a pure function of (work, key, index), compiled for one shape, run many to a device call."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from mcengine import merging, mis, moments, numerics, pareto, weights
from mcengine.caching import Static, join, shapes_of, split
from mcengine.distributions import Labelled, Mixture
from mcengine.dues import Factors
from mcengine.execution.packing import pack
from mcengine.execution.settings import Execution
from mcengine.moments import MAX_TAIL, MAX_TAILED, Row
from mcengine.points.batches import Batches
from mcengine.points.units import Prefixes
from mcengine.proposals import Defensive, MultiSample

# Blocks that keep a tail for k-hat cover the first so many samples.
TAIL_SAMPLES = 2**22
MAX_BLOCK = 2**18
# Floats (uniforms, outputs, densities of components) of one block, so that they stay near the processor.
BLOCK_FLOATS = 2**20
# A block has at least so many samples, to be worth its row, unless their floats are too many even so.
LEAST_SAMPLES, MOST_FLOATS = 256, 2**24
# Units of so many samples are few, so that their skewness matters; there are thousands of antithetic pairs.
LONG_UNIT = 8
# Proposals whose density is that of the mixture that they are, or have inside.
MIXTURES = (Mixture, MultiSample, Defensive)
# Floats of the rows of one call.
CALL_FLOATS = 2**23
# Rows of a unit's chunks held before they are merged.
FEW_ROWS = 8


class Work(eqx.Module):
    """Everything a block needs besides its key and index."""

    problem: Any
    proposal: Any
    points: Any
    weighting: Any
    mis: Any = None
    controls: Any = None
    coefficients: Any = None  # of the controls; None while a pilot looks for them
    covariance: str | None = eqx.field(static=True, default="diagonal")
    layout: "Layout" = eqx.field(static=True, default_factory=lambda: Layout())


class Layout(NamedTuple):
    """How the columns of a sample lie: the last `num_denominators` are divided by; `tailed` keep a tail for k-hat."""

    num_denominators: int = 0
    tailed: tuple[int, ...] | None = None


class Floats(NamedTuple):
    """How many floats one sample (uniforms, outputs, densities of components) and one row need."""

    sample: int
    row: int


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


def plan_of(num_samples: int | None, floats: Floats, execution: Execution, unit_size: int) -> Plan:
    """Block size and tail length: functions of the sample count's next power of two, so few shapes are compiled."""
    rounded = TAIL_SAMPLES if num_samples is None else 2 ** math.ceil(math.log2(max(num_samples, 2)))
    least = max(1, min(LEAST_SAMPLES, MOST_FLOATS // floats.sample))
    roomy = 2 ** math.floor(math.log2(max(BLOCK_FLOATS // floats.sample, least)))
    size = execution.block_size or min(MAX_BLOCK, roomy, rounded)
    tail = min(MAX_TAIL, int(pareto.tail_size(rounded)))
    at_once = min(execution.blocks_per_call, max(1, CALL_FLOATS // floats.row))
    if execution.mesh is not None:
        at_once += -at_once % execution.mesh.size  # none of its devices idle
    return Plan(*block_and_chunk(size, unit_size), tail + 1, at_once)


def block_and_chunk(size: int, unit_size: int) -> tuple[int, int]:
    """About `size` samples as whole units: several units to a block, or a block of one unit, drawn in chunks."""
    if size >= unit_size:
        whole = size - size % unit_size
        return whole, whole
    return unit_size, size if unit_size % size == 0 else unit_size


def row_of(
    work: Work, key: Array, index: Array, extent: Extent, plan: Plan, with_tail: bool, exact: bool = False
) -> Row:
    """Draw block `index`, weigh it, and reduce it to its row; `exact` as in `moments.row_of_block`."""
    tail_length = plan.tail_length if with_tail else 0
    of_chunk = partial(_row_of_chunk, work, key, extent=extent, tail_length=tail_length, exact=exact)
    if plan.chunk_size == plan.block_size:
        num_valid = jnp.where(index == extent.last_block, extent.last_valid, plan.block_size)
        return of_chunk(index, num_valid, size=plan.block_size, unit_size=work.points.unit_size)
    # One unit, larger than what is drawn at a time: its samples are gathered first, then count as one.
    parts = plan.block_size // plan.chunk_size
    whole = jnp.asarray(plan.chunk_size, index.dtype)

    def chunk(part: Array) -> Row:
        return of_chunk(index * parts + part, whole, size=plan.chunk_size, unit_size=1)

    return merging.as_one_unit(_gathered(chunk, jnp.zeros((), index.dtype), parts))


def _gathered(chunk: Callable[[Array], Row], first: Array, parts: int) -> Row:
    """The merged row of chunks first .. first + parts - 1, holding a few rows at a time and not all of them."""
    steps, length = (parts, 1) if parts % FEW_ROWS else (FEW_ROWS, parts // FEW_ROWS)
    of = chunk if length == 1 else partial(_gathered, chunk, parts=length)
    starts = first + length * jnp.arange(steps, dtype=first.dtype)
    return merging.merge_all(lax.map(of, starts), jnp)


class Weighed(NamedTuple):
    """Samples of one block: log w (None where all are 0), values of f, and x.

    For a mixture log(alpha_k q_k) too, and the factors of what its components are due where points have structure.
    """

    log_w: Array | None
    value: Any
    x: Any
    log_terms: Array | None
    factors: Factors | None


def weigh(work: Work, key: Array, index: Array, size: int) -> Weighed:
    """Draw the samples of block `index` and weigh them."""
    problem, proposal = work.problem, work.proposal
    source = problem.plain if proposal is None else proposal
    x, log_q, log_terms = _draw(work, key, index, size, source)
    log_w, factors = None, None
    if proposal is not None or problem.plain is not problem.target:
        log_q = numerics.over_samples(source.log_prob)(x) if log_q is None else log_q
        # [n], or [K, n] from a target with a weight for each output, which the proposal's one density serves.
        log_p = numerics.over_samples(problem.target.log_prob)(x)
        log_w = weights.log_ratio(log_p, jnp.broadcast_to(log_q, log_p.shape))
    if log_terms is not None and log_q is not None and _has_dues(work):
        factors = Factors(mixture_of(source).weights, *mis.dues(_heuristic(work), log_terms, log_q))
    return Weighed(log_w, numerics.over_samples(problem.integrand)(x), x, log_terms, factors)


def _row_of_chunk(
    work: Work,
    key: Array,
    index: Array,
    num_valid: Array,
    *,
    extent: Extent,
    size: int,
    unit_size: int,
    tail_length: int,
    exact: bool,
) -> Row:
    log_w, value, x, log_terms, factors = weigh(work, key, index, size)
    dtype = numerics.float_dtype()
    columns = jnp.concatenate([leaf.astype(dtype).reshape(-1, size) for leaf in jax.tree.leaves(value)])
    mixture = mixture_of(work.problem.plain if work.proposal is None else work.proposal)
    controls = None if work.controls is None else work.controls.columns(x, log_w, log_terms, mixture)
    weighting = work.weighting
    transform = partial(weighting.transform, num_samples=extent.num_samples) if weighting.changes_weights else None
    return moments.row_of_block(
        log_w, columns, num_valid, transform=transform, with_denominator=weighting.self_normalised,
        controls=controls, coefficients=work.coefficients,
        indicator=bool(getattr(work.problem, "is_indicator", False)), unit_size=unit_size, tail_length=tail_length,
        covariance=work.covariance, exact=exact, skewness=work.points.unit_size >= LONG_UNIT,
        factors=factors, num_denominators=work.layout.num_denominators, tailed=work.layout.tailed,
    )  # fmt: skip


def _draw(work: Work, key: Array, index: Array, size: int, source: Any) -> tuple[Any, Array | None, Array | None]:
    """(samples, what stands for their log q where known, log(alpha_k q_k) of a mixture where somebody reads them)."""
    by_component = _labels(work)
    mixture = mixture_of(source)
    drawn, log_q = work.points.draw(key, index, size, Labelled(mixture) if by_component else source)
    x, chosen = drawn if by_component else (drawn, None)
    # Weight and value both read x, and so do all sums behind them.
    x = numerics.fence(x)
    if not reads_components(work):
        return x, log_q, None
    # Once for all that read them, and not inside the loop that draws.
    log_terms = numerics.fence(numerics.over_samples(partial(mis.log_terms, mixture))(x))
    if chosen is None:
        return x, mis.mixture_log_density(log_terms), log_terms
    return x, mis.log_density(_heuristic(work), log_terms, chosen), log_terms


def reads_components(work: Work) -> bool:
    """Whether the densities of a mixture's components are made by themselves."""
    return _labels(work) or type(work.proposal) in MIXTURES


def _labels(work: Work) -> bool:
    """Whether somebody asks which component drew a sample."""
    return work.mis is not None or _with_components(work)


def _with_components(work: Work) -> bool:
    return getattr(work.controls, "needs_terms", False)


def _heuristic(work: Work) -> mis.Heuristic:
    return mis.Balance() if work.mis is None else work.mis


def _has_dues(work: Work) -> bool:
    """Whether points depend on each other, so that less varies than among independent ones; and dues can be told.

    They cannot of components as controls under weights that depend on who drew a sample: the controls do not.
    """
    points = work.points
    if _with_components(work) and work.mis is not None:
        return False
    return isinstance(points, Prefixes) or (points.unit_size > 1 and not isinstance(points, Batches))


def mixture_of(source: Any) -> Any:
    """The mixture inside a proposal that wraps one."""
    return getattr(source, "mixture", source)


@partial(jax.jit, static_argnames=("static", "plan", "with_tail", "mesh"), compiler_options=numerics.KERNEL_OPTIONS)
def rows_of_call(
    dynamic, key, first, count, extent, *, static: Static, plan: Plan, with_tail: bool, mesh: Mesh | None = None
) -> Array:
    """Packed rows of blocks first .. first + count - 1, stacked; what is beyond `count` counts for nothing.

    On a `mesh` the blocks are dealt out to its devices in turn, and every device has all rows in the end.
    """
    step = 1 if mesh is None else mesh.size

    def dealt(dynamic, key, first, count, extent):
        def one(index):
            return pack(row_of(join(dynamic, static), key, index, extent, plan, with_tail, exact=True))

        def body(i, rows):
            return lax.dynamic_update_index_in_dim(rows, one(first + step * i), i, 0)

        like = jax.eval_shape(one, first)
        return lax.fori_loop(0, count, body, jnp.zeros((-(-plan.blocks_per_call // step), *like.shape), like.dtype))

    if mesh is None:
        return dealt(dynamic, key, first, count, extent)

    def of_device(dynamic, key, first, count, extent):
        rank = lax.axis_index(mesh.axis_names)
        return lax.all_gather(dealt(dynamic, key, first + rank, -(-(count - rank) // step), extent), mesh.axis_names)

    everywhere = PartitionSpec()
    spread = jax.shard_map(of_device, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False)
    by_device = spread(dynamic, key, first, count, extent)
    return jnp.swapaxes(by_device, 0, 1).reshape(-1, *by_device.shape[2:])


def row_like(work: Work, extent: Extent, plan: Plan, with_tail: bool) -> Any:
    """The shapes of a packed row's leaves."""
    return shapes_of(_first_row, work, extent, plan, with_tail)


def _first_row(work: Work, extent: Extent, plan: Plan, with_tail: bool) -> Row:
    return row_of(work, jax.random.key(0), jnp.zeros((), jnp.int32), extent, plan, with_tail, exact=True)


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


def row_of_arrays(
    log_w: Any, values: Any, weighting: Any, covariance: str | None = "diagonal", num_denominators: int = 0
) -> Row:
    """The row of samples that somebody else drew: `log_w` [n] and `values` [K, n], reduced in float64.

    The last `num_denominators` values are divided by.
    """
    with np.errstate(all="ignore"), jax.enable_x64(True):
        dynamic, static = split(weighting)
        row = _row_of_arrays(
            dynamic, log_w, values, static=static, covariance=covariance, num_denominators=num_denominators
        )
        return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), row)


@partial(jax.jit, static_argnames=("static", "covariance", "num_denominators"))
def _row_of_arrays(dynamic, log_w, values, *, static: Static, covariance: str | None, num_denominators: int) -> Row:
    weighting, n = join(dynamic, static), values.shape[-1]
    num_samples = jnp.asarray(n, values.dtype)
    transform = partial(weighting.transform, num_samples=num_samples) if weighting.changes_weights else None
    num_outputs, tailed = len(values) - num_denominators, None
    if num_denominators:
        tailed = (*range(min(num_outputs, MAX_TAILED)), *range(num_outputs, len(values)))
    return moments.row_of_block(
        log_w, values, jnp.asarray(n, jnp.int32), transform=transform, with_denominator=weighting.self_normalised,
        tail_length=min(MAX_TAIL, int(pareto.tail_size(n))) + 1, covariance=covariance,
        num_denominators=num_denominators, tailed=tailed,
    )  # fmt: skip
