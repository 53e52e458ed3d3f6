"""How the columns of a sample are laid out for several functionals, and the specification of each estimate."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import PyTreeDef
from jaxtyping import PyTree

from mcengine import numerics
from mcengine.distributions import event_struct
from mcengine.execution.task import ColumnLayout, SamplingTask
from mcengine.functionals.protocol import Functional
from mcengine.functionals.requested import Observed
from mcengine.inference.outputs import OutputLayout, OutputSlice
from mcengine.inference.spec import EstimateSpec
from mcengine.numerics.partition import shapes_of
from mcengine.problems.integral import Lebesgue
from mcengine.problems.protocol import Problem
from mcengine.proposals.defensive import contains_target
from mcengine.summaries.summary import MAX_TAILED


def layout_of(
    task: SamplingTask, problem: Problem, functionals: list[Functional], treedef: PyTreeDef, *, covariance: str | None
) -> tuple[OutputLayout, ColumnLayout]:
    """The slice of the summary that each functional reads, and how its columns lie.

    **Arguments:** `problem`, the one that the user gave; `treedef`, the structure of the functionals; `covariance`, the
    one that the user asked for: the task's own may be "full" because a functional needs it.
    """
    event = event_struct(task.source)
    summed = {i: f for i, f in enumerate(functionals) if not f.keeps_samples}
    shapes = [shapes_of(_columns_of, Observed(problem, (f,)), event) for f in summed.values()]
    sizes = [sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(above)) for above, _ in shapes]
    num_outputs, num_ratios = sum(sizes), sum(len(below) for _, below in shapes)
    of_columns, tailed, start, below_before = {}, [], 0, 0
    num_tails = sum(min(size, MAX_TAILED) for size in sizes)
    for (i, functional), (above, below), size in zip(summed.items(), shapes, sizes, strict=True):
        _check_outputs(above)
        denominator = num_outputs + below_before if below else None
        if not below and task.weighting.self_normalised:
            denominator = num_outputs + num_ratios
        tails = [*range(len(tailed), len(tailed) + min(size, MAX_TAILED))]
        tailed.extend(range(start, start + len(tails)))
        if denominator is not None:
            tails.append(num_tails + denominator - num_outputs)
        if task.controls is not None:
            tails += [num_tails + tail for tail in tails]  # of the residuals, once controls are subtracted
        own_covariance = "full" if functional.needs_covariance else covariance
        spec = _spec(task, problem, functional, above[0], is_ratio=bool(below), covariance=own_covariance)
        of_columns[i] = OutputSlice(spec, start, start + size, denominator, tuple(tails))
        start, below_before = start + size, below_before + len(below)
    denominators = range(num_outputs, num_outputs + num_ratios + task.weighting.self_normalised)
    of_samples = {i: f for i, f in enumerate(functionals) if f.keeps_samples}
    return OutputLayout(of_columns, of_samples, treedef), ColumnLayout(num_ratios, (*tailed, *denominators))


def _columns_of(observed: Observed, x: PyTree) -> PyTree:
    return observed.integrand(x)


def _check_outputs(above: PyTree[jax.ShapeDtypeStruct]) -> None:
    leaves = jax.tree.leaves(above)
    if not any(leaf.size for leaf in leaves):
        raise ValueError("estimate: the integrand returns nothing.")
    if any(jnp.issubdtype(leaf.dtype, jnp.complexfloating) for leaf in leaves):
        raise ValueError("estimate: the integrand is complex; return its real and imaginary parts.")


def _spec(
    task: SamplingTask,
    problem: Problem,
    functional: Functional,
    above: PyTree[jax.ShapeDtypeStruct],
    *,
    is_ratio: bool,
    covariance: str | None,
) -> EstimateSpec:
    """How the columns of one functional become its estimate; `above`, the structs of what it averages."""
    leaves, treedef = jax.tree.flatten(above)
    weighting = task.weighting
    plain = task.proposal is None and problem.plain is problem.target
    indicator, bound = functional.is_indicator(problem), functional.value_bound(problem)
    normalised = weighting.self_normalised or is_ratio
    untouched = not (weighting.changes_weights or normalised or task.controls is not None)
    largest = jnp.asarray(jnp.nan, numerics.float_dtype())
    if bound is not None and untouched:
        if plain:
            largest = jnp.asarray(bound, numerics.float_dtype())
        elif contains_target(task.proposal, problem.target):
            largest = jnp.asarray(bound / task.proposal.defensive_share, numerics.float_dtype())
    return EstimateSpec(
        treedef=treedef,
        shapes=tuple(leaf.shape for leaf in leaves),
        self_normalised=normalised,
        binomial=plain and indicator and untouched and task.points.unit_size == 1,
        indicator=plain and indicator and untouched,
        controlled=task.controls is not None,
        # Of an integral an indicator's mean is a volume.
        bounded_by_one=indicator and not isinstance(problem.target, Lebesgue),
        epsilon=float(jnp.finfo(numerics.float_dtype()).eps),
        largest=largest,
        covariance=covariance,
        divided=is_ratio,
    )
