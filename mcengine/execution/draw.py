"""Drawing the samples of one block and weighing them."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
from jaxtyping import Array, Float, PyTree

from mcengine import numerics, weights
from mcengine.distributions import Labelled
from mcengine.execution.task import SamplingTask
from mcengine.numerics.partition import StaticPart, combine
from mcengine.proposals.mixture import mixture_of
from mcengine.summaries.component_sums import ComponentFactors
from mcengine.weights import mis

Reading = TypeVar("Reading")


class WeightedBlock(NamedTuple):
    """Samples of one block: log w (None where all are 0; [n], or [K, n] with one for each output), f(x) and x.

    For a mixture also log(alpha_k q_k), [k, n]; and the factors of its components' expected contributions where points
    depend on each other.
    """

    log_w: Float[Array, "*outputs n"] | None
    value: PyTree
    x: PyTree
    log_terms: Float[Array, "k n"] | None
    factors: ComponentFactors | None


def draw_weighted(task: SamplingTask, key: Array, index: Array, size: int) -> WeightedBlock:
    """The samples of block `index`, their weights and the integrand's values, with samples along the last axis."""
    problem, source = task.problem, task.source
    x, log_q, log_terms = _draw(task, key, index, size)
    log_w, factors = None, None
    if task.proposal is not None or problem.plain is not problem.target:
        log_q = numerics.over_samples(source.log_prob)(x) if log_q is None else log_q
        # [n], or [K, n] from a target with a weight for each output, which share the proposal's one density.
        log_p = numerics.over_samples(problem.target.log_prob)(x)
        log_w = weights.log_ratio(log_p, jax.numpy.broadcast_to(log_q, log_p.shape))
    mixture = mixture_of(source)
    if mixture is not None and log_terms is not None and log_q is not None and _needs_component_sums(task):
        factors = ComponentFactors(mixture.weights, *mis.expected_contributions(_heuristic(task), log_terms, log_q))
    value = numerics.over_samples(problem.integrand)(x)
    value = numerics.fence(value) if task.one_of_many else value
    return WeightedBlock(log_w, value, x, log_terms, factors)


@partial(jax.jit, static_argnames=("static", "size", "read"))
def read_block(
    dynamic: list[Array],
    key: Array,
    index: Array,
    *,
    static: StaticPart,
    size: int,
    read: Callable[[WeightedBlock], Reading],
) -> Reading:
    """What `read` makes of block `index` of a task given in two parts (`partition`); compiled once for each `read`."""
    return read(draw_weighted(combine(dynamic, static), key, index, size))


def _draw(
    task: SamplingTask, key: Array, index: Array, size: int
) -> tuple[PyTree, Float[Array, " n"] | None, Float[Array, "k n"] | None]:
    """(samples, the log density to divide by where it is known, log(alpha_k q_k) of a mixture where it is read)."""
    by_component = _needs_labels(task)
    mixture = mixture_of(task.source)
    # `prepare` has refused whatever reads the components of a source without any.
    assert mixture is not None or not reads_components(task)
    source = Labelled(mixture) if by_component and mixture is not None else task.source
    drawn, log_q = task.points.draw(key, index, size, source)
    x, chosen = drawn if by_component else (drawn, None)
    # Weight and value both read x, and so do all sums behind them.
    x = numerics.fence(x)
    if mixture is None or not reads_components(task):
        return x, log_q, None
    # Computed once for all its readers, and not inside the loop that draws.
    log_terms = numerics.fence(numerics.over_samples(partial(mis.log_terms, mixture))(x))
    if chosen is None:
        return x, mis.mixture_log_density(log_terms), log_terms
    return x, mis.log_density(_heuristic(task), log_terms, chosen), log_terms


def reads_components(task: SamplingTask) -> bool:
    """Whether the densities of a mixture's components are computed one by one."""
    return _needs_labels(task) or mixture_of(task.proposal) is not None


def _needs_labels(task: SamplingTask) -> bool:
    """Whether the weights or controls depend on the component that drew a sample."""
    return task.mis is not None or _has_component_controls(task)


def _has_component_controls(task: SamplingTask) -> bool:
    return task.controls is not None and task.controls.needs_terms


def _heuristic(task: SamplingTask) -> mis.Heuristic:
    return mis.Balance() if task.mis is None else task.mis


def _needs_component_sums(task: SamplingTask) -> bool:
    """Whether points depend on each other, so that units may vary less than their error, and the sums are defined.

    They are not where components are controls under weights that depend on the component: those controls do not.
    """
    points = task.points
    if _has_component_controls(task) and task.mis is not None:
        return False
    return points.has_dependent_samples
