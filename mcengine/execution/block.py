"""Blocks of samples: a pure function of (work, key, index), compiled for one shape, run many to a device call."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from mcengine import numerics
from mcengine.execution.block_plan import BlockPlan, SampleRange
from mcengine.execution.draw import draw_weighted
from mcengine.execution.task import SamplingTask
from mcengine.proposals.mixture import mixture_of
from mcengine.summaries.merge import as_one_unit, merge_all
from mcengine.summaries.reduce_block import summarise_block
from mcengine.summaries.summary import Summary

# Units of so many samples are few, so that their skewness matters; there are thousands of antithetic pairs.
LONG_UNIT = 8
# Rows of a unit's chunks held before they are merged.
FEW_ROWS = 8


def draw_and_summarise(
    task: SamplingTask,
    key: Array,
    index: Array,
    sample_range: SampleRange,
    plan: BlockPlan,
    with_tail: bool,
    exact: bool = False,
) -> Summary:
    """Draw block `index`, weigh it, and reduce it to its row; `exact` as in `moments.row_of_block`."""
    tail_length = plan.tail_length if with_tail else 0
    of_chunk = partial(_summary_of_chunk, task, key, sample_range=sample_range, tail_length=tail_length, exact=exact)
    if plan.chunk_size == plan.block_size:
        num_valid = jnp.where(index == sample_range.last_block, sample_range.last_valid, plan.block_size)
        return of_chunk(index, num_valid, size=plan.block_size, unit_size=task.points.unit_size)
    # One unit, larger than what is drawn at a time: its samples are gathered first, then count as one.
    parts = plan.block_size // plan.chunk_size
    whole = jnp.asarray(plan.chunk_size, index.dtype)

    def chunk(part: Array) -> Summary:
        return of_chunk(index * parts + part, whole, size=plan.chunk_size, unit_size=1)

    return as_one_unit(_gathered(chunk, jnp.zeros((), index.dtype), parts))


def _gathered(chunk: Callable[[Array], Summary], first: Array, parts: int) -> Summary:
    """The merged row of chunks first .. first + parts - 1, holding a few rows at a time and not all of them."""
    steps, length = (parts, 1) if parts % FEW_ROWS else (FEW_ROWS, parts // FEW_ROWS)
    of = chunk if length == 1 else partial(_gathered, chunk, parts=length)
    starts = first + length * jnp.arange(steps, dtype=first.dtype)
    return merge_all(lax.map(of, starts), jnp)


def _summary_of_chunk(
    task: SamplingTask,
    key: Array,
    index: Array,
    num_valid: Array,
    *,
    sample_range: SampleRange,
    size: int,
    unit_size: int,
    tail_length: int,
    exact: bool,
) -> Summary:
    log_w, value, x, log_terms, factors = draw_weighted(task, key, index, size)
    dtype = numerics.float_dtype()
    columns = jnp.concatenate([leaf.astype(dtype).reshape(-1, size) for leaf in jax.tree.leaves(value)])
    mixture = mixture_of(task.problem.plain if task.proposal is None else task.proposal)
    controls = None if task.controls is None else task.controls.columns(x, log_w, log_terms, mixture)
    weighting = task.weighting
    transform = (
        partial(weighting.transform, num_samples=sample_range.num_samples) if weighting.changes_weights else None
    )
    return summarise_block(
        log_w, columns, num_valid, transform=transform, with_denominator=weighting.self_normalised,
        controls=controls, coefficients=task.coefficients,
        indicator=bool(getattr(task.problem, "is_indicator", False)), unit_size=unit_size, tail_length=tail_length,
        covariance=task.covariance, exact=exact, skewness=task.points.unit_size >= LONG_UNIT,
        factors=factors, num_denominators=task.layout.num_denominators, tailed=task.layout.tailed,
    )  # fmt: skip
