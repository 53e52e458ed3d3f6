"""Estimates inside `jit`, `vmap` and `grad`."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from mcengine.controls.mean_check import wrong_means
from mcengine.engine.pilot import pilot_key, with_coefficients
from mcengine.engine.plan import PlannedRun
from mcengine.execution.in_trace import run_traced
from mcengine.inference.estimate import Estimate
from mcengine.inference.outputs import finish_outputs
from mcengine.numerics.partition import StaticPart, combine, partition
from mcengine.summaries.summary import Summary


def estimate_in_trace(run: PlannedRun, key: Array, closure: bool) -> PyTree:
    """The estimate of a planned run inside the trace of the caller; `closure`: the run closes over traced values."""
    if run.outputs.of_samples:
        (first, *_) = run.outputs.of_samples.values()
        raise ValueError(f"estimate: {type(first).__name__} keeps its samples on the host, outside jit, vmap and grad.")
    if run.num_samples is None:
        raise ValueError("estimate: only a budget of mc.Samples(n) can be kept inside jit, vmap or grad.")
    if closure:
        # A fresh function, so that no cache outlives the trace that the closure belongs to.
        return run.results(jax.jit(lambda k: _results_in_trace(run, k))(key))
    dynamic, static = partition(run)
    return run.results(_traced(dynamic, key, static=static))


@partial(jax.jit, static_argnames=("static",))
def _traced(dynamic: list[Array], key: Array, *, static: StaticPart) -> dict[int, Estimate]:
    # One compilation where `grad` or `vmap` is called outside `jit`, instead of one per operation.
    return _results_in_trace(combine(dynamic, static), key)


def _results_in_trace(run: PlannedRun, key: Array) -> dict[int, Estimate]:
    summary, pilot = summary_in_trace(run, key)
    if pilot is not None:
        # Nothing can be raised here: the value is NaN, and so is its gradient.
        wrong = jnp.any(wrong_means(run.task.controls, pilot, run.outputs.num_outputs))
        m, factor = summary.moments, jnp.where(wrong, jnp.nan, 1.0)
        summary = dataclasses.replace(summary, moments=dataclasses.replace(m, mean=factor * m.mean, m2=factor * m.m2))
    return finish_outputs(summary, run.outputs)


def summary_in_trace(run: PlannedRun, key: Array) -> tuple[Summary, Summary | None]:
    """The summary of a run, and that of its pilot (or None)."""
    task, pilot = run.task, None
    if run.pilot is not None:
        pilot = run_traced(run.pilot.task, pilot_key(key), run.pilot.num_samples, run.pilot.plan)
        # Found once, then fixed: a gradient does not run through the regression.
        found = jax.lax.stop_gradient(with_coefficients(task, pilot, run.outputs.num_outputs).coefficients)
        task = dataclasses.replace(task, coefficients=found)
    return run_traced(task, key, run.num_samples or 0, run.plan), pilot
