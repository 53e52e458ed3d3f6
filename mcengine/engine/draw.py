"""`draw`: the weighted samples of a run as arrays, for plots and for other libraries."""

from typing import NamedTuple

from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from mcengine.distributions import Distribution
from mcengine.engine.budgets import Samples
from mcengine.engine.options import Options
from mcengine.engine.plan import plan_run
from mcengine.engine.validation import check_key, check_support
from mcengine.execution.collect import collect_samples
from mcengine.execution.settings import Execution
from mcengine.numerics.tracing import closes_over_trace, is_traced
from mcengine.points import IID, Points
from mcengine.problems.protocol import Problem
from mcengine.weights.mis import Heuristic, Optimal


class DrawnSamples(NamedTuple):
    """Weighted samples along the first axis: x ~ q, log w(x) = log p(x) - log q(x), and f(x)."""

    x: PyTree
    log_weights: Float[Array, "n *outputs"]
    values: PyTree


def draw(
    key: ArrayLike,
    problem: Problem,
    proposal: Distribution | None = None,
    count: int = 1_000,
    *,
    points: Points = IID(),
    mis: Heuristic | None = None,
    execution: Execution = Execution(),
) -> DrawnSamples:
    """The samples that `estimate` with the same arguments and `budget=Samples(count)` averages, as arrays.

    `estimate_from(samples.log_weights, samples.values)` is that estimate up to rounding (and its error bar, where the
    points are independent).

    **Arguments:**

    - `key`, `problem`, `proposal`, `points`, `mis`, `execution`: as in `estimate`.
    - `count`: how many samples; with points that come in units, whole units of them.

    **Returns:** `DrawnSamples(x, log_weights, values)`. `x` has the structure of one sample and `values` that of f(x),
    each with a leading axis [n]; `log_weights` [n] are raw, 0 for plain Monte Carlo and -inf outside the target; [n, K]
    for a problem that weighs each output by itself.

    **Raises:** as `estimate`; `TypeError` inside `jit`, `vmap` or `grad`.
    """
    key = check_key("draw", key)
    if isinstance(mis, Optimal):
        raise ValueError("draw: mis.Optimal changes the estimate by controls and not the weights; use mis.Balance().")
    run = plan_run(problem, proposal, Options(Samples(count), points, mis, execution=execution))
    if is_traced((run.task, key)) or closes_over_trace(run.task):
        raise TypeError("draw: it returns arrays on the host and cannot be called inside jit, vmap or grad.")
    check_support(run.task.problem, run.task.proposal)
    return DrawnSamples(*collect_samples(run.task, key, run.num_samples or 0, run.plan))
