"""Several functionals of one run: each has its own columns of the row, and its own recipe."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcengine import numerics
from mcengine.distributions import event_struct
from mcengine.distributions.protocol import same_law
from mcengine.execution.task import ColumnLayout, SamplingTask
from mcengine.functionals.requested import Observed
from mcengine.inference.outputs import OutputLayout, OutputSlice
from mcengine.inference.spec import EstimateSpec
from mcengine.numerics.partition import shapes_of
from mcengine.problems.integral import Lebesgue
from mcengine.summaries.summary import MAX_TAILED


def layout_of(
    task: SamplingTask, problem: Any, source: Any, functionals: list[Any], treedef: Any
) -> tuple[OutputLayout, ColumnLayout]:
    """Every functional's part of the row, and how its columns lie; `problem` is the one that the user gave."""
    event = event_struct(source)
    kept = {i: f for i, f in enumerate(functionals) if not f.keeps_samples}
    shapes = [shapes_of(_columns_of, Observed(problem, (f,)), event) for f in kept.values()]
    sizes = [sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(above)) for above, _ in shapes]
    num_outputs, ratios = sum(sizes), sum(len(below) for _, below in shapes)
    of_columns, tailed, start, below_before = {}, [], 0, 0
    num_tails = sum(min(size, MAX_TAILED) for size in sizes)
    for (i, functional), (above, below), size in zip(kept.items(), shapes, sizes, strict=True):
        _check_outputs(above)
        denominator = num_outputs + below_before if below else None
        if not below and task.weighting.self_normalised:
            denominator = num_outputs + ratios
        tails = [*range(len(tailed), len(tailed) + min(size, MAX_TAILED))]
        tailed.extend(range(start, start + len(tails)))
        if denominator is not None:
            tails.append(num_tails + denominator - num_outputs)
        if task.controls is not None:
            tails += [num_tails + tail for tail in tails]  # what the controls leave
        spec = _spec(task, problem, source, functional, above[0], bool(below))
        of_columns[i] = OutputSlice(spec, start, start + size, denominator, tuple(tails))
        start, below_before = start + size, below_before + len(below)
    denominators = range(num_outputs, num_outputs + ratios + task.weighting.self_normalised)
    of_samples = {i: f for i, f in enumerate(functionals) if f.keeps_samples}
    return OutputLayout(of_columns, of_samples, treedef), ColumnLayout(ratios, (*tailed, *denominators))


def _columns_of(observed: Observed, x: Any) -> Any:
    return observed.integrand(x)


def _check_outputs(above: Any) -> None:
    leaves = jax.tree.leaves(above)
    if not any(leaf.size for leaf in leaves):
        raise ValueError("estimate: the integrand returns nothing.")
    if any(jnp.issubdtype(leaf.dtype, jnp.complexfloating) for leaf in leaves):
        raise ValueError("estimate: the integrand is complex; return its real and imaginary parts.")


def _spec(task: SamplingTask, problem: Any, source: Any, functional: Any, above: Any, divided: bool) -> EstimateSpec:
    """How the columns of one functional become its estimate."""
    leaves, treedef = jax.tree.flatten(above)
    proposal, weighting = task.proposal, task.weighting
    plain = proposal is None and problem.plain is problem.target
    indicator, bound = functional.is_indicator(problem), functional.value_bound(problem)
    normalised = weighting.self_normalised or divided
    untouched = not (weighting.changes_weights or normalised or task.controls is not None)
    largest = jnp.asarray(jnp.nan, numerics.float_dtype())
    if bound is not None and untouched:
        share = 1.0 if plain else getattr(proposal, "defensive_share", None)
        if share is not None and (plain or same_law(getattr(proposal, "target", None), problem.target)):
            largest = jnp.asarray(bound / share, numerics.float_dtype())
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
        covariance=task.covariance,
        divided=divided,
    )
