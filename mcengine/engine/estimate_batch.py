"""`estimate_batch`: one estimate for each of many problems of one structure whose numbers differ."""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Generic

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Int, PyTree

from mcengine.controls import ControlVariates
from mcengine.controls.mean_check import check_means
from mcengine.controls.regression import regression_coefficients
from mcengine.distributions import Distribution, as_distribution
from mcengine.engine.batch import Batch, Made
from mcengine.engine.budgets import Budget, Samples, Tolerance
from mcengine.engine.kept_samples import estimate_from_kept_samples
from mcengine.engine.options import CovarianceMode, Options
from mcengine.engine.pilot import pilot_key
from mcengine.engine.plan import PlannedRun, plan_run
from mcengine.engine.stopping_rules import rule_of
from mcengine.engine.until_precise import is_precise
from mcengine.engine.validation import check_key, check_support, covers_whatever_the_numbers
from mcengine.execution.block_plan import BlockPlan
from mcengine.execution.problem_batch import ProblemBatch, Rows, run_samples_of_all, run_until_enough
from mcengine.execution.sequential import blocks_within
from mcengine.execution.settings import Execution
from mcengine.execution.task import SamplingTask
from mcengine.functionals.protocol import Functional, Functionals
from mcengine.functionals.requested import observed
from mcengine.inference.batch import as_batch, judged_by_skewness, where_reached, with_tails
from mcengine.inference.estimate import Estimate
from mcengine.inference.outputs import OutputLayout, finish_outputs, on_host
from mcengine.inference.tail_risk import RiskEstimate, stack_results
from mcengine.numerics import float_dtype
from mcengine.numerics.partition import partition
from mcengine.numerics.tracing import closes_over_trace, is_traced
from mcengine.points import IID, Points
from mcengine.points.growing import GrowingUnits
from mcengine.problems.protocol import Problem
from mcengine.summaries.columns import Coefficients
from mcengine.summaries.merge import merge_all
from mcengine.summaries.summary import Summary
from mcengine.weights.mis import Heuristic
from mcengine.weights.weighting import Raw, Weighting

# Problems, spread over the batch, whose proposal is looked at for missing parts of the target.
ROWS_CHECKED = 33


def estimate_batch(
    key: ArrayLike,
    problems: Batch[Problem],
    proposals: Batch[Distribution] | Distribution | None = None,
    *,
    budget: Budget,
    points: Points = IID(),
    mis: Heuristic | None = None,
    weighting: Weighting = Raw(),
    controls: ControlVariates | None = None,
    functional: Functionals = None,
    covariance: CovarianceMode = "diagonal",
    execution: Execution = Execution(),
    check_tails: int = 8,
) -> PyTree:
    """One estimate for each of many problems of one structure: pixels, parameter sets, desks.

    Problem i draws the samples of `estimate(jax.random.fold_in(key, i), problems[i], ...)` and agrees with it to 1e-6.
    One kernel is compiled for all of them, whatever their numbers; summaries merge in float64 on the host, and the bits
    do not depend on how problems are grouped or on the devices.

    Samples are not kept for k-hat. Each status comes from hits, ESS, the largest share, the third moment and units; a
    second pass then looks at the tails of the `check_tails` problems with the largest share of one sample, which
    `result.tails_checked` lists.

    **Arguments:**

    - `key`: a key of `jax.random.key`.
    - `problems`: `mc.batch(make, parameters)`.
    - `proposals`: a batch of the same size, one distribution for all problems, or None for plain Monte Carlo.
    - `budget`: `Samples(n)` of each problem; or `Tolerance`, reached by each problem by itself. Problems that are done
      stop drawing.
    - `check_tails`: how many problems have their tails inspected; 0 for none, `len(problems)` for all. Not under a
      `Tolerance`.
    - the others as in `estimate`.

    **Returns:** a `BatchEstimate`: an `Estimate` whose fields have a leading axis [P]; `result[i]` is one problem's.

    **Raises:** as `estimate`; `TypeError` for a single problem, a `Seconds` budget, and inside `jit`, `vmap` or `grad`;
    `ValueError` for proposals of another size, and for intervals without asymptotics (`finite_sample`).
    """
    key = check_key("estimate_batch", key)
    first = _checked_first(problems, proposals, budget, execution)
    options = Options(budget, points, mis, weighting, controls, functional, covariance, execution)
    run = plan_run(*first, options)
    if is_traced((run.task, key, problems.parameters)) or closes_over_trace(run.task):
        raise TypeError("estimate_batch: it runs on the host and cannot be called inside jit, vmap or grad.")
    check_support(run.task.problem, run.task.proposal, weighting.self_normalised)
    if run.task.proposal is not None and not covers_whatever_the_numbers(run.task.proposal):
        for p in np.unique(np.linspace(0, problems.size - 1, ROWS_CHECKED).astype(int)[1:]):
            one = _run_of(run, problems, proposals, int(p))
            check_support(one.task.problem, one.task.proposal, weighting.self_normalised)
    if isinstance(proposals, Batch):
        # A bound on w f that holds for the first problem may not hold for the others.
        run = run._replace(outputs=run.outputs.with_specs(largest=jnp.full((), jnp.nan, float_dtype())))
    start = time.perf_counter()
    keys = _folded(key, jnp.arange(problems.size))
    results = {}
    for i in run.outputs.of_samples:
        each = [_run_of(run, problems, proposals, p) for p in range(problems.size)]
        results[i] = stack_results([estimate_from_kept_samples(keys[p], one, i) for p, one in enumerate(each)])
    checked = np.zeros(0, int)
    if run.outputs.of_columns:
        found, checked = _estimate_columns(keys, run, problems, proposals, options=options, check_tails=check_tails)
        results |= found
    seconds = time.perf_counter() - start
    return jax.tree.map(
        lambda result: as_batch(result, checked, seconds) if isinstance(result, Estimate) else result,
        run.results(results),
        is_leaf=lambda node: isinstance(node, Estimate | RiskEstimate),
    )


