"""Drawing the samples of one block and weighing them."""

from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from mcengine import numerics, weights
from mcengine.distributions import Labelled, Mixture
from mcengine.execution.task import SamplingTask
from mcengine.points.batched import Batched
from mcengine.points.growing import GrowingUnits
from mcengine.proposals import Defensive, MultiSample
from mcengine.proposals.mixture import mixture_of
from mcengine.summaries.component_sums import ComponentFactors
from mcengine.weights import mis

# Proposals whose density is that of the mixture that they are, or have inside.
MIXTURES = (Mixture, MultiSample, Defensive)


class WeightedBlock(NamedTuple):
    """Samples of one block: log w (None where all are 0), values of f, and x.

    For a mixture log(alpha_k q_k) too, and the factors of what its components are due where points have structure.
    """

    log_w: Array | None
    value: Any
    x: Any
    log_terms: Array | None
    factors: ComponentFactors | None


def draw_weighted(task: SamplingTask, key: Array, index: Array, size: int) -> WeightedBlock:
    """Draw the samples of block `index` and weigh them."""
    problem, proposal = task.problem, task.proposal
    source = problem.plain if proposal is None else proposal
    x, log_q, log_terms = _draw(task, key, index, size, source)
    log_w, factors = None, None
    if proposal is not None or problem.plain is not problem.target:
        log_q = numerics.over_samples(source.log_prob)(x) if log_q is None else log_q
        # [n], or [K, n] from a target with a weight for each output, which the proposal's one density serves.
        log_p = numerics.over_samples(problem.target.log_prob)(x)
        log_w = weights.log_ratio(log_p, jnp.broadcast_to(log_q, log_p.shape))
    if log_terms is not None and log_q is not None and _needs_component_sums(task):
        factors = ComponentFactors(
            mixture_of(source).weights, *mis.expected_contributions(_heuristic(task), log_terms, log_q)
        )
    return WeightedBlock(log_w, numerics.over_samples(problem.integrand)(x), x, log_terms, factors)


def _draw(
    task: SamplingTask, key: Array, index: Array, size: int, source: Any
) -> tuple[Any, Array | None, Array | None]:
    """(samples, what stands for their log q where known, log(alpha_k q_k) of a mixture where somebody reads them)."""
    by_component = _needs_labels(task)
    mixture = mixture_of(source)
    drawn, log_q = task.points.draw(key, index, size, Labelled(mixture) if by_component else source)
    x, chosen = drawn if by_component else (drawn, None)
    # Weight and value both read x, and so do all sums behind them.
    x = numerics.fence(x)
    if not reads_components(task):
        return x, log_q, None
    # Once for all that read them, and not inside the loop that draws.
    log_terms = numerics.fence(numerics.over_samples(partial(mis.log_terms, mixture))(x))
    if chosen is None:
        return x, mis.mixture_log_density(log_terms), log_terms
    return x, mis.log_density(_heuristic(task), log_terms, chosen), log_terms


def reads_components(task: SamplingTask) -> bool:
    """Whether the densities of a mixture's components are made by themselves."""
    return _needs_labels(task) or type(task.proposal) in MIXTURES


def _needs_labels(task: SamplingTask) -> bool:
    """Whether somebody asks which component drew a sample."""
    return task.mis is not None or _has_component_controls(task)


def _has_component_controls(task: SamplingTask) -> bool:
    return getattr(task.controls, "needs_terms", False)


def _heuristic(task: SamplingTask) -> mis.Heuristic:
    return mis.Balance() if task.mis is None else task.mis


def _needs_component_sums(task: SamplingTask) -> bool:
    """Whether points depend on each other, so that less varies than among independent ones; and dues can be told.

    They cannot of components as controls under weights that depend on who drew a sample: the controls do not.
    """
    points = task.points
    if _has_component_controls(task) and task.mis is not None:
        return False
    return isinstance(points, GrowingUnits) or (points.unit_size > 1 and not isinstance(points, Batched))
