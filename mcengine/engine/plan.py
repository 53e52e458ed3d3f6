"""What `estimate` settles before the first sample: arguments checked, shapes planned, the recipe of the result."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mcengine import numerics
from mcengine.controls.controls import Components
from mcengine.controls.regression import UNITS_BESIDES, regression_coefficients
from mcengine.distributions import as_distribution, event_struct
from mcengine.engine.budgets import Samples, Seconds, Tolerance
from mcengine.engine.outputs import layout_of
from mcengine.engine.validation import check_densities, check_events, check_tolerance, check_transport
from mcengine.execution.block_plan import BlockPlan, FloatCounts, block_plan
from mcengine.execution.draw import reads_components
from mcengine.execution.settings import Execution
from mcengine.execution.task import SamplingTask
from mcengine.functionals.requested import functionals_of, observed
from mcengine.inference.covariance import check_covariance
from mcengine.inference.outputs import OutputLayout, OutputSlice
from mcengine.numerics.tracing import traced
from mcengine.points import IID, Allocated, Points, Sobol
from mcengine.points.batched import Batched, batch_size
from mcengine.points.growing import GrowingUnits
from mcengine.problems.protocol import without_answers
from mcengine.proposals.mixture import mixture_of
from mcengine.summaries.summary import MAX_TAILED
from mcengine.weights.mis import Balance, Heuristic, Optimal
from mcengine.weights.weighting import Weighting

# Samples a block where a run is looked at on its way: of independent points, and of each growing unit.
LOOK_BLOCK, PREFIX_BLOCK = 2**13, 2**11
# Of N points in R scrambles the error falls like R N^-3/2: few and long ones, as few as a t interval bears.
GROWING_UNITS = 8
# Floats of an output in a row, about; outputs whose covariances fit in memory, a few matrices at a time.
ROW_COLUMNS, MAX_FULL = 12, 2**11
# The pilot of a run whose sample count is not known beforehand is an eighth of this.
PILOT_WITHOUT_COUNT = 2**17


class PilotRun(NamedTuple):
    """The run that finds the coefficients of controls, on samples of its own."""

    task: SamplingTask
    plan: BlockPlan
    num_samples: int


class PlannedRun(NamedTuple):
    """A checked and planned run: what `estimate` knows before the first sample."""

    task: SamplingTask
    outputs: OutputLayout
    plan: BlockPlan
    num_samples: int | None
    floats: FloatCounts
    pilot: PilotRun | None


def prepare(
    problem: Any,
    proposal: Any,
    budget: Any,
    points: Any,
    mis: Any,
    weighting: Any,
    controls: Any,
    execution: Any,
    functional: Any,
    covariance: str | None,
) -> PlannedRun:
    """Check the arguments and settle everything that is known before the first sample is drawn."""
    if not isinstance(budget, Samples | Seconds | Tolerance):
        raise TypeError(f"estimate: budget must be mc.Samples(n), mc.Seconds(s) or mc.Tolerance(rtol), got {budget!r}.")
    check_methods("estimate", points=points, weighting=weighting)
    if not isinstance(execution, Execution):
        raise TypeError(f"estimate: execution must be an mc.Execution(...), got {execution!r}.")
    if not all(hasattr(problem, name) for name in ("target", "integrand", "plain", "value_bound")):
        raise TypeError(f"estimate: problem must be an Expectation, an Integral or a Probability, got {problem!r}.")
    proposal = None if proposal is None else as_distribution(proposal)
    problem = without_answers(problem)
    source = as_distribution(problem.plain) if proposal is None else proposal
    check_events(problem, source)
    if proposal is not None or problem.plain is not problem.target:
        check_densities(problem, source)
    check_covariance(covariance)
    points = _allocated(_settled(points, budget), proposal)
    if covariance is None and points.unit_size == 1 and not isinstance(points, GrowingUnits):
        points = Batched(points, batch_size(budget))
    check_transport(points, source)
    functionals, treedef = functionals_of(functional)
    combination = _combination(mis, controls, weighting, source)
    task = SamplingTask(
        observed(problem, functionals), proposal, points, weighting, *combination, covariance=covariance
    )
    with traced("the integrand"):
        outputs, layout = layout_of(task, problem, source, functionals, treedef)
    if task.controls is not None and layout.num_denominators:
        raise ValueError("estimate: controls are for means; a Ratio has none. Leave one of them out.")
    task = dataclasses.replace(task, layout=layout)
    floats = _floats(outputs, task, source)
    unit = points.unit_size
    num_samples = budget.count - budget.count % unit if isinstance(budget, Samples) else None
    if num_samples == 0:
        raise ValueError(f"estimate: the budget of {budget} is less than one unit of {unit} samples of the points.")
    pilot = None if task.controls is None else _pilot(task, num_samples, floats, execution, source)
    if isinstance(budget, Tolerance):
        check_tolerance(budget, problem, outputs, not_in_order=isinstance(points, GrowingUnits))
        execution = dataclasses.replace(execution, block_size=_look_size(budget, points, execution))
        outputs = outputs._replace(of_columns={i: _not_binomial(output) for i, output in outputs.of_columns.items()})
    return PlannedRun(task, outputs, block_plan(num_samples, floats, execution, unit), num_samples, floats, pilot)


def _not_binomial(output: OutputSlice) -> OutputSlice:
    return dataclasses.replace(output, spec=dataclasses.replace(output.spec, binomial=False))


def _floats(outputs: OutputLayout, task: SamplingTask, source: Any) -> FloatCounts:
    """How many floats a sample (uniforms, outputs, densities of components) and a row need."""
    num_outputs, covariance = max(outputs.num_outputs, 1), task.covariance
    if covariance == "full" and num_outputs > MAX_FULL:
        raise ValueError(
            f"estimate: covariance='full' keeps a matrix, for at most {MAX_FULL:,} outputs; here are {num_outputs:,}."
        )
    event = jax.tree.leaves(event_struct(source))
    uniforms = getattr(source, "num_uniforms", None) or sum(math.prod(x.shape) for x in event)
    # Components of what is no mixture are refused later, by those who ask for them.
    components = len(getattr(mixture_of(source), "components", ())) if reads_components(task) else 0
    summary = ROW_COLUMNS * num_outputs + 2 * min(num_outputs, MAX_TAILED) * components
    return FloatCounts(uniforms + num_outputs + components, summary + (num_outputs**2 if covariance == "full" else 0))


def _settled(points: Any, budget: Any) -> Any:
    """The points with whatever depends on the budget settled."""
    if isinstance(budget, Tolerance) and isinstance(points, Sobol) and points.size is None:
        return GrowingUnits(points, GROWING_UNITS)
    return points.for_budget(budget.count if isinstance(budget, Samples) else None)


def _look_size(budget: Tolerance, points: Any, execution: Execution) -> int:
    """Samples from look to look (of each unit that grows): few, so that an easy problem is not overshot."""
    grows = isinstance(points, GrowingUnits)
    least = points.num_units if grows else points.unit_size
    if budget.max_samples < least:
        what = f"one sample for each of {least} units" if grows else f"one unit of {least} samples"
        raise ValueError(f"Tolerance: max_samples of {budget.max_samples} is less than {what} of the points.")
    if execution.block_size is not None:
        return execution.block_size
    of_each = budget.max_samples // (least if grows else 1)
    return min(PREFIX_BLOCK if grows else LOOK_BLOCK, 2 ** int(math.log2(of_each)))


def _allocated(points: Any, proposal: Any) -> Any:
    """The points of a proposal with fixed counts."""
    counts = getattr(proposal, "counts", None)
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


def _combination(mis: Any, controls: Any, weighting: Any, source: Any) -> tuple[Any, Any]:
    """(heuristic or None for the mixture's own density, controls or None), checked against each other."""
    if mis is not None:
        if isinstance(mis, type) or not isinstance(mis, Heuristic):
            raise TypeError(f"estimate: mis must be a heuristic such as mc.mis.Power(), got {mis!r}.")
        if not hasattr(mixture_of(source), "components"):
            raise TypeError(
                f"estimate: mis combines the components of a mixture, and {type(source).__name__} is none; see "
                "mc.mixture and mc.multi_sample."
            )
    if isinstance(mis, Optimal):
        if controls is not None:
            raise ValueError("estimate: mis.Optimal has the components as controls; give it or controls, not both.")
        controls = Components(mis.pilot)
    offers = ("number", "columns", "pilot", "needs_terms")
    if controls is not None and (isinstance(controls, type) or not all(hasattr(controls, name) for name in offers)):
        raise TypeError(
            "estimate: controls must be mc.Controls(function, means), whose means are known, or mc.Components(), got "
            f"{controls!r}."
        )
    if controls is not None and (weighting.changes_weights or weighting.self_normalised):
        raise ValueError("estimate: controls need raw weights, whose mean they leave alone.")
    return (None if isinstance(mis, Balance | Optimal) else mis), controls


def _pilot(
    task: SamplingTask, num_samples: int | None, floats: FloatCounts, execution: Execution, source: Any
) -> PilotRun:
    with traced("the controls' function"):
        number = task.controls.number(event_struct(source), source)
    count = task.controls.pilot
    if count is None:
        budget = PILOT_WITHOUT_COUNT if num_samples is None else num_samples
        count = max(budget // 8, min(budget, 64 * number))
    # Independent samples whatever the points: their covariances are what a small pilot can tell.
    points = task.points if isinstance(task.points, Allocated) else IID()
    least = (number + UNITS_BESIDES) * points.unit_size
    if task.controls.pilot is not None and count < least:
        raise ValueError(
            f"estimate: a pilot of {count} samples is too small for {number} controls: it needs at least {least}, or "
            "their coefficients vary without bound."
        )
    count = max(count - count % points.unit_size, least)
    pilot = dataclasses.replace(task, points=points, covariance="diagonal")
    floats = FloatCounts(floats.sample + number, floats.summary + number * number)
    return PilotRun(pilot, block_plan(count, floats, execution, points.unit_size), count)


def pilot_key(key: Array) -> Array:
    """The pilot's key: of a block that no run reaches."""
    return jax.random.fold_in(key, 2**32 - 1)


def with_coefficients(task: SamplingTask, pilot_row: Any, num_outputs: int, xp: Any) -> SamplingTask:
    """The work with its controls' coefficients settled."""
    found = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, numerics.float_dtype()), regression_coefficients(pilot_row, num_outputs, xp)
    )
    return dataclasses.replace(task, coefficients=found)


def check_methods(caller: str, **methods: Any) -> None:
    """Raise unless each is an object that offers what its protocol asks for."""
    protocols = {"points": Points, "weighting": Weighting}
    for name, value in methods.items():
        if isinstance(value, type) or not isinstance(value, protocols[name]):
            raise TypeError(f"{caller}: {name} must be an object such as those of mc.{name}, got {value!r}.")
