"""`estimate`: the one front door from (problem, proposal, points, weighting, budget) to an `Estimate`."""

import dataclasses
import time
from functools import partial
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from mcengine.betting import Betting
from mcengine.budgets import Budget, Samples, Seconds, Tolerance
from mcengine.caching import Static, closes_over_trace, is_traced, join, split
from mcengine.checks import check_key, check_support
from mcengine.controls import check_means, wrong_means
from mcengine.execution.betting_stream import BatchMeans
from mcengine.execution.blocks import (
    MAX_BLOCK,
    Plan,
    Work,
    run_traced,
)
from mcengine.execution.looks import blocks_within, run_looks, run_prefixes
from mcengine.execution.replicates import replicates_plan, run_replicates
from mcengine.execution.runs import run_samples, run_seconds
from mcengine.execution.settings import Execution
from mcengine.functionals.tail_risk import stack
from mcengine.merging import merge_all
from mcengine.mis import Heuristic
from mcengine.parts import Part, Parts, select
from mcengine.planning import Run, pilot_key, prepare, with_coefficients
from mcengine.points import IID, Points
from mcengine.points.units import Prefixes
from mcengine.result import Estimate, finish
from mcengine.risk import estimate_tail_risk
from mcengine.sequences import Asymptotic, FewUnits, FiniteSample, mixture_variance
from mcengine.weighting import Raw, Weighting


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
    closure = closes_over_trace(run.work)
    if closure or is_traced((run.work, key)):
        return _estimate_in_trace(run, key, closure)
    check_support(run.work.problem, run.work.proposal, run.work.weighting.self_normalised)
    results = {i: estimate_tail_risk(key, problem, risk, run) for i, risk in run.parts.of_samples.items()}
    if run.parts.of_columns:
        results |= _estimate_columns(key, run, budget, execution)
    return run.parts.results(results)


def _estimate_columns(key: Array, run: Run, budget: Budget, execution: Execution) -> dict[int, Estimate]:
    """The estimate of every functional that columns suffice for, on the host."""
    start, work, parts = time.perf_counter(), run.work, _on_host(run.parts)
    if run.pilot is not None:
        row = run_samples(run.pilot.work, pilot_key(key), run.pilot.num_samples, run.pilot.plan, execution)
        check_means(work.controls, row, parts.num_outputs)
        work = with_coefficients(work, row, parts.num_outputs, np)
    if isinstance(budget, Tolerance):
        row, parts = _until_precise(work, parts, key, budget, run.plan, execution)
    elif isinstance(budget, Seconds):
        row = run_seconds(work, key, budget.limit, run.plan, execution)
    else:
        row = run_samples(work, key, run.num_samples or 0, run.plan, execution)
    return _finish(row, parts, np, time.perf_counter() - start)


def _on_host(parts: Parts) -> Parts:
    return parts._replace(of_columns=jax.tree.map(np.asarray, parts.of_columns))


def _finish(row: Any, parts: Parts, xp: Any, seconds: float | None = None) -> dict[int, Estimate]:
    return {i: finish(select(row, part), part.recipe, xp, seconds) for i, part in parts.of_columns.items()}


def _until_precise(
    work: Work, parts: Parts, key: Array, budget: Tolerance, plan: Plan, execution: Execution
) -> tuple[Any, Parts]:
    """The row of a run that stopped when every output was precise enough, and its parts with their interval."""
    grows = isinstance(work.points, Prefixes)
    a_round = plan.block_size * (work.points.num_units if grows else 1)
    first_look = plan.block_size // work.points.unit_size
    batches = _batch_means(work, parts, key, plan) if budget.finite_sample == "betting" else None
    settled = parts

    def enough(row: Any, look: int) -> bool:
        nonlocal settled
        if budget.finite_sample:
            sequence: Any = FiniteSample(look)
        else:
            sequence = FewUnits() if grows else Asymptotic(mixture_variance(first_look, budget.level))
        settled = _settled(parts, sequence=sequence)
        if batches is not None:
            settled = _with_bets(parts, *batches.until(int(row.stats.num_samples)), look)
        reached = all(_is_precise(result, budget) for result in _finish(row, settled, np).values())
        settled = _settled(settled, missed=not reached)
        return reached

    run = run_prefixes if grows else run_looks
    row = run(work, key, blocks_within(budget, a_round), plan, execution, enough)
    return row, settled


def _batch_means(work: Work, parts: Parts, key: Array, plan: Plan) -> BatchMeans:
    largest = [np.full(part.stop - part.start, part.recipe.largest) for part in parts.of_columns.values()]
    return BatchMeans(work, key, plan, np.concatenate(largest))


def _with_bets(parts: Parts, means: np.ndarray, sizes: np.ndarray, look: int) -> Parts:
    return parts._replace(
        of_columns={
            i: _settled_part(
                part, sequence=Betting(means[:, part.start : part.stop], sizes, np.asarray(part.recipe.largest), look)
            )
            for i, part in parts.of_columns.items()
        }
    )


def _settled(parts: Parts, **changes: Any) -> Parts:
    return parts._replace(of_columns={i: _settled_part(part, **changes) for i, part in parts.of_columns.items()})


def _settled_part(part: Part, **changes: Any) -> Part:
    return dataclasses.replace(part, recipe=dataclasses.replace(part.recipe, **changes))


