"""`estimate`: the one front door from (problem, proposal, points, weighting, budget) to an `Estimate`."""

import dataclasses
import math
import time
from functools import partial
from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from mcengine import numerics
from mcengine.budgets import Budget, Samples, Seconds
from mcengine.checks import check_events, check_key, check_support, check_transport
from mcengine.distributions import as_distribution, event_struct
from mcengine.execution.blocks import (
    Plan,
    Work,
    plan_of,
    row_of_arrays,
    run_samples,
    run_seconds,
    run_traced,
)
from mcengine.execution.caching import Static, closes_over_trace, is_traced, join, split
from mcengine.execution.replicates import replicates_plan, run_replicates
from mcengine.execution.settings import Execution
from mcengine.points import IID, Points
from mcengine.recipe import Recipe
from mcengine.result import Estimate, finish
from mcengine.weighting import Raw, Weighting


class Run(NamedTuple):
    """A checked and planned run: what `estimate` knows before the first sample. `floats` is one sample's size."""

    work: Work
    recipe: Recipe
    plan: Plan
    num_samples: int | None
    floats: int


@no_type_check  # it checks its arguments in the user's words
def estimate(
    key: ArrayLike,
    problem: Any,
    proposal: Any = None,
    *,
    budget: Budget,
    points: Points = IID(),
    weighting: Weighting = Raw(),
    execution: Execution = Execution(),
) -> Estimate:
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
    - `budget`: `Samples(n)` or `Seconds(s)` (the latter not inside a trace).
    - `points`, `weighting`, `execution`: how samples are laid out, what becomes of weights, how the work is cut up.

    **Raises:** `ValueError` or `TypeError` for events of different shape, a proposal seen to miss part of the target
    where f is not 0, and bad budgets, in words. Bad luck (heavy tails, no hits) is a status, not an error.
    """
    key = check_key(key)
    run = prepare(problem, proposal, budget, points, weighting, execution)
    closure = closes_over_trace(run.work)
    if closure or is_traced((run.work, key)):
        return _estimate_in_trace(run, key, closure)
    check_support(run.work.problem, run.work.proposal, run.recipe.self_normalised)
    start = time.perf_counter()
    if run.num_samples is None:
        row = run_seconds(run.work, key, budget.limit, run.plan, execution)
    else:
        row = run_samples(run.work, key, run.num_samples, run.plan, execution)
    return finish(row, jax.tree.map(np.asarray, run.recipe), np, time.perf_counter() - start)


@no_type_check  # it checks its arguments in the user's words
def replicate(
    keys: ArrayLike,
    problem: Any,
    proposal: Any = None,
    *,
    budget: Samples,
    points: Points = IID(),
    weighting: Weighting = Raw(),
    execution: Execution = Execution(),
) -> Estimate:
    """Independent estimates of one problem, one per key, vmapped: for measuring an estimator.

    Like `vmap(estimate)` over the keys, finished in float64, and compiled once for all sample counts up to 2^22 (blocks
    are smaller, so the samples are not those of `estimate` unless `execution` names the block size of both).

    **Arguments:** `keys`, an array of keys, shape [R]; the rest as in `estimate`.

    **Returns:** an `Estimate` whose fields have a leading axis [keys]; `seconds` is that of all of them, compilation
    included.
    """
    if not isinstance(budget, Samples):
        raise TypeError(f"replicate: budget must be mc.Samples(n), got {budget!r}.")
    if np.ndim(keys) != 1 or not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        raise TypeError(f"replicate: keys must be an array of keys such as jax.random.split(key, 400), got {keys!r}.")
    run = prepare(problem, proposal, budget, points, weighting, execution)
    check_support(run.work.problem, run.work.proposal, run.recipe.self_normalised)
    start = time.perf_counter()
    plan = replicates_plan(run.work, run.num_samples, run.floats, execution)
    rows = run_replicates(run.work, keys, run.num_samples, run.floats, plan, execution)
    return finish(rows, jax.tree.map(np.asarray, run.recipe), np, time.perf_counter() - start)


@no_type_check  # it checks its arguments in the user's words
def estimate_from(
    log_weights: ArrayLike | None,
    values: Any,
    *,
    weighting: Weighting = Raw(),
) -> Estimate:
    """The estimate from samples that somebody else drew: logged data, or another program's.

    value = mean(w_i f_i) with w_i = exp(log_weights_i), and the same error bar, diagnostics and status as `estimate`.
    Samples must be independent. Computed in float64.

    **Arguments:** `log_weights`, shape [n], log p(x_i) - log q(x_i) (see `mcengine.weights.log_ratio`), or None for
    unweighted samples; `values`, an array of shape [n, ...] or a pytree of such; `weighting` as in `estimate`.

    **Raises:** `ValueError` for empty input, lengths that differ or complex values; `TypeError` for traced arrays.
    """
    _check_methods("estimate_from", weighting=weighting)
    if is_traced((log_weights, values)):
        raise TypeError(
            "estimate_from: it reduces in float64 on the host and cannot be called inside jit, vmap or grad."
        )
    if isinstance(values, list | tuple) and all(np.ndim(value) == 0 for value in values):
        values = np.asarray(values)  # a list of numbers, not a pytree of scalars
    if any(np.iscomplexobj(leaf) for leaf in jax.tree.leaves(values)):
        raise ValueError("estimate_from: values are complex; give their real and imaginary parts.")
    leaves, treedef = jax.tree.flatten(jax.tree.map(lambda v: np.asarray(v, np.float64), values))
    lengths = {leaf.shape[0] if leaf.ndim else None for leaf in leaves}
    log_weights = None if log_weights is None else np.asarray(log_weights, np.float64)
    if log_weights is not None and log_weights.ndim != 1:
        raise ValueError(f"estimate_from: log_weights must have one axis, got shape {log_weights.shape}.")
    known = lengths if log_weights is None else lengths | {log_weights.shape[0]}
    if len(known) != 1 or None in known:
        shapes = [leaf.shape for leaf in leaves]
        weights_shape = None if log_weights is None else log_weights.shape
        raise ValueError(f"estimate_from: lengths differ: log_weights {weights_shape}, values {shapes}.")
    if 0 in known:
        raise ValueError("estimate_from: there are no samples.")
    columns = np.concatenate([leaf.reshape(leaf.shape[0], -1).T for leaf in leaves])
    recipe = Recipe(
        treedef=treedef,
        shapes=tuple(leaf.shape[1:] for leaf in leaves),
        self_normalised=weighting.self_normalised,
        binomial=False,
        bounded_by_one=False,
        epsilon=float(np.finfo(np.float64).eps),
        largest=np.asarray(np.nan),
    )
    return finish(row_of_arrays(log_weights, columns, weighting), recipe, np)


def _estimate_in_trace(run: Run, key: Array, closure: bool) -> Estimate:
    num_samples = run.num_samples
    if num_samples is None:
        raise ValueError("estimate: a budget of Seconds cannot be kept inside jit, vmap or grad; use mc.Samples(n).")
    if closure:
        # A fresh function, so that no cache outlives the trace that the closure belongs to.
        return jax.jit(lambda k: finish(run_traced(run.work, k, num_samples, run.plan), run.recipe, jnp))(key)
    dynamic, static = split(run.work)
    return _traced(dynamic, key, run.recipe, static=static, plan=run.plan, num_samples=num_samples)


@partial(jax.jit, static_argnames=("static", "plan", "num_samples"))
def _traced(dynamic, key, recipe, *, static: Static, plan: Plan, num_samples: int) -> Estimate:
    # One compilation where `grad` or `vmap` is called outside `jit`, instead of one per operation.
    return finish(run_traced(join(dynamic, static), key, num_samples, plan), recipe, jnp)


def prepare(problem: Any, proposal: Any, budget: Any, points: Any, weighting: Any, execution: Execution) -> Run:
    """Check the arguments and settle everything that is known before the first sample is drawn."""
    if not isinstance(budget, Samples | Seconds):
        raise TypeError(f"estimate: budget must be mc.Samples(n) or mc.Seconds(s), got {budget!r}.")
    _check_methods("estimate", points=points, weighting=weighting)
    if not all(hasattr(problem, name) for name in ("target", "integrand", "plain", "value_bound")):
        raise TypeError(f"estimate: problem must be an Expectation, an Integral or a Probability, got {problem!r}.")
    proposal = None if proposal is None else as_distribution(proposal)
    if getattr(problem, "exact", None) is not None:
        # The known answer must not reach the kernels, where it would be one more number to carry.
        problem = dataclasses.replace(problem, exact=None)
    source = as_distribution(problem.plain) if proposal is None else proposal
    check_events(problem, source)
    points = points.for_budget(budget.count if isinstance(budget, Samples) else None)
    check_transport(points, source)
    work = Work(problem, proposal, points, weighting)
    recipe, floats = _recipe(work, source)
    unit = points.unit_size
    num_samples = budget.count - budget.count % unit if isinstance(budget, Samples) else None
    if num_samples == 0:
        raise ValueError(f"estimate: the budget of {budget} is less than one unit of {unit} samples of the points.")
    return Run(work, recipe, plan_of(num_samples, floats, execution, unit), num_samples, floats)


def _check_methods(caller: str, **methods: Any) -> None:
    protocols = {"points": Points, "weighting": Weighting}
    for name, value in methods.items():
        if isinstance(value, type) or not isinstance(value, protocols[name]):
            raise TypeError(f"{caller}: {name} must be an object such as those of mc.{name}, got {value!r}.")


def _recipe(work: Work, source: Any) -> tuple[Recipe, int]:
    """The recipe, and how many floats (uniforms and outputs) one sample needs."""
    problem, proposal = work.problem, work.proposal
    event = event_struct(source)
    value = jax.eval_shape(problem.integrand, event)
    leaves, treedef = jax.tree.flatten(value)
    if not leaves:
        raise ValueError("estimate: the integrand returns nothing.")
    for leaf in leaves:
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            raise ValueError("estimate: the integrand is complex; return its real and imaginary parts.")
    plain = proposal is None and problem.plain is problem.target
    indicator = bool(getattr(problem, "is_indicator", False))
    untouched = not work.weighting.changes_weights and not work.weighting.self_normalised
    largest = jnp.asarray(jnp.nan, numerics.float_dtype())
    if problem.value_bound is not None and untouched:
        share = 1.0 if plain else getattr(proposal, "defensive_share", None)
        if share is not None and (plain or _same(getattr(proposal, "target", None), problem.target)):
            largest = jnp.asarray(problem.value_bound / share, numerics.float_dtype())
    recipe = Recipe(
        treedef=treedef,
        shapes=tuple(leaf.shape for leaf in leaves),
        self_normalised=work.weighting.self_normalised,
        binomial=plain and indicator and untouched and work.points.unit_size == 1,
        bounded_by_one=indicator,
        epsilon=float(jnp.finfo(numerics.float_dtype()).eps),
        largest=largest,
    )
    uniforms = getattr(source, "num_uniforms", None) or sum(math.prod(x.shape) for x in jax.tree.leaves(event))
    return recipe, uniforms + recipe.num_outputs


def _same(a: Any, b: Any) -> bool:
    """Whether two distributions are the same object or equal leaf by leaf; unknown (False) where traced."""
    if a is b:
        return True
    if jax.tree.structure(a) != jax.tree.structure(b) or is_traced((a, b)):
        return False
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
