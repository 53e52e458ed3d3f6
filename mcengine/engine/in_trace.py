"""Estimates inside `jit`, `vmap` and `grad`."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mcengine.controls.mean_check import wrong_means
from mcengine.engine.plan import PlannedRun, pilot_key, with_coefficients
from mcengine.execution.in_trace import run_traced
from mcengine.inference.estimate import Estimate
from mcengine.inference.outputs import finish_outputs
from mcengine.numerics.partition import StaticPart, combine, partition


def estimate_in_trace(run: PlannedRun, key: Array, closure: bool) -> Any:
    """The estimate of a planned run inside the trace of the caller; `closure`: the run closes over traced values."""
    if run.outputs.of_samples:
        raise ValueError("estimate: TailRisk sorts its samples on the host, outside jit, vmap and grad.")
    if run.num_samples is None:
        raise ValueError("estimate: only a budget of mc.Samples(n) can be kept inside jit, vmap or grad.")
    if closure:
        # A fresh function, so that no cache outlives the trace that the closure belongs to.
        return run.outputs.results(jax.jit(lambda k: _results_in_trace(run, k))(key))
    dynamic, static = partition(run)
    return run.outputs.results(_traced(dynamic, key, static=static))


@partial(jax.jit, static_argnames=("static",))
def _traced(dynamic, key, *, static: StaticPart) -> dict[int, Estimate]:
    # One compilation where `grad` or `vmap` is called outside `jit`, instead of one per operation.
    return _results_in_trace(combine(dynamic, static), key)


def _results_in_trace(run: PlannedRun, key: Array) -> dict[int, Estimate]:
    summary, pilot = summary_in_trace(run, key)
    if pilot is not None:
        # Nothing can be raised here: the value is NaN, and so is its gradient.
        wrong = jnp.any(wrong_means(run.task.controls, pilot, run.outputs.num_outputs, jnp))
        m, factor = summary.moments, jnp.where(wrong, jnp.nan, 1.0)
        summary = dataclasses.replace(summary, moments=dataclasses.replace(m, mean=factor * m.mean, m2=factor * m.m2))
    return finish_outputs(summary, run.outputs, jnp)


def summary_in_trace(run: PlannedRun, key: Array) -> tuple[Any, Any]:
    """The row of a run, and that of its pilot (or None)."""
    task, summary = run.task, None
    if run.pilot is not None:
        summary = run_traced(run.pilot.task, pilot_key(key), run.pilot.num_samples, run.pilot.plan)
        # Found once, then fixed: a gradient does not run through the regression.
        found = jax.lax.stop_gradient(with_coefficients(task, summary, run.outputs.num_outputs, jnp).coefficients)
        task = dataclasses.replace(task, coefficients=found)
    return run_traced(task, key, run.num_samples or 0, run.plan), summary
