"""What `estimate` fixes before the first sample: checked arguments, shapes, and the specification of the result."""

import dataclasses
import math
from typing import NamedTuple

import jax
from jaxtyping import PyTree

from mcengine.controls import Components, ControlVariates
from mcengine.distributions import Distribution, as_distribution, event_struct
from mcengine.distributions.protocol import num_uniforms_of
from mcengine.engine.budgets import Budget, Samples, Tolerance
from mcengine.engine.options import Options
from mcengine.engine.outputs import layout_of
from mcengine.engine.pilot import PilotRun, plan_pilot
from mcengine.engine.rough_mean import with_centre
from mcengine.engine.validation import (
    check_densities,
    check_events,
    check_options,
    check_tolerance,
    check_transport,
)
from mcengine.execution.block_plan import BlockPlan, FloatCounts, block_plan
from mcengine.execution.draw import reads_components
from mcengine.execution.settings import Execution
from mcengine.execution.task import SamplingTask
from mcengine.functionals.protocol import Functional, Result
from mcengine.functionals.requested import functionals_of, observed
from mcengine.inference.estimate import Estimate
from mcengine.inference.outputs import OutputLayout
from mcengine.numerics.tracing import traced
from mcengine.points import IID, Allocated, Points, Sobol
from mcengine.points.batched import Batched, batch_size
from mcengine.points.growing import GrowingUnits
from mcengine.problems.integral import volume_of
from mcengine.problems.protocol import Problem, check_problem
from mcengine.proposals.mixture import components_of
from mcengine.proposals.multi_sample import fixed_counts_of
from mcengine.summaries.summary import MAX_TAILED
from mcengine.weights.mis import Heuristic, Optimal
from mcengine.weights.weighting import Weighting

# Samples of a block between interim looks: of independent points, and of each growing unit.
LOOK_BLOCK, GROWING_BLOCK = 2**13, 2**11
# Of N points in R scrambles the error falls like R N^-3/2: few and long ones, as few as a t interval bears.
GROWING_UNITS = 8
# Floats of an output in a summary, about; outputs whose covariances fit in memory, a few matrices at a time.
SUMMARY_COLUMNS, MAX_FULL = 12, 2**11


class PlannedRun(NamedTuple):
    """A checked and planned run: all that is known before the first sample.

    `problem` is the user's, without its exact answers; `task.problem` is it as the functionals observe it.
    """

    task: SamplingTask
    problem: Problem
    functionals: tuple[Functional, ...]
    outputs: OutputLayout
    plan: BlockPlan
    num_samples: int | None
    floats: FloatCounts
    pilot: PilotRun | None

    def results(self, by_position: dict[int, Result]) -> PyTree:
        """The results of all functionals in the structure of the `functional` argument."""
        volume = volume_of(self.problem.target)
        for i, functional in enumerate(self.functionals):
            result = by_position[i]
            if isinstance(result, Estimate) and not functional.keeps_samples:
                by_position = by_position | {i: functional.finish(result, volume)}
        return self.outputs.results(by_position)


def plan_run(problem: Problem, proposal: Distribution | None, options: Options) -> PlannedRun:
    """Check the arguments and fix everything that is known before the first sample is drawn."""
    check_options(options)
    check_problem("estimate: problem must be", problem)
    budget, weighting = options.budget, options.weighting
    proposal = None if proposal is None else as_distribution(proposal)
    problem = problem.without_answers()
    source = as_distribution(problem.plain) if proposal is None else proposal
    check_events(problem, source)
    if proposal is not None or problem.plain is not problem.target:
        check_densities(problem, source)
    functionals, treedef = functionals_of(options.functional)
    functionals = [with_centre(functional, problem, source) for functional in functionals]
    covariance = "full" if any(f.needs_covariance for f in functionals) else options.covariance
    points = _points_of(options.points, budget, proposal, covariance)
    check_transport(points, source)
    mis, controls = _mis_and_controls(options.mis, options.controls, weighting, source)
    task = SamplingTask(
        observed(problem, functionals), proposal, points, weighting, mis=mis, controls=controls, covariance=covariance
    )
    with traced("the integrand"):
        outputs, layout = layout_of(task, problem, functionals, treedef, covariance=options.covariance)
    if controls is not None and layout.num_denominators:
        raise ValueError("estimate: controls are for means; a Ratio has none. Leave one of them out.")
    task = dataclasses.replace(task, layout=layout)
    floats = _float_counts(outputs, task, source)
    unit = points.unit_size
    num_samples = budget.count - budget.count % unit if isinstance(budget, Samples) else None
    if num_samples == 0:
        raise ValueError(f"estimate: the budget of {budget} is less than one unit of {unit} samples of the points.")
    execution = options.execution
    pilot = None if controls is None else plan_pilot(task, num_samples, floats, execution, source=source)
    if isinstance(budget, Tolerance):
        check_tolerance(budget, problem, outputs, not_in_order=isinstance(points, GrowingUnits))
        execution = dataclasses.replace(execution, block_size=_look_size(budget, points, execution))
        outputs = outputs.with_specs(binomial=False)
    plan = block_plan(num_samples, floats, execution, unit)
    return PlannedRun(task, problem, tuple(functionals), outputs, plan, num_samples, floats, pilot)


