"""The value of a policy as an expectation over trajectories, with weights of trajectories or of decisions."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from mcengine import weights
from mcengine.numerics.values import as_parameter, concrete
from mcengine.problems.expectation import Expectation
from mcengine.proposals import Defensive, defensive
from mcengine.rl.problems.logged import load_tabular_mdp
from mcengine.rl.problems.mdp import Policy, TabularMDP, require_probabilities, value_of_policy
from mcengine.rl.problems.trajectories import Trajectories, Trajectory, safe_log


class DiscountedReturn(eqx.Module):
    """f(trajectory) = sum_t discount^t r_t."""

    discount: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __call__(self, trajectory: Trajectory) -> Float[Array, ""]:
        return jnp.sum(discounts(self.discount, trajectory) * trajectory.rewards)


class PerDecisionReturn(eqx.Module):
    """f(trajectory) = sum_t discount^t w_{0:t} r_t, w_{0:t} = prod_{i<=t} target[s_i, a_i] / behaviour[s_i, a_i].

    A reward is weighted by the decisions up to it; later ones cannot have affected it. The result is infinite or NaN
    for an action to which the behaviour policy gives probability 0.

    **Source:** D. Precup, R. S. Sutton, S. Singh, Eligibility traces for off-policy policy evaluation, ICML 2000,
    section 3 (per-decision importance sampling).
    """

    discount: Float[Array, ""] = eqx.field(converter=as_parameter)
    target: Float[Array, "states actions"] = eqx.field(converter=as_parameter)
    behaviour: Float[Array, "states actions"] = eqx.field(converter=as_parameter)

    def __call__(self, trajectory: Trajectory) -> Float[Array, ""]:
        log_ratios = weights.log_ratio(safe_log(self.target), safe_log(self.behaviour))

        def step(
            carry: tuple[Array, Array, Array], at_t: tuple[Int[Array, ""], Int[Array, ""], Array]
        ) -> tuple[tuple[Array, Array, Array], None]:
            (log_w, discount_t, total), (state, action, reward) = carry, at_t
            log_w = log_w + log_ratios[state, action]
            total = total + discount_t * weights.from_log(log_w) * reward
            return (log_w, discount_t * self.discount, total), None

        # A loop, because `jnp.cumsum` over the steps of many trajectories takes ten times as long.
        zero, one = jnp.zeros_like(self.discount), jnp.ones_like(self.discount)
        return lax.scan(step, (zero, one, zero), trajectory)[0][2]


def discounts(discount: Float[Array, ""], trajectory: Trajectory) -> Float[Array, " horizon"]:
    """discount^t for t = 0..horizon-1."""
    return discount ** jnp.arange(trajectory.rewards.shape[0], dtype=discount.dtype)


def policy_value(mdp: TabularMDP, target_policy: Policy, exact: ArrayLike | None = None) -> Expectation:
    """E[discounted return] under `target_policy`.

    Without a proposal, trajectories are drawn from the target policy. With the proposal `Trajectories(mdp, behaviour)`
    this is importance sampling of whole trajectories, with weights prod_t target / behaviour; with self-normalised
    weighting it is weighted importance sampling (WIS).

    **Arguments:** `target_policy`, [S, A]; `exact`, the true value, by default from dynamic programming.
    """
    target = Trajectories(mdp, target_policy)
    exact = value_of_policy(mdp, target.policy) if exact is None else exact
    return Expectation(DiscountedReturn(mdp.discount), target, exact=exact)


def per_decision_value(
    mdp: TabularMDP, target_policy: Policy, behaviour_policy: Policy, exact: ArrayLike | None = None
) -> Expectation:
    """The same value as an expectation under `behaviour_policy`, with weights of decisions (PDIS).

    The weights are part of the integrand (`PerDecisionReturn`), so without a proposal trajectories are drawn from the
    behaviour policy.

    **Arguments:** both policies, [S, A]; `exact` as in `policy_value`.

    **Raises:** `ValueError` if the target policy takes an action that the behaviour policy never takes.
    """
    behaviour = Trajectories(mdp, behaviour_policy)
    target = as_parameter(target_policy)
    require_probabilities("per_decision_value", "target_policy", target, behaviour.policy.shape)
    require_coverage(target, behaviour.policy)
    integrand = PerDecisionReturn(mdp.discount, target, behaviour.policy)
    return Expectation(integrand, behaviour, exact=value_of_policy(mdp, target) if exact is None else exact)


def require_coverage(target: Array, behaviour: Array) -> None:
    """Raise if the target policy takes an action that the behaviour policy never takes: no weight corrects that."""
    known_target, known_behaviour = concrete(target), concrete(behaviour)
    if known_target is None or known_behaviour is None:
        return
    missing = np.argwhere((known_target > 0) & (known_behaviour == 0))
    if len(missing):
        state, action = missing[0].tolist()
        raise ValueError(
            f"The behaviour policy never takes action {action} in state {state}, which the target policy takes with "
            f"probability {known_target[state, action]}: data of the behaviour policy cannot show its value."
        )


def tabular_mdp(
    horizon: int | None = None, discount: ArrayLike | None = None, reward_noise: ArrayLike | None = None
) -> Expectation:
    """`policy_value` of the target policy in the MDP of `load_tabular_mdp`; arguments as there."""
    logged = load_tabular_mdp(horizon, discount, reward_noise)
    return policy_value(logged.mdp, logged.target, logged.exact)


def per_decision_tabular_mdp(
    horizon: int | None = None, discount: ArrayLike | None = None, reward_noise: ArrayLike | None = None
) -> Expectation:
    """`per_decision_value` of both policies in the MDP of `load_tabular_mdp`; arguments as there."""
    logged = load_tabular_mdp(horizon, discount, reward_noise)
    return per_decision_value(logged.mdp, logged.target, logged.behaviour, logged.exact)


def behaviour_trajectories(problem: Expectation, behaviour_policy: Policy | None = None) -> Trajectories:
    """Trajectories of the behaviour policy in the MDP of a `policy_value` problem: a proposal.

    **Arguments:** `behaviour_policy`, [S, A], by default that of `load_tabular_mdp`.

    **Raises:** `ValueError` if the problem's policy takes an action that the behaviour policy never takes; `TypeError`
    for another problem.
    """
    policy = load_tabular_mdp().behaviour if behaviour_policy is None else behaviour_policy
    target = _target_of(problem)
    behaviour = Trajectories(target.mdp, policy)
    require_coverage(target.policy, behaviour.policy)
    return behaviour


def mixed_trajectories(
    problem: Expectation, behaviour_share: float = 0.5, behaviour_policy: Policy | None = None
) -> Defensive:
    """Trajectories of a defensive mixture: of the behaviour policy with probability `behaviour_share`, else of the
    target policy.

    Weights are at most 1 / (1 - behaviour_share) for any policies, so the behaviour policy may lack actions.

    **Arguments:** `behaviour_policy`, [S, A], by default that of `load_tabular_mdp`.
    """
    policy = load_tabular_mdp().behaviour if behaviour_policy is None else behaviour_policy
    target = _target_of(problem)
    return defensive(target, Trajectories(target.mdp, policy), 1.0 - behaviour_share)


def _target_of(problem: Expectation) -> Trajectories:
    if not isinstance(problem.target, Trajectories):
        raise TypeError(f"The problem must be over trajectories of an MDP, got {type(problem.target).__name__}.")
    return problem.target
