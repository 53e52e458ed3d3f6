"""`estimate`: from (problem, proposal, points, weighting, budget) to an `Estimate`."""

import time
from typing import overload

from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from mcengine.controls import ControlVariates
from mcengine.controls.mean_check import check_means
from mcengine.distributions import Distribution
from mcengine.engine.budgets import Budget, Seconds, Tolerance
from mcengine.engine.in_trace import estimate_in_trace
from mcengine.engine.kept_samples import estimate_from_kept_samples
from mcengine.engine.options import CovarianceMode, Options
from mcengine.engine.pilot import pilot_key, with_coefficients
from mcengine.engine.plan import PlannedRun, plan_run
from mcengine.engine.until_precise import run_until_precise
from mcengine.engine.validation import check_key, check_support
from mcengine.execution.fixed import run_samples, run_seconds
from mcengine.execution.settings import Execution
from mcengine.functionals import (
    Covariance,
    Functional,
    Histogram,
    Mean,
    ProbabilityOfExceeding,
    Ratio,
    TailRisk,
    Variance,
)
from mcengine.functionals.protocol import Functionals
from mcengine.inference.estimate import Estimate
from mcengine.inference.outputs import finish_outputs, on_host
from mcengine.inference.tail_risk import RiskEstimate
from mcengine.numerics.tracing import closes_over_trace, is_traced
from mcengine.points import IID, Points
from mcengine.problems.protocol import Problem
from mcengine.weights.mis import Heuristic
from mcengine.weights.weighting import Raw, Weighting


@overload
def estimate(
    key: ArrayLike,
    problem: Problem,
    proposal: Distribution | None = None,
    *,
    budget: Budget,
    points: Points = ...,
    mis: Heuristic | None = ...,
    weighting: Weighting = ...,
    controls: ControlVariates | None = ...,
    functional: Mean | Ratio | Histogram | Variance | Covariance | ProbabilityOfExceeding | None = ...,
    covariance: CovarianceMode = ...,
    execution: Execution = ...,
) -> Estimate: ...


@overload
def estimate(
    key: ArrayLike,
    problem: Problem,
    proposal: Distribution | None = None,
    *,
    budget: Budget,
    points: Points = ...,
    mis: Heuristic | None = ...,
    weighting: Weighting = ...,
    controls: ControlVariates | None = ...,
    functional: TailRisk,
    covariance: CovarianceMode = ...,
    execution: Execution = ...,
) -> RiskEstimate: ...


@overload
def estimate(
    key: ArrayLike,
    problem: Problem,
    proposal: Distribution | None = None,
    *,
    budget: Budget,
    points: Points = ...,
    mis: Heuristic | None = ...,
    weighting: Weighting = ...,
    controls: ControlVariates | None = ...,
    functional: dict[str, Functional],
    covariance: CovarianceMode = ...,
    execution: Execution = ...,
) -> dict[str, Estimate | RiskEstimate]: ...


@overload
def estimate(
    key: ArrayLike,
    problem: Problem,
    proposal: Distribution | None = None,
    *,
    budget: Budget,
    points: Points = ...,
    mis: Heuristic | None = ...,
    weighting: Weighting = ...,
    controls: ControlVariates | None = ...,
    functional: Functionals = ...,
    covariance: CovarianceMode = ...,
    execution: Execution = ...,
) -> PyTree: ...