def _is_precise(result: Estimate, budget: Tolerance) -> bool:
    sides = map(jax.tree.leaves, (result.value, *result.interval(budget.level)))
    return all(
        np.all(high - low <= 2.0 * np.maximum(budget.atol or 0.0, budget.rtol * np.abs(value)))
        for value, low, high in zip(*sides, strict=True)
    )


@no_type_check  # it checks its arguments in the user's words
def replicate(
    keys: ArrayLike,
    problem: Any,
    proposal: Any = None,
    *,
    budget: Samples,
    points: Points = IID(),
    mis: Heuristic | None = None,
    weighting: Weighting = Raw(),
    controls: Any = None,
    functional: Any = None,
    covariance: str | None = "diagonal",
    execution: Execution = Execution(),
) -> Any:
    """Independent estimates of one problem, one per key, vmapped: for measuring an estimator.

    Like `vmap(estimate)` over the keys, finished in float64, and compiled once for all sample counts up to 2^22 (blocks
    are smaller, so the samples are not those of `estimate` unless `execution` names the block size of both).

    **Arguments:** `keys`, an array of keys, shape [R]; the rest as in `estimate`.

    **Returns:** an `Estimate` whose fields have a leading axis [keys]; `seconds` is that of all of them, compilation
    included.
    """
    if not isinstance(budget, Samples):
        raise TypeError(f"replicate: budget must be mc.Samples(n), got {budget!r}.")
    if not (isinstance(keys, jax.Array) and keys.ndim == 1 and jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)):
        raise TypeError(f"replicate: keys must be an array of keys such as jax.random.split(key, 400), got {keys!r}.")
    if not len(keys):
        raise ValueError("replicate: there are no keys.")
    run = prepare(problem, proposal, budget, points, mis, weighting, controls, execution, functional, covariance)
    check_support(run.work.problem, run.work.proposal, run.work.weighting.self_normalised)
    results = {}
    for i, risk in run.parts.of_samples.items():
        results[i] = stack([estimate_tail_risk(key, problem, risk, run) for key in keys])
    if run.parts.of_columns:
        results |= _replicate_columns(keys, run, execution)
    return run.parts.results(results)


def _replicate_columns(keys: Array, run: Run, execution: Execution) -> dict[int, Estimate]:
    start = time.perf_counter()
    num_samples = run.num_samples or 0  # a budget of samples is all that `replicate` takes
    if run.pilot is not None:  # every replicate has a pilot of its own
        rows, pilots = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), _rows_with_pilots(run, keys))
        check_means(run.work.controls, merge_all(pilots), run.parts.num_outputs)
    else:
        plan = replicates_plan(run.work, num_samples, run.floats, execution)
        rows = run_replicates(run.work, keys, num_samples, run.floats, plan, execution)
    return _finish(rows, _on_host(run.parts), np, time.perf_counter() - start)


def _estimate_in_trace(run: Run, key: Array, closure: bool) -> Any:
    if run.parts.of_samples:
        raise ValueError("estimate: TailRisk sorts its samples on the host, outside jit, vmap and grad.")
    if run.num_samples is None:
        raise ValueError("estimate: only a budget of mc.Samples(n) can be kept inside jit, vmap or grad.")
    if closure:
        # A fresh function, so that no cache outlives the trace that the closure belongs to.
        return run.parts.results(jax.jit(lambda k: _results_in_trace(run, k))(key))
    dynamic, static = split(run)
    return run.parts.results(_traced(dynamic, key, static=static))


@partial(jax.jit, static_argnames=("static",))
def _traced(dynamic, key, *, static: Static) -> dict[int, Estimate]:
    # One compilation where `grad` or `vmap` is called outside `jit`, instead of one per operation.
    return _results_in_trace(join(dynamic, static), key)


def _results_in_trace(run: Run, key: Array) -> dict[int, Estimate]:
    row, pilot = _row_in_trace(run, key)
    if pilot is not None:
        # Nothing can be raised here: the value is NaN, and so is its gradient.
        wrong = jnp.any(wrong_means(run.work.controls, pilot, run.parts.num_outputs, jnp))
        m, factor = row.moments, jnp.where(wrong, jnp.nan, 1.0)
        row = dataclasses.replace(row, moments=dataclasses.replace(m, mean=factor * m.mean, m2=factor * m.m2))
    return _finish(row, run.parts, jnp)


def _rows_with_pilots(run: Run, keys: Array) -> Any:
    dynamic, static = split(run)
    lanes = max(1, min(len(keys), MAX_BLOCK // run.plan.block_size))
    batches = [_traced_rows(dynamic, keys[i : i + lanes], static=static) for i in range(0, len(keys), lanes)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *jax.device_get(batches))


@partial(jax.jit, static_argnames=("static",))
def _traced_rows(dynamic, keys, *, static: Static) -> Any:
    return jax.vmap(partial(_row_in_trace, join(dynamic, static)))(keys)


def _row_in_trace(run: Run, key: Array) -> tuple[Any, Any]:
    """The row of a run, and that of its pilot (or None)."""
    work, row = run.work, None
    if run.pilot is not None:
        row = run_traced(run.pilot.work, pilot_key(key), run.pilot.num_samples, run.pilot.plan)
        # Found once, then fixed: a gradient does not run through the regression.
        found = jax.lax.stop_gradient(with_coefficients(work, row, run.parts.num_outputs, jnp).coefficients)
        work = dataclasses.replace(work, coefficients=found)
    return run_traced(work, key, run.num_samples or 0, run.plan), row
