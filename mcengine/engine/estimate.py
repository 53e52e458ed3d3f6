"""`estimate`: the one front door from (problem, proposal, points, weighting, budget) to an `Estimate`."""

import time
from typing import Any, no_type_check

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from mcengine.controls.mean_check import check_means
from mcengine.engine.budgets import Budget, Seconds, Tolerance
from mcengine.engine.in_trace import estimate_in_trace
from mcengine.engine.plan import PlannedRun, pilot_key, prepare, with_coefficients
from mcengine.engine.tail_risk import estimate_tail_risk
from mcengine.engine.until_precise import run_until_precise
from mcengine.engine.validation import check_key, check_support
from mcengine.execution.fixed import run_samples, run_seconds
from mcengine.execution.settings import Execution
from mcengine.inference.estimate import Estimate
from mcengine.inference.outputs import finish_outputs, on_host
from mcengine.numerics.tracing import closes_over_trace, is_traced
from mcengine.points import IID, Points
from mcengine.weights.mis import Heuristic
from mcengine.weights.weighting import Raw, Weighting


@no_type_check  # it checks its arguments in the user's words
def estimate(
    key: ArrayLike,
    problem: Any,
    proposal: Any = None,
    *,
    budget: Budget,
    points: Points = IID(),
    mis: Heuristic | None = None,
    weighting: Weighting = Raw(),
    controls: Any = None,
    functional: Any = None,
    covariance: str | None = "diagonal",
    execution: Execution = Execution(),
) -> Any:
    """Estimate mu = E_p[f] = E_q[w f], w = p / q, with its error bar and a status that says how far to trust it.

    From a script this is a host loop over blocks of samples; block i uses `fold_in(key, i)`, and rows of moments merge
    in float64 in a fixed tree, so the same key gives the same bits however the blocks are grouped. Inside `jit`, `vmap`
    or `grad` the same blocks run in the trace (merged in the kernels' dtype, agreeing to 1e-6); the status is then the
    integer `status_code`. Numbers never recompile; a new function (a fresh lambda) does: see `mcengine.problem`.

    **Gradients.** `jax.grad` of the value needs no option. Without a proposal it is pathwise; with
    `proposal=jax.lax.stop_gradient(target)` it is the score form, right where the target's support does not depend on
    the parameter. A pathwise gradient of a `Probability` raises. In a trace, values below 1e-38 are 0 in float32, with
    a status; the host's are float64.

    **Arguments:**

    - `key`: a key of `jax.random.key`.
    - `problem`: `Expectation`, `Integral` or `Probability`.
    - `proposal` q: a distribution, of mcengine's or of numpyro, distrax, TFP or flowjax. None is plain Monte Carlo.
    - `budget`: `Samples(n)`, `Seconds(s)` or `Tolerance(rtol, atol)` (only the first inside a trace).
    - `points`, `weighting`, `execution`: how samples are laid out, what becomes of weights, how the work is cut up.
    - `mis`: how the components of a mixture proposal share the work, `mis.Balance()` by default.
    - `functional`: `Mean`, `Ratio`, `Histogram(edges)` or `TailRisk(levels)` of f; or a dict or sequence of them, whose
      results come in the same structure, all from the same samples.
    - `covariance` of many outputs: "diagonal", each has its error bar; "full", with `result.covariance`,
      `result.combination(c)` and `result.function_of(g)`; None, error bars from means of about 64 batches, cheaper
      (ESS is then NaN).
    - `controls`: what is known besides, `Controls(function, means)`; their coefficients come from a pilot of its own.

    **Raises:** `ValueError` or `TypeError` for events of different shape, a proposal seen to miss part of the target
    where f is not 0, and bad budgets, in words. Bad luck (heavy tails, no hits) is a status, not an error.
    """
    key = check_key("estimate", key)
    run = prepare(problem, proposal, budget, points, mis, weighting, controls, execution, functional, covariance)
    closure = closes_over_trace(run.task)
    if closure or is_traced((run.task, key)):
        return estimate_in_trace(run, key, closure)
    check_support(run.task.problem, run.task.proposal, run.task.weighting.self_normalised)
    results = {i: estimate_tail_risk(key, problem, risk, run) for i, risk in run.outputs.of_samples.items()}
    if run.outputs.of_columns:
        results |= _estimate_columns(key, run, budget, execution)
    return run.outputs.results(results)


def _estimate_columns(key: Array, run: PlannedRun, budget: Budget, execution: Execution) -> dict[int, Estimate]:
    """The estimate of every functional that columns suffice for, on the host."""
    start, task, outputs = time.perf_counter(), run.task, on_host(run.outputs)
    if run.pilot is not None:
        summary = run_samples(run.pilot.task, pilot_key(key), run.pilot.num_samples, run.pilot.plan, execution)
        check_means(task.controls, summary, outputs.num_outputs)
        task = with_coefficients(task, summary, outputs.num_outputs, np)
    if isinstance(budget, Tolerance):
        summary, outputs = run_until_precise(task, outputs, key, budget, run.plan, execution)
    elif isinstance(budget, Seconds):
        summary = run_seconds(task, key, budget.limit, run.plan, execution)
    else:
        summary = run_samples(task, key, run.num_samples or 0, run.plan, execution)
    return finish_outputs(summary, outputs, np, time.perf_counter() - start)