def estimate(
    key: ArrayLike,
    problem: Problem,
    proposal: Distribution | None = None,
    *,
    budget: Budget,
    points: Points = IID(),
    mis: Heuristic | None = None,
    weighting: Weighting = Raw(),
    controls: ControlVariates | None = None,
    functional: Functionals = None,
    covariance: CovarianceMode = "diagonal",
    execution: Execution = Execution(),
) -> PyTree:
    """Estimate mu = E_p[f] = E_q[w f], w = p / q, with its error bar and a status that says how far to trust it.

    In a script this is a loop on the host over blocks of samples. Block i uses `fold_in(key, i)`, and summaries merge
    in float64 in a fixed tree, so the same key gives the same bits for any grouping of the blocks. Inside `jit`, `vmap`
    or `grad` the same blocks run in the trace. They merge in the dtype of the kernels and agree to 1e-6; the status is
    then the integer `status_code`. Numbers never recompile; a new function (a fresh lambda) does: see
    `mcengine.problems.expectation`.

    **Gradients.** `jax.grad` of the value needs no option. Without a proposal it is pathwise; with
    `proposal=jax.lax.stop_gradient(target)` it is the score form, which is right where the target's support does not
    depend on the parameter. A pathwise gradient of a `Probability` raises. In a trace, values below 1e-38 are 0 in
    float32, with a status; on the host they are float64.

    **Arguments:**

    - `key`: a key of `jax.random.key`.
    - `problem`: `Expectation`, `Integral`, `Probability`, or another `mc.Problem`.
    - `proposal` q: a distribution, of mcengine's or of numpyro, distrax, TFP or flowjax. None is plain Monte Carlo.
    - `budget`: `Samples(n)`, `Seconds(s)` or `Tolerance(rtol, atol)` (only the first inside a trace).
    - `points`: how the uniforms are laid out.
    - `mis`: how the components of a mixture proposal are combined, `mis.Balance()` by default.
    - `weighting`: how raw weights are changed.
    - `controls`: quantities with known means, `Controls(function, means)`; a pilot of its own finds their coefficients.
    - `functional`: what is computed of f: `Mean`, `Ratio`, `Variance`, `Covariance`, `ProbabilityOfExceeding(levels)`,
      `Histogram(edges)` or `TailRisk(levels)`; or a dict or sequence of them, whose results have the same structure and
      come from the same samples.
    - `covariance` of many outputs: "diagonal", each has its error bar; "full", with `result.covariance`,
      `result.combination(c)` and `result.function_of(g)`; None, error bars from the means of about 64 batches, which is
      cheaper (ESS is then NaN).
    - `execution`: block size, devices, threads, progress.

    **Returns:** an `Estimate`, or a `RiskEstimate` for `TailRisk`; for several functionals a dict or sequence of them.

    **Raises:** `ValueError` or `TypeError`, in words, for events of different shape, a proposal that is seen to miss
    part of the target where f is not 0, and bad budgets. Heavy tails and missing hits are a status, not an error.
    """
    key = check_key("estimate", key)
    run = plan_run(
        problem,
        proposal,
        Options(budget, points, mis, weighting, controls, functional, covariance, execution),
    )
    closure = closes_over_trace(run.task)
    if closure or is_traced((run.task, key)):
        return estimate_in_trace(run, key, closure)
    check_support(run.task.problem, run.task.proposal, weighting.self_normalised)
    results = {i: estimate_from_kept_samples(key, run, i) for i in run.outputs.of_samples}
    if run.outputs.of_columns:
        results |= _estimate_columns(key, run, budget, execution)
    return run.results(results)


def _estimate_columns(key: Array, run: PlannedRun, budget: Budget, execution: Execution) -> dict[int, Estimate]:
    """The estimate of the columns of every functional that needs no samples, on the host."""
    start, task, outputs = time.perf_counter(), run.task, on_host(run.outputs)
    if run.pilot is not None:
        summary = run_samples(
            run.pilot.task, pilot_key(key), run.pilot.num_samples, run.pilot.plan, execution=execution
        )
        check_means(task.controls, summary, outputs.num_outputs)
        task = with_coefficients(task, summary, outputs.num_outputs)
    if isinstance(budget, Tolerance):
        run = run._replace(task=task, outputs=outputs)
        summary, outputs = run_until_precise(key, run, budget, execution)
    elif isinstance(budget, Seconds):
        summary = run_seconds(task, key, budget.limit, run.plan, execution=execution)
    else:
        summary = run_samples(task, key, run.num_samples or 0, run.plan, execution=execution)
    return finish_outputs(summary, outputs, time.perf_counter() - start)
