"""A run for `TailRisk`: samples collected, quantiles and shortfalls made of them, and how far to trust these."""

import dataclasses
import time
from typing import Any

import numpy as np
from jaxtyping import Array

from mcengine.caching import is_traced
from mcengine.checks import check_support
from mcengine.diagnostics import MIN_UNITS, Status
from mcengine.execution.collecting import collect_samples
from mcengine.from_arrays import estimate_from
from mcengine.functionals import RiskEstimate, TailRisk, tail_risk
from mcengine.parts import Observed
from mcengine.planning import Run
from mcengine.problem import Lebesgue


def estimate_tail_risk(key: Array, problem: Any, functional: TailRisk, run: Run) -> RiskEstimate:
    """The `RiskEstimate` of a planned run: of the samples that other functionals of the run see, drawn once more."""
    work = dataclasses.replace(run.work, problem=Observed(problem, (functional,)))
    if run.num_samples is None or run.pilot is not None or work.weighting.changes_weights or is_traced((work, key)):
        raise ValueError(
            "TailRisk: it needs a budget of mc.Samples(n), raw or self-normalised weights and no controls, outside jit."
        )
    check_support(work.problem, work.proposal, work.weighting.self_normalised)
    start = time.perf_counter()
    log_volume = _log_volume(problem)
    log_w, losses = collect_samples(work, key, run.num_samples, run.plan)
    # Of an integral it is the law of f(X) with X uniform on its box.
    log_w = None if log_w is None else log_w - log_volume
    usable = np.isfinite(losses) if log_w is None else np.isfinite(losses) & ~np.isnan(log_w) & (log_w < np.inf)
    if not usable.all():  # left out, and said so by the status
        log_w = np.where(usable, 0.0 if log_w is None else log_w, -np.inf)
        losses = np.where(usable, losses, np.min(losses[usable], initial=0.0))
    unit_size = work.points.unit_size
    values, errors, ordered, exceedance = tail_risk(
        log_w, losses, functional.levels, unit_size, work.weighting.self_normalised
    )
    found = np.isfinite(values["quantile"])
    v = np.where(found, values["quantile"], np.inf)
    excess = np.where(found, np.maximum(losses[:, None] - np.where(found, v, 0.0), 0.0), 0.0)
    tail = estimate_from(log_w, (losses[:, None] >= v) * 1.0, weighting=work.weighting)
    beyond = estimate_from(log_w, excess, weighting=work.weighting)
    # An atom at the quantile may leave nothing beyond it.
    both = np.asarray(beyond.num_hits) > 0
    # Of an indicator that is 1 throughout, as below an atom, nothing is lost by rounding.
    codes = np.where(tail.status_codes == Status.ROUNDING, Status.OK, tail.status_codes)
    codes = np.where(both, np.maximum(codes, beyond.status_codes), codes)
    num_units = len(losses) // unit_size
    unknown = num_units < MIN_UNITS or np.isnan(errors["exceedance"])
    codes = np.where(unknown, np.maximum(codes, Status.FEW_UNITS), codes)
    return RiskEstimate(
        levels=functional.levels,
        value=values,
        std_error=errors,
        ess=np.where(both, np.minimum(tail.ess, beyond.ess), tail.ess),
        pareto_k=np.fmax(tail.pareto_k, beyond.pareto_k),
        max_weight_share=np.maximum(tail.max_weight_share, beyond.max_weight_share),
        num_hits=np.asarray(tail.num_hits),
        num_samples=len(losses),
        num_units=num_units,
        num_nonfinite=int(np.sum(~usable)),
        status_codes=codes if usable.all() else np.full(len(codes), Status.NON_FINITE),
        seconds=time.perf_counter() - start,
        losses=ordered,
        exceedance=exceedance,
    )


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
