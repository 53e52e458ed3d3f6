"""The value of a policy as an expectation over trajectories, weighted whole or decision by decision."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.numerics.values import as_parameter, concrete
from mcengine.problems.expectation import Expectation
from mcengine.proposals import Defensive, defensive
from mcengine.rl.problems.logged import load_tabular_mdp
from mcengine.rl.problems.mdp import TabularMDP, require_probabilities, value_of_policy
from mcengine.rl.problems.trajectories import Trajectories, Trajectory, safe_log


class DiscountedReturn(eqx.Module):
    """f(trajectory) = sum_t discount^t r_t."""

    discount: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __call__(self, trajectory: Trajectory) -> Float[Array, ""]:
        return jnp.sum(discounts(self.discount, trajectory) * trajectory.rewards)


class PerDecisionReturn(eqx.Module):
    """f(trajectory) = sum_t discount^t w_{0:t} r_t, w_{0:t} = prod_{i<=t} target[s_i, a_i] / behaviour[s_i, a_i].

    A reward is weighted by the decisions that came before it and not by later ones, which cannot have caused it.
    Infinite or NaN where the behaviour policy has probability 0 for what it is said to have done.

    Source: D. Precup, R. S. Sutton, S. Singh, "Eligibility traces for off-policy policy evaluation", ICML 2000,
    section 3 (per-decision importance sampling).
    """

    discount: Float[Array, ""] = eqx.field(converter=as_parameter)
    target: Float[Array, "states actions"] = eqx.field(converter=as_parameter)
    behaviour: Float[Array, "states actions"] = eqx.field(converter=as_parameter)

    def __call__(self, trajectory: Trajectory) -> Float[Array, ""]:
        log_ratios = weights.log_ratio(safe_log(self.target), safe_log(self.behaviour))

        def step(carry, at_t):
            (log_w, discount_t, total), (state, action, reward) = carry, at_t
            log_w = log_w + log_ratios[state, action]
            total = total + discount_t * weights.from_log(log_w) * reward
            return (log_w, discount_t * self.discount, total), None

        # A loop: `jnp.cumsum` over the steps of many trajectories takes ten times as long.
        zero, one = jnp.zeros_like(self.discount), jnp.ones_like(self.discount)
        return lax.scan(step, (zero, one, zero), trajectory)[0][2]


def discounts(discount: Float[Array, ""], trajectory: Trajectory) -> Float[Array, " horizon"]:
    """discount^t for t = 0..horizon-1."""
    return discount ** jnp.arange(trajectory.rewards.shape[0], dtype=discount.dtype)


def policy_value(mdp: TabularMDP, target_policy, exact=None) -> Expectation:
    """E[discounted return] under `target_policy` [S, A]; `exact` by dynamic programming if not given.

    Plain Monte Carlo follows the target policy itself. With `Trajectories(mdp, behaviour)` as the proposal it is
    importance sampling of whole trajectories, with weight prod_t target / behaviour; with self-normalised weighting
    it is weighted importance sampling (WIS).
    """
    target = Trajectories(mdp, target_policy)
    exact = value_of_policy(mdp, target.policy) if exact is None else exact
    return Expectation(DiscountedReturn(mdp.discount), target, exact=exact)


def per_decision_value(mdp: TabularMDP, target_policy, behaviour_policy, exact=None) -> Expectation:
    """The same value as an expectation under `behaviour_policy` [S, A], weighted decision by decision (PDIS).

    The weights are inside the integrand (`PerDecisionReturn`), so here plain Monte Carlo is the old policy's data.

    **Raises:** `ValueError` where the target policy can do what the behaviour policy never does.
    """
    behaviour = Trajectories(mdp, behaviour_policy)
    target = as_parameter(target_policy)
    require_probabilities("per_decision_value", "target_policy", target, behaviour.policy.shape)
    require_coverage(target, behaviour.policy)
    integrand = PerDecisionReturn(mdp.discount, target, behaviour.policy)
    return Expectation(integrand, behaviour, exact=value_of_policy(mdp, target) if exact is None else exact)


def require_coverage(target: Array, behaviour: Array) -> None:
    """Raise where the target policy can do what the behaviour policy never does: no weight makes up for that."""
    known_target, known_behaviour = concrete(target), concrete(behaviour)
    if known_target is None or known_behaviour is None:
        return
    missing = np.argwhere((known_target > 0) & (known_behaviour == 0))
    if len(missing):
        state, action = missing[0].tolist()
        raise ValueError(
            f"The behaviour policy never takes action {action} in state {state}, which the target policy takes with "
            f"probability {known_target[state, action]}: the data cannot say what it is worth."
        )


def tabular_mdp(horizon=None, discount=None, reward_noise=None) -> Expectation:
    """`policy_value` of the target policy in the MDP that comes with the package."""
    logged = load_tabular_mdp(horizon, discount, reward_noise)
    return policy_value(logged.mdp, logged.target, logged.exact)


def per_decision_tabular_mdp(horizon=None, discount=None, reward_noise=None) -> Expectation:
    """`per_decision_value` of the target from the behaviour policy in the MDP that comes with the package."""
    logged = load_tabular_mdp(horizon, discount, reward_noise)
    return per_decision_value(logged.mdp, logged.target, logged.behaviour, logged.exact)


def behaviour_trajectories(problem: Expectation, behaviour_policy=None) -> Trajectories:
    """What the old policy does in the MDP of a `policy_value` problem; by default the one that comes with the package.

    **Raises:** `ValueError` where the problem's policy can do what `behaviour_policy` [S, A] never does.
    """
    policy = load_tabular_mdp().behaviour if behaviour_policy is None else behaviour_policy
    target = _target_of(problem)
    behaviour = Trajectories(target.mdp, policy)
    require_coverage(target.policy, behaviour.policy)
    return behaviour


def mixed_trajectories(problem: Expectation, behaviour_share=0.5, behaviour_policy=None) -> Defensive:
    """Each trajectory by the old policy with probability `behaviour_share`, else by the new one: weights stay bounded.

    w <= 1 / (1 - behaviour_share), whatever the policies; so the old policy need not cover the new one.
    """
    policy = load_tabular_mdp().behaviour if behaviour_policy is None else behaviour_policy
    target = _target_of(problem)
    return defensive(target, Trajectories(target.mdp, policy), 1.0 - behaviour_share)


def _target_of(problem: Expectation) -> Trajectories:
    if not isinstance(problem.target, Trajectories):
        raise TypeError(f"The problem must be over trajectories of an MDP, got {type(problem.target).__name__}.")
    return problem.target
