"""Advantage sums as control variates: what a trajectory's actions and transitions gained relative to expectation."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.controls.controls import Controls
from mcengine.numerics.values import as_parameter
from mcengine.problems.expectation import Expectation
from mcengine.rl.problems.mdp import TabularMDP
from mcengine.rl.problems.policy_value import DiscountedReturn
from mcengine.rl.problems.trajectories import Trajectories, Trajectory, look_up


class AdvantageSums(eqx.Module):
    """The two advantage sums of a trajectory; both have mean 0 under the policy whose values are used.

        h_1 = sum_t discount^t (Q_t(s_t, a_t) - V_t(s_t)),
        h_2 = V_0(s_0) - E V_0(s_0) + sum_{t>0} discount^t (V_t(s_t) - E[V_t | s_{t-1}, a_{t-1}]).

    h_1 is due to the choice of actions, h_2 to the start state and the transitions. h_2 is computed as
    sum_t m_t(s_t, a_t) - E V_0(s_0) with m_t(s, a) = discount^t (V_t(s) - discount E[V_{t+1} | s, a]).

    **Arguments:** tables [horizon, states, actions]: `of_actions`, discount^t (Q_t - V_t), and `of_transitions`,
    m_t - E V_0(s_0) / horizon.
    """

    of_actions: Float[Array, "horizon states actions"] = eqx.field(converter=as_parameter)
    of_transitions: Float[Array, "horizon states actions"] = eqx.field(converter=as_parameter)

    def __call__(self, trajectory: Trajectory) -> Float[Array, "2"]:
        horizon, states, actions = self.of_actions.shape
        pairs = (jnp.arange(horizon) * states + trajectory.states) * actions + trajectory.actions
        tables = jnp.ravel(self.of_actions), jnp.ravel(self.of_transitions)
        return jnp.stack([jnp.sum(look_up(table, pairs)) for table in tables])


def advantage_sums(problem: Expectation, pilot: int | None = None) -> Controls:
    """The advantage sums of a `policy_value` problem as control variates.

    The values are exact (dynamic programming in the problem's MDP), so the return minus both sums varies only by the
    noise of the rewards.

    **Arguments:** `problem`, as from `policy_value`; `pilot` as in `Controls`.

    **Raises:** `TypeError` for another problem.

    **Source:** M. Zinkevich, M. Bowling, N. Bard, M. Kan, D. Billings, Optimal unbiased estimators for evaluating agent
    performance, AAAI 2006; M. White and M. Bowling, Learning a value analysis tool for agent evaluation, IJCAI 2009.
    """
    target = problem.target
    if not (isinstance(target, Trajectories) and isinstance(problem.integrand, DiscountedReturn)):
        raise TypeError(f"advantage_sums: the problem must be a policy_value, got an integrand {problem.integrand}.")
    return Controls(_advantage_tables(target.mdp, np.asarray(target.policy, np.float64)), np.zeros(2), pilot)


def _advantage_tables(mdp: TabularMDP, policy: Float[np.ndarray, "states actions"]) -> AdvantageSums:
    """Backward induction as in `mdp.backward_induction`, keeping every step."""
    transition, reward, start = (np.asarray(table, np.float64) for table in (mdp.transition, mdp.reward, mdp.start))
    discount, value = float(mdp.discount), np.zeros(len(reward))
    of_actions, of_transitions = [], []
    for t in reversed(range(mdp.horizon)):
        later = discount * transition @ value
        action_value = reward + later
        value = np.sum(policy * action_value, axis=1)
        of_actions.append(discount**t * (action_value - value[:, None]))
        of_transitions.append(discount**t * (value[:, None] - later))
    mean_per_step = start @ value / mdp.horizon
    return AdvantageSums(np.stack(of_actions[::-1]), np.stack(of_transitions[::-1]) - mean_per_step)
