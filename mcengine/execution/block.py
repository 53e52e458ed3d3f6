"""Blocks of samples: a pure function of (task, key, index), compiled for one shape, run many to a device call."""

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
from mcengine.summaries.reduce_block import Kept, summarise_block
from mcengine.summaries.summary import LONG_UNIT, Summary

# Summaries of a unit's chunks that are held before they are merged.
FEW_SUMMARIES = 8


def draw_and_summarise(
    task: SamplingTask,
    key: Array,
    index: Array,
    sample_range: SampleRange,
    *,
    plan: BlockPlan,
    with_tail: bool,
    exact: bool = False,
) -> Summary:
    """Draw block `index`, weigh it, and reduce it to its summary; `exact` as in `summarise_block`."""
    kept = Kept(
        unit_size=task.points.unit_size,
        indicator=task.problem.is_indicator,
        with_denominator=task.weighting.self_normalised,
        num_denominators=task.layout.num_denominators,
        tailed=task.layout.tailed,
        tail_length=plan.tail_length if with_tail else 0,
        covariance=task.covariance,
        exact=exact,
        skewness=task.one_of_many or task.points.unit_size >= LONG_UNIT,
    )
    of_chunk = partial(_summary_of_chunk, task, key, sample_range=sample_range)
    if plan.chunk_size == plan.block_size:
        num_valid = jnp.where(index == sample_range.last_block, sample_range.last_valid, plan.block_size)
        return of_chunk(index, num_valid, size=plan.block_size, kept=kept)
    # One unit, larger than what is drawn at a time: its chunks are merged first, then count as one.
    num_chunks = plan.block_size // plan.chunk_size
    whole = jnp.asarray(plan.chunk_size, index.dtype)

    def chunk(number: Array) -> Summary:
        return of_chunk(index * num_chunks + number, whole, size=plan.chunk_size, kept=kept._replace(unit_size=1))

    return as_one_unit(_merged_chunks(chunk, jnp.zeros((), index.dtype), num_chunks))


def _merged_chunks(chunk: Callable[[Array], Summary], first: Array, count: int) -> Summary:
    """The merged summary of chunks first .. first + count - 1, of which only a few are held at a time."""
    steps, length = (count, 1) if count % FEW_SUMMARIES else (FEW_SUMMARIES, count // FEW_SUMMARIES)
    of_step = chunk if length == 1 else partial(_merged_chunks, chunk, count=length)
    starts = first + length * jnp.arange(steps, dtype=first.dtype)
    return merge_all(lax.map(of_step, starts))


def _summary_of_chunk(
    task: SamplingTask,
    key: Array,
    index: Array,
    num_valid: Array,
    *,
    sample_range: SampleRange,
    size: int,
    kept: Kept,
) -> Summary:
    log_w, value, x, log_terms, factors = draw_weighted(task, key, index, size)
    dtype = numerics.float_dtype()
    columns = jnp.concatenate([leaf.astype(dtype).reshape(-1, size) for leaf in jax.tree.leaves(value)])
    mixture = mixture_of(task.source)
    controls = None if task.controls is None else task.controls.columns(x, log_w, log_terms, mixture)
    weighting = task.weighting
    transform = (
        partial(weighting.transform, num_samples=sample_range.num_samples) if weighting.changes_weights else None
    )
    return summarise_block(
        log_w, columns, num_valid, kept, transform=transform, controls=controls, coefficients=task.coefficients,
        factors=factors,
    )  # fmt: skip