def _float_counts(outputs: OutputLayout, task: SamplingTask, source: Distribution) -> FloatCounts:
    """How many floats a sample (uniforms, outputs, densities of components) and a summary need."""
    num_outputs, covariance = max(outputs.num_outputs, 1), task.covariance
    if covariance == "full" and num_outputs > MAX_FULL:
        raise ValueError(
            f"estimate: covariance='full' keeps a matrix, for at most {MAX_FULL:,} outputs; here are {num_outputs:,}."
        )
    event = jax.tree.leaves(event_struct(source))
    uniforms = num_uniforms_of(source) or sum(math.prod(x.shape) for x in event)
    # Components of a proposal that is not a mixture are refused later, where they are asked for.
    components = len(components_of(source) or ()) if reads_components(task) else 0
    summary = SUMMARY_COLUMNS * num_outputs + 2 * min(num_outputs, MAX_TAILED) * components
    return FloatCounts(uniforms + num_outputs + components, summary + (num_outputs**2 if covariance == "full" else 0))


def _points_of(points: Points, budget: Budget, proposal: Distribution | None, covariance: str | None) -> Points:
    """The points as the run lays them out: their size, growing units, fixed counts of a proposal, and batches."""
    count = budget.count if isinstance(budget, Samples) else None
    if isinstance(budget, Tolerance) and isinstance(points, Sobol) and points.size is None:
        points = GrowingUnits(points, GROWING_UNITS)
    points = _with_fixed_counts(points.for_budget(count), proposal)
    if covariance is None and points.unit_size == 1 and not points.has_dependent_samples:
        return Batched(points, batch_size(count))
    return points


def _look_size(budget: Tolerance, points: Points, execution: Execution) -> int:
    """Samples between interim looks (of each unit that grows): few, so that an easy problem stops soon."""
    grows = isinstance(points, GrowingUnits)
    least = points.num_units if grows else points.unit_size
    if budget.max_samples < least:
        what = f"one sample for each of {least} units" if grows else f"one unit of {least} samples"
        raise ValueError(f"Tolerance: max_samples of {budget.max_samples} is less than {what} of the points.")
    if execution.block_size is not None:
        return execution.block_size
    of_each = budget.max_samples // (least if grows else 1)
    return min(GROWING_BLOCK if grows else LOOK_BLOCK, 2 ** int(math.log2(of_each)))


def _with_fixed_counts(points: Points, proposal: Distribution | None) -> Points:
    """The points of a proposal with fixed counts, which lays out its own; else the points as they are."""
    counts = fixed_counts_of(proposal)
    if counts is None:
        if isinstance(points, Allocated):
            raise ValueError(
                "estimate: points.Allocated lays out the samples of a proposal with fixed counts: give "
                "proposal=mc.multi_sample(components, counts), and no points."
            )
        return points
    if not isinstance(points, IID):
        raise ValueError(
            f"estimate: a proposal with fixed counts lays out its own points, and {type(points).__name__} lays out "
            "others: use a mixture, whose choice of component such points stratify."
        )
    return Allocated(counts, points.words)


def _mis_and_controls(
    mis: Heuristic | None, controls: ControlVariates | None, weighting: Weighting, source: Distribution
) -> tuple[Heuristic | None, ControlVariates | None]:
    """(heuristic or None for the mixture's own density, controls or None), checked against each other."""
    if mis is not None and components_of(source) is None:
        raise TypeError(
            f"estimate: mis combines the components of a mixture, and {type(source).__name__} is not one; see "
            "mc.mixture and mc.multi_sample."
        )
    if isinstance(mis, Optimal):
        if controls is not None:
            raise ValueError("estimate: mis.Optimal has the components as controls; give it or controls, not both.")
        controls = Components(mis.pilot)
    if controls is not None and (weighting.changes_weights or weighting.self_normalised):
        raise ValueError("estimate: controls need raw weights, whose mean they do not change.")
    return (None if mis is None or mis.uses_mixture_density else mis), controls
