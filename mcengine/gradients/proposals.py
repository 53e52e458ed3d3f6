"""`estimate_proposal_gradient`: the gradient of a proposal's variance, or of its divergence from the best proposal.

The mean of w f does not depend on the proposal's parameters. Its variance does, and so does KL(p |f| / Z || q).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics, weights
from mcengine.distributions import Distribution
from mcengine.distributions.protocol import Transport
from mcengine.engine.budgets import Budget
from mcengine.engine.estimate import estimate
from mcengine.execution.settings import Execution
from mcengine.gradients.checks import as_parameters, check_fixed_support, pathwise_source
from mcengine.gradients.samples import GivenParameters, Parameters, ProposalOf, Score, Uniforms
from mcengine.inference.estimate import Estimate
from mcengine.points import IID, Points
from mcengine.problems.expectation import Expectation
from mcengine.problems.protocol import Problem, check_problem
from mcengine.weights.weighting import SelfNormalised

# The power a of each objective.
POWERS = {"variance": 2.0, "cross_entropy": 1.0}


def estimate_proposal_gradient(
    key: PRNGKeyArray,
    problem: Problem,
    proposal_of: Callable[[Any], Distribution],
    parameters: GivenParameters,
    *,
    objective: str = "variance",
    form: str = "score",
    budget: Budget,
    points: Points = IID(),
    execution: Execution = Execution(),
) -> Estimate:
    """Estimate the gradient of an objective along the parameters phi of the proposal q.

    - objective "variance": grad log E_q[(w f)^2]. The variance of w f is that second moment less mu^2.
    - objective "cross_entropy": grad KL(p |f| / Z || q), the divergence of q from the best proposal.

    Both are -E_q[h s] / E_q[h], h = (w |f|)^a with a = 2 or 1 and s = grad log q: a self-normalised mean, with error
    bars by the delta method. In the "pathwise" form the samples x = T_phi(v) move, and E_q[h s] is the mean of
    h grad log h_0(x), where h_0 does not depend on phi. Its variance is smaller if f is smooth, and 0 if q = p |f| / Z.

    Works inside `jit`, so that an optimiser can use it.

    **Arguments:**

    - `key`: a key of `jax.random.key`.
    - `problem`: its integrand returns one number.
    - `proposal_of`: from parameters to a distribution with a density wherever p f is not 0.
    - `parameters` phi: a pytree of floats and arrays of floats.
    - `objective`: "variance" or "cross_entropy".
    - `form`: "score" or "pathwise".
    - `budget`, `points`, `execution`: as in `estimate`.

    **Returns:** an `Estimate` with the structure of the parameters.

    **Raises:** `TypeError` and `ValueError` as `estimate_gradient`; also for the pathwise form of a `Probability`.

    Fails silently if the proposal draws no samples where f is large: the gradient then does not point there. k-hat of h
    shows it only if there are a few such samples. The tails of (w f)^2 are heavier than those of w f.

    Source: R. Rubinstein and D. Kroese, The Cross-Entropy Method (2004), section 3; G. Tucker et al., Doubly
    reparameterized gradient estimators (ICLR 2019), section 3, for the pathwise form.
    """
    caller = "estimate_proposal_gradient"
    if objective not in POWERS:
        raise ValueError(f"{caller}: objective must be 'variance' or 'cross_entropy', got {objective!r}.")
    if form not in ("score", "pathwise"):
        raise ValueError(f"{caller}: form must be 'score' or 'pathwise', got {form!r}.")
    phi = as_parameters(caller, parameters)
    check_problem(f"{caller}: problem must be", problem)
    distribution_of = ProposalOf(proposal_of)
    proposal = distribution_of(phi)
    contribution = LogContribution(problem, proposal, jnp.asarray(POWERS[objective], numerics.float_dtype()))
    if form == "score":
        check_fixed_support(caller, distribution_of, phi)
        target = _ContributionDensity(contribution, proposal)
        gradient, source = Expectation(_NegativeScore(Score(distribution_of, phi)), target), proposal
    else:
        transport = pathwise_source(caller, proposal)
        target = _ContributionOfUniforms(contribution, transport)
        gradient = Expectation(_NegativePathwiseScore(contribution, distribution_of, phi), target)
        source = Uniforms(transport.num_uniforms)
    return estimate(
        key, gradient, source, budget=budget, points=points, weighting=SelfNormalised(), execution=execution
    )


class LogContribution(eqx.Module):
    """log h(x) = a (log w(x) + log |f(x)|), w = p / q: the power a of a sample's contribution to the mean."""

    problem: Problem
    proposal: Distribution
    power: Float[Array, ""]

    def __call__(self, x: Any) -> Float[Array, ""]:
        f = self.problem.integrand(x)
        if len(jax.tree.leaves(f)) != 1 or jnp.shape(jax.tree.leaves(f)[0]) != ():
            raise ValueError("estimate_proposal_gradient: the integrand must return one number; choose one output.")
        size = jnp.abs(jnp.asarray(jax.tree.leaves(f)[0], numerics.float_dtype()))
        # `size == 0` is false for NaN, which is passed on.
        log_size = jnp.where(size == 0, -jnp.inf, jnp.log(jnp.where(size == 0, 1.0, size)))
        log_w = weights.log_ratio(self.problem.target.log_prob(x), self.proposal.log_prob(x))
        return self.power * (log_w + log_size)


class _ContributionDensity(eqx.Module):
    """The density h q, up to a constant."""

    contribution: LogContribution
    proposal: Distribution

    def log_prob(self, x: Any) -> Float[Array, ""]:
        return self.contribution(x) + self.proposal.log_prob(x)


class _ContributionOfUniforms(eqx.Module):
    """The density h(T(v)) of the uniforms, up to a constant."""

    contribution: LogContribution
    proposal: Transport

    def log_prob(self, v: Float[Array, " num_uniforms"]) -> Float[Array, ""]:
        return self.contribution(self.proposal.forward(v)[0])


class _NegativePathwiseScore(eqx.Module):
    """v -> -grad log h_0(T_phi(v)), where h_0 does not depend on phi."""

    contribution: LogContribution
    distribution_of: Callable[[Any], Distribution]
    parameters: Parameters

    def __call__(self, v: Float[Array, " num_uniforms"]) -> Parameters:
        def negative(parameters: Parameters) -> Float[Array, ""]:
            return -self.contribution(self.distribution_of(parameters).forward(v)[0])

        return jax.grad(negative)(self.parameters)


class _NegativeScore(eqx.Module):
    """x -> -score(x)."""

    score: Score

    def __call__(self, x: Any) -> Parameters:
        return jax.tree.map(jnp.negative, self.score(x))