@jax.jit
def _folded(key: Array, index: Int[Array, " P"]) -> Array:
    """The keys of all problems."""
    return jax.vmap(partial(jax.random.fold_in, key))(index)


def _checked_first(
    problems: Batch[Problem], proposals: Batch[Distribution] | Distribution | None, budget: Budget, execution: Execution
) -> tuple[Problem, Distribution | None]:
    """The first problem and its proposal; raises for arguments of another kind."""
    if not isinstance(problems, Batch):
        raise TypeError(
            "estimate_batch: problems must be mc.batch(make, parameters), got "
            f"{problems!r}. One problem is estimated by mc.estimate."
        )
    problem = problems[0]
    if not isinstance(problem, Problem):
        raise TypeError(f"estimate_batch: make of the problems must return a problem, got {problem!r}.")
    if isinstance(proposals, Batch) and proposals.size != problems.size:
        raise ValueError(
            f"estimate_batch: there are {problems.size} problems and {proposals.size} proposals; give as many, or one "
            "distribution for all."
        )
    if not isinstance(budget, Samples | Tolerance):
        raise TypeError(f"estimate_batch: budget must be mc.Samples(n) or mc.Tolerance(rtol), got {budget!r}.")
    if isinstance(budget, Tolerance) and budget.finite_sample:
        raise ValueError("estimate_batch: finite_sample intervals are for one problem; leave finite_sample out.")
    if isinstance(execution, Execution) and execution.mesh is not None:
        raise TypeError("estimate_batch: give execution devices, as in mc.Execution(devices=mesh.devices.flat).")
    return problem, proposals[0] if isinstance(proposals, Batch) else proposals


# Fields of a task that all problems share.
SHARED = ("points", "weighting", "mis", "controls", "covariance", "layout")


class _MadeInKernel(eqx.Module, Generic[Made]):
    """What `make` gives for a row, made inside the kernel: its functions close over numbers of the row."""

    make: Callable[[PyTree], Made]
    row: PyTree

    def build(self) -> Made:
        """The problem or proposal."""
        return self.make(self.row)


class _ProblemRow(eqx.Module):
    """What the task of one problem is made of; `shared` holds the other fields of a task, the same for all problems."""

    problem: Problem | _MadeInKernel[Problem]
    proposal: Distribution | _MadeInKernel[Distribution] | None
    coefficients: Coefficients | None
    shared: dict[str, PyTree]
    functionals: tuple[Functional, ...]


def _task_of(row: _ProblemRow) -> SamplingTask:
    problem = row.problem.build() if isinstance(row.problem, _MadeInKernel) else row.problem
    proposal = as_distribution(row.proposal.build()) if isinstance(row.proposal, _MadeInKernel) else row.proposal
    problem = observed(problem.without_answers(), list(row.functionals))
    return SamplingTask(problem, proposal, **row.shared, coefficients=row.coefficients, one_of_many=True)


def _rows(
    task: SamplingTask,
    functionals: tuple[Functional, ...],
    problems: Batch[Problem],
    proposals: Batch[Distribution] | Distribution | None,
    coefficients: Coefficients | None = None,
) -> Rows:
    """The rows of all problems: the leaves that vary from row to row have a last axis [P]."""
    shared = {name: getattr(task, name) for name in SHARED}
    found: dict[str, PyTree] = {}

    def leaves_of_row(of_problem: PyTree, of_proposal: PyTree, coefficients: Coefficients | None) -> list[Array]:
        problem = _made(problems.make, of_problem)
        proposal = _made(proposals.make, of_proposal) if isinstance(proposals, Batch) else task.proposal
        if isinstance(proposals, Batch) and not isinstance(proposal, _MadeInKernel):
            proposal = as_distribution(proposal)
        dynamic, static = partition(_ProblemRow(problem, proposal, coefficients, shared, functionals))
        found.update(static=static, leaves=dynamic, varies=tuple(isinstance(leaf, Tracer) for leaf in dynamic))
        return [leaf for leaf in dynamic if isinstance(leaf, Tracer)]

    of_proposals = proposals.parameters if isinstance(proposals, Batch) else None
    varying = iter(jax.vmap(leaves_of_row, out_axes=-1)(problems.parameters, of_proposals, coefficients))
    leaves = [
        np.asarray(next(varying)) if varies else leaf
        for leaf, varies in zip(found["leaves"], found["varies"], strict=True)
    ]
    return Rows(leaves, found["varies"], found["static"])


