"""Luck as a control: how much better than expected a trajectory's actions and moves turned out."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.controls import Controls
from mcengine.distributions import as_parameter
from mcengine.problem import Expectation
from mcengine.rl.mdp import TabularMDP
from mcengine.rl.policy_value import DiscountedReturn, discounts
from mcengine.rl.trajectories import Trajectories, Trajectory, look_up


class Luck(eqx.Module):
    """Sums over t of discount^t times what the actions, and what the moves, gained on their expectation.

    h_1 = sum_t discount^t (Q_t(s_t, a_t) - V_t(s_t)), and h_2 = V_0(s_0) - E V_0(s_0) + sum_{t>0} discount^t (V_t(s_t)
    - E[V_t(s_t) | s_{t-1}, a_{t-1}]).

    **Arguments:** `advantage` Q - V, `next_value` E[V_{t+1} | s_t, a_t], each [horizon, S, A]; `value` V, [horizon, S];
    `start_value` E V_0(s_0).
    """

    advantage: Float[Array, "horizon states actions"] = eqx.field(converter=as_parameter)
    next_value: Float[Array, "horizon states actions"] = eqx.field(converter=as_parameter)
    value: Float[Array, "horizon states"] = eqx.field(converter=as_parameter)
    start_value: Float[Array, ""] = eqx.field(converter=as_parameter)
    discount: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __call__(self, trajectory: Trajectory) -> Float[Array, "2"]:
        horizon, states, actions = self.advantage.shape
        at = jnp.arange(horizon) * states + trajectory.states
        of_pair = at * actions + trajectory.actions
        value = look_up(jnp.ravel(self.value), at)
        expected = look_up(jnp.ravel(self.next_value), of_pair)
        expected = jnp.concatenate([self.start_value[None], expected[:-1]])
        gains = jnp.stack([look_up(jnp.ravel(self.advantage), of_pair), value - expected])
        return jnp.sum(discounts(self.discount, trajectory)[None] * gains, axis=1)


def luck(problem: Expectation, pilot: int | None = None) -> Controls:
    """The luck of the actions and of the moves in a `policy_value` problem; under its policy both have mean 0.

    Values by dynamic programming in the problem's MDP; with those of a rough model the means are 0 all the same for
    the actions, whose probabilities are known. What is left of the return is the rewards' own noise.

    Source: M. White and M. Bowling, Learning a value analysis tool for agent evaluation, IJCAI 2009 (advantage sums).

    **Raises:** `TypeError` for a problem that is no `policy_value`.
    """
    target = problem.target
    if not (isinstance(target, Trajectories) and isinstance(problem.integrand, DiscountedReturn)):
        raise TypeError(f"luck: the problem must be a policy_value, got an integrand {problem.integrand}.")
    return Controls(_luck_of(target.mdp, np.asarray(target.policy, np.float64)), np.zeros(2), pilot)


def _luck_of(mdp: TabularMDP, policy: Float[np.ndarray, "states actions"]) -> Luck:
    """Backward induction, as in `mdp.backward_induction`, with every step kept."""
    transition, reward, start = (np.asarray(table, np.float64) for table in (mdp.transition, mdp.reward, mdp.start))
    discount, value = float(mdp.discount), np.zeros(len(reward))
    steps = []
    for _ in range(mdp.horizon):
        next_value = transition @ value
        action_value = reward + discount * next_value
        value = np.sum(policy * action_value, axis=1)
        steps.append((action_value - value[:, None], next_value, value))
    advantage, next_value, values = (np.stack(tables) for tables in zip(*reversed(steps), strict=True))
    return Luck(advantage, next_value, values, start @ value, discount)
