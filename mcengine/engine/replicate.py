"""`replicate`: many independent estimates of one problem, vmapped."""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from mcengine.controls import ControlVariates
from mcengine.controls.mean_check import check_means
from mcengine.distributions import Distribution
from mcengine.engine.budgets import Samples
from mcengine.engine.in_trace import summary_in_trace
from mcengine.engine.kept_samples import estimate_from_kept_samples
from mcengine.engine.options import CovarianceMode, Options
from mcengine.engine.plan import PlannedRun, plan_run
from mcengine.engine.validation import check_support
from mcengine.execution.block_plan import MAX_BLOCK
from mcengine.execution.replicates import replicates_plan, run_replicates
from mcengine.execution.settings import Execution
from mcengine.functionals.protocol import Functionals
from mcengine.inference.estimate import Estimate
from mcengine.inference.outputs import finish_outputs, on_host
from mcengine.inference.tail_risk import stack_results
from mcengine.numerics.partition import StaticPart, combine, partition
from mcengine.points import IID, Points
from mcengine.problems.protocol import Problem
from mcengine.summaries.merge import merge_all
from mcengine.summaries.summary import Summary
from mcengine.weights.mis import Heuristic
from mcengine.weights.weighting import Raw, Weighting


def replicate(
    keys: ArrayLike,
    problem: Problem,
    proposal: Distribution | None = None,
    *,
    budget: Samples,
    points: Points = IID(),
    mis: Heuristic | None = None,
    weighting: Weighting = Raw(),
    controls: ControlVariates | None = None,
    functional: Functionals = None,
    covariance: CovarianceMode = "diagonal",
    execution: Execution = Execution(),
) -> PyTree:
    """Independent estimates of one problem, one per key: for measuring an estimator.

    Like `vmap(estimate)` over the keys, finished in float64, and compiled once for all sample counts up to 2^22. Blocks
    are smaller than those of `estimate`, so the samples differ unless `execution` names the block size of both. For
    many problems instead of many keys see `estimate_batch`.

    **Arguments:** `keys`, an array of keys, shape [R]; the rest as in `estimate`.

    **Returns:** an `Estimate` whose fields have a leading axis [R]; `seconds` is that of all of them, compilation
    included.
    """
    if not isinstance(budget, Samples):
        raise TypeError(f"replicate: budget must be mc.Samples(n), got {budget!r}.")
    if not (isinstance(keys, jax.Array) and keys.ndim == 1 and jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)):
        raise TypeError(f"replicate: keys must be an array of keys such as jax.random.split(key, 400), got {keys!r}.")
    if not len(keys):
        raise ValueError("replicate: there are no keys.")
    run = plan_run(
        problem, proposal, Options(budget, points, mis, weighting, controls, functional, covariance, execution)
    )
    check_support(run.task.problem, run.task.proposal, weighting.self_normalised)
    results = {}
    for i in run.outputs.of_samples:
        results[i] = stack_results([estimate_from_kept_samples(key, run, i) for key in keys])
    if run.outputs.of_columns:
        results |= _replicate_columns(keys, run, execution)
    return run.results(results)


def _replicate_columns(keys: Array, run: PlannedRun, execution: Execution) -> dict[int, Estimate]:
    start = time.perf_counter()
    num_samples = run.num_samples or 0  # a budget of samples is all that `replicate` takes
    if run.pilot is not None:  # every replicate has a pilot of its own
        summaries, pilots = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), _with_pilots(run, keys))
        check_means(run.task.controls, merge_all(pilots), run.outputs.num_outputs)
    else:
        plan = replicates_plan(run.task, num_samples, run.floats, execution)
        summaries = run_replicates(run.task, keys, num_samples, run.floats, plan=plan, execution=execution)
    return finish_outputs(summaries, on_host(run.outputs), time.perf_counter() - start)


def _with_pilots(run: PlannedRun, keys: Array) -> tuple[Summary, Summary]:
    """The summaries of all replicates, and those of their pilots."""
    dynamic, static = partition(run)
    lanes = max(1, min(len(keys), MAX_BLOCK // run.plan.block_size))
    batches = [_traced_summaries(dynamic, keys[i : i + lanes], static=static) for i in range(0, len(keys), lanes)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *jax.device_get(batches))


@partial(jax.jit, static_argnames=("static",))
def _traced_summaries(dynamic: list[Array], keys: Array, *, static: StaticPart) -> tuple[Summary, Summary | None]:
    return jax.vmap(partial(summary_in_trace, combine(dynamic, static)))(keys)