def _made(make: Callable[[PyTree], Made], row: PyTree) -> Made | _MadeInKernel[Made]:
    made = make(row)
    return _MadeInKernel(make, row) if closes_over_trace(made) else made


def _run_of(
    run: PlannedRun, problems: Batch[Problem], proposals: Batch[Distribution] | Distribution | None, p: int
) -> PlannedRun:
    """The planned run of one problem, for functionals that keep its samples."""
    problem = problems[p].without_answers()
    proposal = as_distribution(proposals[p]) if isinstance(proposals, Batch) else run.task.proposal
    task = dataclasses.replace(run.task, problem=observed(problem, list(run.functionals)), proposal=proposal)
    return run._replace(task=task, problem=problem)


def _estimate_columns(
    keys: Array,
    run: PlannedRun,
    problems: Batch[Problem],
    proposals: Batch[Distribution] | Distribution | None,
    *,
    options: Options,
    check_tails: int,
) -> tuple[dict[int, Estimate], np.ndarray]:
    """(the estimates of the columns of every functional, the problems whose tails were inspected)."""
    task, outputs, execution = run.task, on_host(run.outputs), options.execution
    coefficients = None
    if run.pilot is not None:
        rows = _rows(run.pilot.task, run.functionals, problems, proposals)
        pilot = _batch_of(rows, jax.vmap(pilot_key)(keys), run.pilot.plan)
        summaries = run_samples_of_all(pilot, run.pilot.num_samples, execution=execution)
        check_means(task.controls, merge_all(summaries), outputs.num_outputs)
        found = regression_coefficients(summaries, outputs.num_outputs)
        coefficients = jax.tree.map(lambda leaf: np.asarray(leaf, float_dtype()), found)
    whole = _batch_of(_rows(task, run.functionals, problems, proposals, coefficients), keys, run.plan)
    if isinstance(options.budget, Tolerance):
        return _until_precise(whole, run._replace(outputs=outputs), options.budget, execution), np.zeros(0, int)
    num_samples = run.num_samples or 0
    results = _finished(run_samples_of_all(whole, num_samples, execution=execution), outputs)
    checked = _most_dominated(results, min(check_tails, problems.size))
    if len(checked):
        quiet = dataclasses.replace(execution, progress=None)
        tailed = run_samples_of_all(whole.take(checked), num_samples, execution=quiet, with_tail=True)
        results = with_tails(results, _finished(tailed, outputs), checked)
    return results, checked


def _batch_of(rows: Rows, keys: Array, plan: BlockPlan) -> ProblemBatch:
    return ProblemBatch(rows, np.asarray(jax.random.key_data(keys)), str(jax.random.key_impl(keys)), _task_of, plan)


def _finished(summary: Summary, outputs: OutputLayout) -> dict[int, Estimate]:
    """The estimates, with the status that their third moments ask for."""
    return {i: judged_by_skewness(result) for i, result in finish_outputs(summary, outputs).items()}


def _most_dominated(results: dict[int, Estimate], number: int) -> np.ndarray:
    """The problems in which one sample has the largest share of the total, in the order of the problems."""
    shares = [
        np.nan_to_num(np.asarray(leaf).reshape(len(leaf), -1)).max(axis=1)
        for result in results.values()
        for leaf in jax.tree.leaves(result.max_weight_share)
    ]
    return np.sort(np.argsort(-np.max(shares, axis=0), kind="stable")[:number])


def _until_precise(
    batch: ProblemBatch, run: PlannedRun, budget: Tolerance, execution: Execution
) -> dict[int, Estimate]:
    """The estimates of problems that each stopped when all of its outputs were precise enough."""
    points, plan, look = run.task.points, run.plan, 0
    rule = rule_of(budget, run, jax.random.key(0))  # only betting draws by the key, and it is for one problem

    def precise(summary: Summary, outputs: OutputLayout) -> np.ndarray:
        return np.all([is_precise(result, budget) for result in _finished(summary, outputs).values()], axis=0)

    def is_enough(summary: Summary, active: np.ndarray) -> np.ndarray:
        nonlocal look
        look += 1
        return precise(summary, rule.interval_at(look, summary, run.outputs))

    round_size = plan.block_size * (points.num_units if isinstance(points, GrowingUnits) else 1)
    most = blocks_within(budget.max_samples, round_size)
    summary = run_until_enough(batch, most, execution=execution, is_enough=is_enough)
    outputs = rule.interval_at(look, summary, run.outputs)
    reached = precise(summary, outputs)
    results, missed = (_finished(summary, outputs.with_specs(missed=missed)) for missed in (False, True))
    return {i: where_reached(reached, result, missed[i]) for i, result in results.items()}
