"""The pilot of a run with controls: independent samples that find their coefficients."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mcengine import numerics
from mcengine.controls.regression import UNITS_BESIDES, regression_coefficients
from mcengine.distributions import Distribution, event_struct
from mcengine.execution.block_plan import BlockPlan, FloatCounts, block_plan
from mcengine.execution.settings import Execution
from mcengine.execution.task import SamplingTask
from mcengine.numerics.tracing import traced
from mcengine.points import IID, Allocated
from mcengine.summaries.summary import Summary

# The pilot takes an eighth of the budget. This is the budget assumed where it is not a number of samples.
PILOT_WITHOUT_COUNT = 2**17
# Samples for each control that the pilot has at least, where the budget has as many.
SAMPLES_PER_CONTROL = 64


class PilotRun(NamedTuple):
    """The run that finds the coefficients of controls, from samples of its own."""

    task: SamplingTask
    plan: BlockPlan
    num_samples: int


def plan_pilot(
    task: SamplingTask, num_samples: int | None, floats: FloatCounts, execution: Execution, *, source: Distribution
) -> PilotRun:
    """The pilot of a run of `num_samples` samples drawn from `source`."""
    assert task.controls is not None
    with traced("the controls' function"):
        number = task.controls.number(event_struct(source), source)
    count = task.controls.pilot
    if count is None:
        budget = PILOT_WITHOUT_COUNT if num_samples is None else num_samples
        count = max(budget // 8, min(budget, SAMPLES_PER_CONTROL * number))
    # Independent samples whatever the points: a small pilot can estimate their covariances.
    points = task.points if isinstance(task.points, Allocated) else IID()
    least = (number + UNITS_BESIDES) * points.unit_size
    if task.controls.pilot is not None and count < least:
        raise ValueError(
            f"estimate: a pilot of {count} samples is too small for {number} controls: it needs at least {least}, or "
            "the variance of their coefficients is infinite."
        )
    count = max(count - count % points.unit_size, least)
    pilot = dataclasses.replace(task, points=points, covariance="diagonal")
    floats = FloatCounts(floats.sample + number, floats.summary + number * number)
    return PilotRun(pilot, block_plan(count, floats, execution, points.unit_size), count)


def pilot_key(key: Array) -> Array:
    """The pilot's key: that of a block which no run reaches."""
    return jax.random.fold_in(key, 2**32 - 1)


def with_coefficients(task: SamplingTask, pilot: Summary, num_outputs: int) -> SamplingTask:
    """The task with the coefficients of its controls, from the pilot's summary."""
    found = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, numerics.float_dtype()), regression_coefficients(pilot, num_outputs)
    )
    return dataclasses.replace(task, coefficients=found)
