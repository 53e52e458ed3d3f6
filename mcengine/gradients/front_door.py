"""`estimate_gradient`: the gradient of an expectation along parameters, with the error bar of everything else."""

from collections.abc import Callable
from typing import Any, no_type_check

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mcengine.controls.controls import Controls
from mcengine.distributions import as_distribution
from mcengine.engine.budgets import Budget
from mcengine.engine.estimate import estimate
from mcengine.execution.settings import Execution
from mcengine.gradients.checks import as_parameters, check_fixed_support, check_moves, problem_at
from mcengine.gradients.ratio import BesideOne, ratio_gradient
from mcengine.gradients.samples import (
    Image,
    PathwiseSample,
    PlainOf,
    ProposalOf,
    Score,
    ScoreSample,
    TargetOf,
    Uniforms,
    WeightOfImage,
)
from mcengine.inference.estimate import Estimate
from mcengine.numerics.tracing import is_traced
from mcengine.points import IID, Points
from mcengine.problems.expectation import Expectation
from mcengine.weights.weighting import Raw, Weighting


@no_type_check  # it checks its arguments in the user's words
def estimate_gradient(
    key: ArrayLike,
    problem_of: Callable[[Any], Any],
    parameters: Any,
    proposal: Any = None,
    *,
    form: str = "score",
    baseline: bool = False,
    budget: Budget,
    points: Points = IID(),
    weighting: Weighting = Raw(),
    controls: Controls | None = None,
    execution: Execution = Execution(),
) -> Estimate:
    """Estimate mu(theta) = E_p[f(X)] and grad mu, p and f of `problem_of(theta)`, with an error bar for every entry.

    Each sample's gradient is one more integrand, so intervals, ESS, k-hat, statuses, points and budgets are those of
    `estimate`. With w = p / q and s(x) = grad log p(x), always at the given theta:

    - "score": x ~ q stays where it is; grad mu = E_q[w (grad f + f s)]. Needs a support that does not move.
    - "pathwise": x = T_theta(v) moves with theta; grad mu = E_v[grad (w f)(T_theta(v))]. Needs a transport and an f
      without jumps; where f is smooth it mostly has the smaller variance (for x^2 under N(m, 1), 4 against
      m^4 + 14 m^2 + 15).

    **Arguments:**

    - `problem_of`: from parameters to an `Expectation`, `Integral` or `Probability`. A new lambda is a new compilation.
    - `parameters` theta: a pytree of floats; the gradient has its structure.
    - `proposal` q: a distribution, or a function of the parameters; None is plain Monte Carlo. In the score form it is
      frozen: theta moves p and f, never the samples. In the pathwise form it must be a function.
    - `baseline`: takes beta s(x), whose mean is 0, out of every output of the score form; beta comes from a pilot.
    - `budget`, `points`, `weighting`, `controls`, `execution`: as in `estimate`. The means of `controls` are under the
      target. Self-normalised weights give the gradient of the ratio, grad mu = E_p[grad f + f s] - mu E_p[s], for
      targets known up to a constant (which may depend on theta); see `RatioGradient`.

    **Returns:** an `Estimate` of {"value": mu, "gradient": grad mu}; where f is an array, the gradient is a Jacobian as
    `jax.jacobian` has it. It works inside `jit` and `vmap`; `jax.jacobian` of the score form's gradient is the Hessian.

    **Raises:** `TypeError` for parameters that are no floats and a `problem_of` that returns no problem; `ValueError`
    for the pathwise form of discrete samples, an indicator or a fixed proposal, and for the score form where the
    support is seen to move and E_p[s] not to be 0.

    When it lies: a jump of f that comes by `jnp.where` is invisible to the pathwise form, whose gradient then lacks
    what happens at the jump; `Probability` raises instead. A parameter without effect has no hits, and that status.

    Source: P. Glasserman, Monte Carlo Methods in Financial Engineering, chapter 7; Mohamed et al. (2020), JMLR 21.
    """
    if weighting.self_normalised:
        if baseline:
            raise ValueError(
                "estimate_gradient: the mean of the score, which the baseline takes for 0, is not known of a density "
                "without its constant. Leave out baseline, or use raw weights of a normalised target."
            )
        problem_at("estimate_gradient", problem_of, as_parameters("estimate_gradient", parameters))
        problem_of = BesideOne(problem_of)
    problem, source, known = gradient_problem(problem_of, parameters, proposal, form=form, controls=controls)
    if baseline:
        known = _with_score(known, problem_of, parameters, form)
    run = estimate(
        key, problem, source, budget=budget, points=points, weighting=weighting, controls=known, execution=execution,
        covariance="full" if weighting.self_normalised else "diagonal",
    )  # fmt: skip
    return ratio_gradient(run) if weighting.self_normalised else run


