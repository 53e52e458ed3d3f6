"""Runs for functionals that keep every sample, such as `TailRisk`."""

import dataclasses
import time

from jaxtyping import Array

from mcengine.engine.plan import PlannedRun
from mcengine.engine.validation import check_support
from mcengine.execution.collect import collect_losses
from mcengine.functionals.protocol import Functional, Result, WeightedSamples
from mcengine.functionals.requested import Observed
from mcengine.numerics.tracing import is_traced
from mcengine.problems.integral import log_volume_of
from mcengine.problems.protocol import Problem


def estimate_from_kept_samples(key: Array, run: PlannedRun, position: int) -> Result:
    """The result of one functional of a planned run, from the samples that its other functionals see, drawn again."""
    functional = run.functionals[position]
    owner = type(functional).__name__
    task = dataclasses.replace(run.task, problem=Observed(run.problem, (functional,)))
    if run.num_samples is None or run.pilot is not None or task.weighting.changes_weights or is_traced((task, key)):
        raise ValueError(
            f"{owner}: it needs a budget of mc.Samples(n), raw or self-normalised weights and no controls, outside jit."
        )
    check_support(task.problem, task.proposal, task.weighting.self_normalised)
    start = time.perf_counter()
    log_volume = _log_volume(run.problem, functional)
    log_w, values = collect_losses(task, key, run.num_samples, run.plan)
    # The distribution of an integral's f(X) is that under X uniform on its box.
    log_w = None if log_w is None else log_w - log_volume
    found = functional.finish_samples(WeightedSamples(log_w, values, task.points.unit_size, task.weighting))
    return dataclasses.replace(found, seconds=time.perf_counter() - start)


def _log_volume(problem: Problem, functional: Functional) -> float:
    """log of an integral's volume, by which its weights become those of a probability; 0 for other problems."""
    log_volume = log_volume_of(problem.target)
    if log_volume == float("inf"):
        raise ValueError(
            f"{type(functional).__name__}: of an Integral it is that of f(X) with X uniform on the box, which has "
            "infinite sides here: give limits that are finite, or an Expectation."
        )
    return log_volume
