"""A run for `TailRisk`: samples collected, quantiles and shortfalls made of them, and how far to trust these."""

import dataclasses
import time
from typing import Any

import numpy as np
from jaxtyping import Array

from mcengine.engine.plan import PlannedRun
from mcengine.engine.validation import check_support
from mcengine.execution.collect import collect_samples
from mcengine.functionals import TailRisk
from mcengine.functionals.requested import Observed
from mcengine.inference.tail_risk import RiskEstimate, risk_of_arrays
from mcengine.numerics.tracing import is_traced
from mcengine.problems.integral import Lebesgue


def estimate_tail_risk(key: Array, problem: Any, functional: TailRisk, run: PlannedRun) -> RiskEstimate:
    """The `RiskEstimate` of a planned run: of the samples that other functionals of the run see, drawn once more."""
    task = dataclasses.replace(run.task, problem=Observed(problem, (functional,)))
    if run.num_samples is None or run.pilot is not None or task.weighting.changes_weights or is_traced((task, key)):
        raise ValueError(
            "TailRisk: it needs a budget of mc.Samples(n), raw or self-normalised weights and no controls, outside jit."
        )
    check_support(task.problem, task.proposal, task.weighting.self_normalised)
    start = time.perf_counter()
    log_volume = _log_volume(problem)
    log_w, losses = collect_samples(task, key, run.num_samples, run.plan)
    # Of an integral it is the law of f(X) with X uniform on its box.
    log_w = None if log_w is None else log_w - log_volume
    found = risk_of_arrays(log_w, losses, functional.levels, task.weighting, task.points.unit_size)
    return dataclasses.replace(found, seconds=time.perf_counter() - start)


def _log_volume(problem: Any) -> float:
    """log of an integral's volume, by which its weights are those of a probability; 0 of other problems."""
    if not isinstance(problem.target, Lebesgue):
        return 0.0
    sides = np.asarray(problem.target.upper, np.float64) - np.asarray(problem.target.lower, np.float64)
    if not np.all(np.isfinite(sides)):
        raise ValueError(
            "TailRisk: of an Integral it is the law of f(X) with X uniform on the box, which has infinite sides here: "
            "give limits that are finite, or an Expectation."
        )
    return float(np.sum(np.log(sides)))
