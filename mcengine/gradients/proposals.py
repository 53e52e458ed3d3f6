"""`estimate_proposal_gradient`: which way a proposal's parameters should go, with an error bar.

The mean of w f does not depend on them; its variance does, and so does the distance to the best proposal, p |f|.
"""

from collections.abc import Callable
from typing import Any, no_type_check

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import numerics, weights
from mcengine.engine.budgets import Budget
from mcengine.engine.estimate import estimate
from mcengine.execution.settings import Execution
from mcengine.gradients.checks import as_parameters, check_fixed_support, check_moves, problem_at
from mcengine.gradients.samples import ProposalOf, Score, Uniforms
from mcengine.inference.estimate import Estimate
from mcengine.points import IID, Points
from mcengine.problems.expectation import Expectation
from mcengine.weights.weighting import SelfNormalised

POWERS = {"variance": 2.0, "cross_entropy": 1.0}


@no_type_check  # it checks its arguments in the user's words
def estimate_proposal_gradient(
    key: ArrayLike,
    problem: Any,
    proposal_of: Callable[[Any], Any],
    parameters: Any,
    *,
    objective: str = "variance",
    form: str = "score",
    budget: Budget,
    points: Points = IID(),
    execution: Execution = Execution(),
) -> Estimate:
    """Estimate the gradient along the parameters phi of the proposal q of how badly q suits the problem.

    - objective "variance": grad log E_q[(w f)^2]. The variance of w f is that second moment less mu^2.
    - objective "cross_entropy": grad KL(p |f| / Z || q), the distance to the best proposal there is.

    Both are -E_q[h s] / E_q[h], h = (w |f|)^a with a = 2 or 1 and s = grad log q: a self-normalised mean, whose error
    bar is the delta method's. In the "pathwise" form, samples x = T_phi(v) move, and the mean of h s is that of
    h grad log h_0(x), h_0 not moving itself: smaller variance where f is smooth, and none where q is p |f| / Z.

    **Arguments:** `problem`, with one number as f; `proposal_of`, from `parameters` (a pytree of floats) to a
    distribution that reaches all of p f; the rest as in `estimate`. It works inside `jit`, so an optimiser can step
    along it.

    **Returns:** an `Estimate` of the structure of the parameters.

    **Raises:** `TypeError` and `ValueError` as `estimate_gradient`; the pathwise form for a `Probability` too.

    When it lies: a proposal that never meets where f is large sees no reason to go there; k-hat of h says so only where
    some samples do. Tails of (w f)^2 are heavier than those of w f.

    Source: R. Rubinstein and D. Kroese, The Cross-Entropy Method (2004), section 3; G. Tucker et al., Doubly
    reparameterized gradient estimators (ICLR 2019), section 3, for the pathwise form.
    """
    caller = "estimate_proposal_gradient"
    if objective not in POWERS:
        raise ValueError(f"{caller}: objective must be 'variance' or 'cross_entropy', got {objective!r}.")
    if form not in ("score", "pathwise"):
        raise ValueError(f"{caller}: form must be 'score' or 'pathwise', got {form!r}.")
    parameters = as_parameters(caller, parameters)
    problem_at(caller, lambda _: problem, parameters)
    law_of = ProposalOf(proposal_of)
    proposal = law_of(parameters)
    merit = Merit(problem, proposal, jnp.asarray(POWERS[objective], numerics.float_dtype()))
    if form == "score":
        check_fixed_support(caller, law_of, parameters)
        gradient, source = Expectation(_Negative(Score(law_of, parameters)), _Tilted(merit, proposal)), proposal
    else:
        check_moves(caller, proposal)
        gradient = Expectation(_MovedMerit(merit, law_of, parameters), _MeritOfImage(merit, proposal))
        source = Uniforms(proposal.num_uniforms)
    return estimate(
        key, gradient, source, budget=budget, points=points, weighting=SelfNormalised(), execution=execution
    )


class Merit(eqx.Module):
    """log h(x) = a (log w(x) + log |f(x)|), w = p / q: how much a sample counts."""

    problem: Any
    proposal: Any
    power: Float[Array, ""]

    def __call__(self, x) -> Float[Array, ""]:
        f = self.problem.integrand(x)
        if len(jax.tree.leaves(f)) != 1 or jnp.shape(jax.tree.leaves(f)[0]) != ():
            raise ValueError("estimate_proposal_gradient: the integrand must return one number; choose one output.")
        size = jnp.abs(jnp.asarray(jax.tree.leaves(f)[0], numerics.float_dtype()))
        # A NaN is passed on: it is no zero.
        log_size = jnp.where(size == 0, -jnp.inf, jnp.log(jnp.where(size == 0, 1.0, size)))
        log_w = weights.log_ratio(self.problem.target.log_prob(x), self.proposal.log_prob(x))
        return self.power * (log_w + log_size)


class _Tilted(eqx.Module):
    """The density h q, up to a constant."""

    merit: Merit
    proposal: Any

    def log_prob(self, x) -> Float[Array, ""]:
        return self.merit(x) + self.proposal.log_prob(x)


class _MeritOfImage(eqx.Module):
    """The density h(T(v)) of the uniforms, up to a constant."""

    merit: Merit
    proposal: Any

    def log_prob(self, v) -> Float[Array, ""]:
        return self.merit(self.proposal.forward(v)[0])


class _MovedMerit(eqx.Module):
    """v -> -grad log h_0(T_phi(v)): only the sample moves."""

    merit: Merit
    law_of: Callable[[Any], Any]
    parameters: Any

    def __call__(self, v):
        return jax.grad(lambda parameters: -self.merit(self.law_of(parameters).forward(v)[0]))(self.parameters)


class _Negative(eqx.Module):
    """x -> -score(x)."""

    score: Score

    def __call__(self, x):
        return jax.tree.map(jnp.negative, self.score(x))
