"""`estimate_gradient`: the gradient of an expectation along parameters, with an error bar for every entry."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from mcengine.controls import ControlVariates
from mcengine.controls.controls import Controls
from mcengine.distributions import Distribution, as_distribution
from mcengine.distributions.protocol import has_density
from mcengine.engine.budgets import Budget
from mcengine.engine.estimate import estimate
from mcengine.execution.settings import Execution
from mcengine.gradients.checks import as_parameters, check_fixed_support, pathwise_source
from mcengine.gradients.ratio import WithOne, ratio_gradient
from mcengine.gradients.samples import (
    GivenParameters,
    OfImage,
    Parameters,
    PathwiseSample,
    PlainOf,
    ProposalOf,
    Score,
    ScoreSample,
    TargetOf,
    TargetOfUniforms,
    Uniforms,
)
from mcengine.inference.estimate import Estimate
from mcengine.numerics.tracing import is_traced
from mcengine.points import IID, Points
from mcengine.problems.expectation import Expectation
from mcengine.problems.protocol import Problem, check_problem
from mcengine.weights.weighting import Raw, Weighting


def estimate_gradient(
    key: PRNGKeyArray,
    problem_of: Callable[[Any], Problem],
    parameters: GivenParameters,
    proposal: Distribution | Callable[[Any], Distribution] | None = None,
    *,
    form: str = "score",
    baseline: bool = False,
    budget: Budget,
    points: Points = IID(),
    weighting: Weighting = Raw(),
    controls: ControlVariates | None = None,
    execution: Execution = Execution(),
) -> Estimate:
    """Estimate mu(theta) = E_p[f(X)] and grad mu, where p and f are those of `problem_of(theta)`.

    The gradient of each sample is one more output of an integrand, so intervals, ESS, k-hat, statuses, points and
    budgets are those of `estimate`. With w = p / q and s(x) = grad log p(x), at the given theta:

    - "score": x ~ q does not depend on theta; grad mu = E_q[w (grad f + f s)]. Needs a support that does not move.
    - "pathwise": x = T_theta(v) depends on theta; grad mu = E_v[grad (w f)(T_theta(v))]. Needs a transport and an f
      without jumps. For smooth f its variance is mostly smaller (for x^2 under N(m, 1), 4 instead of
      m^4 + 14 m^2 + 15).

    Works inside `jit` and `vmap`; `jax.jacobian` of the gradient in the score form is the Hessian.

    **Arguments:**

    - `key`: a key of `jax.random.key`.
    - `problem_of`: from parameters to an `Expectation`, `Integral` or `Probability`. A new lambda is a new compilation.
    - `parameters` theta: a pytree of floats and arrays of floats.
    - `proposal` q: a distribution, or a function of the parameters; None is plain Monte Carlo. In the score form it is
      held fixed: theta changes p and f, but not the samples. In the pathwise form it must be a function.
    - `form`: "score" or "pathwise".
    - `baseline`: subtracts beta s(x), whose mean is 0, from every output of the score form; a pilot estimates beta.
    - `budget`, `points`, `execution`: as in `estimate`.
    - `weighting`: as in `estimate`. Self-normalised weights, for targets known up to a constant (which may depend on
      theta), give the gradient of the ratio, grad mu = E_p[grad f + f s] - mu E_p[s]; see `RatioGradient`.
    - `controls`: as in `estimate`, with means under the target.

    **Returns:** an `Estimate` of {"value": mu, "gradient": grad mu}. The gradient has the structure of the parameters;
    if f is an array it is a Jacobian, as `jax.jacobian` returns it.

    **Raises:** `TypeError` for parameters that are not floats and a `problem_of` that does not return a problem;
    `ValueError` for the pathwise form of discrete samples, an indicator or a fixed proposal, and for the score form if
    the support moves and the sample mean of s is not 0.

    Fails silently if f has a jump by `jnp.where` in the pathwise form: the gradient lacks the contribution of the jump
    (`Probability` raises instead). A parameter without effect has the status of no hits.

    Source: P. Glasserman, Monte Carlo Methods in Financial Engineering, chapter 7; Mohamed et al. (2020), JMLR 21.
    """
    if weighting.self_normalised:
        if baseline:
            raise ValueError(
                "estimate_gradient: the baseline needs a score with mean 0, and the score of a density without its "
                "constant has an unknown mean. Leave out baseline, or use raw weights of a normalised target."
            )
        _problem_at(problem_of, as_parameters("estimate_gradient", parameters))
        problem_of = WithOne(problem_of)
    problem, source, known = gradient_problem(problem_of, parameters, proposal, form=form, controls=controls)
    if baseline:
        known = _with_score(known, problem_of, parameters, form)
    run = estimate(
        key, problem, source, budget=budget, points=points, weighting=weighting, controls=known, execution=execution,
        covariance="full" if weighting.self_normalised else "diagonal",
    )  # fmt: skip
    return ratio_gradient(run) if weighting.self_normalised else run


def gradient_problem(
    problem_of: Callable[[Any], Problem],
    parameters: GivenParameters,
    proposal: Distribution | Callable[[Any], Distribution] | None = None,
    *,
    form: str = "score",
    controls: ControlVariates | None = None,
) -> tuple[Expectation, Distribution | None, ControlVariates | None]:
    """(problem, proposal, controls) whose estimate is that of `estimate_gradient`: for `replicate`, and for sweeps.

    **Arguments and errors:** as in `estimate_gradient`.
    """
    if form not in ("score", "pathwise"):
        raise ValueError(f"estimate_gradient: form must be 'score' or 'pathwise', got {form!r}.")
    theta = as_parameters("estimate_gradient", parameters)
    problem = _problem_at(problem_of, theta)
    proposal_of = proposal if callable(proposal) and not has_density(proposal) else None
    if form == "pathwise":
        if proposal is not None and proposal_of is None:
            raise ValueError(
                "estimate_gradient: the samples of a fixed proposal do not move with the parameters. Use form='score', "
                "or give the proposal of the pathwise form as a function of the parameters."
            )
        return _pathwise_problem(problem_of, theta, proposal_of, controls)
    check_fixed_support("estimate_gradient", TargetOf(problem_of), theta)
    source = proposal if proposal_of is None else proposal_of(theta)
    if source is None and (is_traced(theta) or problem.plain is not problem.target):
        # With traced parameters a second derivative is then the Hessian, and not a pathwise derivative of the score.
        source = problem.plain
    source = None if source is None else _without_gradient(as_distribution(source))
    return Expectation(ScoreSample(problem_of, theta), problem.target), source, controls


def score_control(
    problem_of: Callable[[Any], Problem], parameters: GivenParameters, pilot: int | None = None
) -> Controls:
    """grad log p(x) as controls, with means 0 under p: what `baseline=True` adds to the score form.

    **Arguments:** `problem_of` and `parameters` as in `estimate_gradient`; `pilot` as in `Controls`.
    """
    theta = as_parameters("estimate_gradient", parameters)
    return Controls(Score(TargetOf(problem_of), theta), jax.tree.map(jnp.zeros_like, theta), pilot)


def _problem_at(problem_of: Callable[[Any], Problem], parameters: Parameters) -> Problem:
    """`problem_of(parameters)`, checked."""
    if not callable(problem_of):
        raise TypeError(f"estimate_gradient: problem_of must be a function of the parameters, got {problem_of!r}.")
    return check_problem("estimate_gradient: problem_of must return", problem_of(parameters))


def _pathwise_problem(
    problem_of: Callable[[Any], Problem],
    parameters: Parameters,
    proposal_of: Callable[[Any], Distribution] | None,
    controls: ControlVariates | None,
) -> tuple[Expectation, Distribution | None, Controls | None]:
    source_of = PlainOf(problem_of) if proposal_of is None else ProposalOf(proposal_of)
    problem, source = problem_of(parameters), pathwise_source("estimate_gradient", source_of(parameters))
    uniforms = Uniforms(source.num_uniforms)
    is_weighted = proposal_of is not None or problem.plain is not problem.target
    integrand = PathwiseSample(problem_of, source_of, parameters, is_weighted)
    known = None
    if controls is not None:
        functions = _require_functions(controls)
        known = Controls(OfImage(functions.function, source), functions.means, functions.pilot)
    if not is_weighted:
        return Expectation(integrand, uniforms), None, known
    return Expectation(integrand, TargetOfUniforms(problem.target, source)), uniforms, known


class _Both(eqx.Module):
    """x -> (first(x), second(x))."""

    first: Callable[[Any], Any]
    second: Callable[[Any], Any]

    def __call__(self, x: Any) -> tuple[Any, Any]:
        return self.first(x), self.second(x)


def _with_score(
    controls: ControlVariates | None,
    problem_of: Callable[[Any], Problem],
    parameters: GivenParameters,
    form: str,
) -> Controls:
    """The controls together with the score."""
    if form != "score":
        raise ValueError("estimate_gradient: the baseline is a control of the score form; the pathwise form has none.")
    score = score_control(problem_of, parameters)
    if controls is None:
        return score
    functions = _require_functions(controls)
    both = _Both(functions.function, score.function)
    return Controls(both, (functions.means, score.means), functions.pilot)


def _require_functions(controls: ControlVariates) -> Controls:
    if not isinstance(controls, Controls):
        raise TypeError(
            "estimate_gradient: controls must be mc.Controls(function, means) for the pathwise form and together with "
            f"the baseline, got {controls!r}."
        )
    return controls


def _without_gradient(distribution: Distribution) -> Distribution:
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, distribution)