@no_type_check
def gradient_problem(
    problem_of: Callable[[Any], Any],
    parameters: Any,
    proposal: Any = None,
    *,
    form: str = "score",
    controls: Controls | None = None,
) -> tuple[Any, Any, Any]:
    """(problem, proposal, controls) whose estimate is that of `estimate_gradient`: for `replicate`, and for sweeps."""
    if form not in ("score", "pathwise"):
        raise ValueError(f"estimate_gradient: form must be 'score' or 'pathwise', got {form!r}.")
    parameters = as_parameters("estimate_gradient", parameters)
    problem = problem_at("estimate_gradient", problem_of, parameters)
    moving = callable(proposal) and not hasattr(proposal, "log_prob")
    if form == "pathwise":
        return _pathwise(problem_of, parameters, problem, proposal, moving, controls)
    check_fixed_support("estimate_gradient", TargetOf(problem_of), parameters)
    source = proposal(parameters) if moving else proposal
    if source is None and (is_traced(parameters) or problem.plain is not problem.target):
        # Traced: whoever differentiates again gets the Hessian, and not a pathwise derivative of the score.
        source = problem.plain
    source = None if source is None else _frozen(as_distribution(source))
    return Expectation(ScoreSample(problem_of, parameters), problem.target), source, controls


def score_control(problem_of: Callable[[Any], Any], parameters: Any, pilot: int | None = None) -> Controls:
    """grad log p(x) as controls, whose means under p are 0: what `baseline=True` adds to the score form."""
    parameters = as_parameters("estimate_gradient", parameters)
    return Controls(Score(TargetOf(problem_of), parameters), jax.tree.map(jnp.zeros_like, parameters), pilot)


def _pathwise(problem_of, parameters, problem, proposal, moving: bool, controls) -> tuple[Any, Any, Any]:
    if proposal is not None and not moving:
        raise ValueError(
            "estimate_gradient: the samples of a fixed proposal do not move with the parameters. Use form='score', or "
            "give the proposal of the pathwise form as a function of the parameters."
        )
    source_of = PlainOf(problem_of) if proposal is None else ProposalOf(proposal)
    source = source_of(parameters)
    check_moves("estimate_gradient", source)
    uniforms = Uniforms(source.num_uniforms)
    weighted = proposal is not None or problem.plain is not problem.target
    integrand = PathwiseSample(problem_of, source_of, parameters, weighted)
    if controls is not None:
        _require_functions(controls)
        controls = Controls(Image(controls.function, source), controls.means, controls.pilot)
    if not weighted:
        return Expectation(integrand, uniforms), None, controls
    return Expectation(integrand, WeightOfImage(problem.target, source)), uniforms, controls


class _Together(eqx.Module):
    """x -> (first(x), second(x))."""

    first: Callable[[Any], Any]
    second: Callable[[Any], Any]

    def __call__(self, x):
        return self.first(x), self.second(x)


def _with_score(controls: Any, problem_of: Any, parameters: Any, form: str) -> Controls:
    if form != "score":
        raise ValueError("estimate_gradient: the baseline is a control of the score form; the pathwise form has none.")
    score = score_control(problem_of, parameters)
    if controls is None:
        return score
    _require_functions(controls)
    both = _Together(controls.function, score.function)
    return Controls(both, (controls.means, score.means), controls.pilot)


def _require_functions(controls: Any) -> None:
    if not isinstance(controls, Controls):
        raise TypeError(
            "estimate_gradient: controls must be mc.Controls(function, means) for the pathwise form and beside the "
            f"baseline, got {controls!r}."
        )


def _frozen(distribution: Any) -> Any:
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, distribution)
