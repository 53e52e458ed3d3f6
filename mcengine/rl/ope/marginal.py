"""Marginalised importance sampling: a state is weighted by how often the target policy is there, not by its past."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcengine import weights
from mcengine.rl.ope.bases import basis_of
from mcengine.rl.ope.logs import Log, as_trajectories
from mcengine.rl.ope.policy_value import PolicyValue, from_units, met_with_a_status

# Observations that pull a coefficient to 0: enough for a feature that is never seen, and nothing for one that is.
LEAST_RIDGE = 1e-6


@met_with_a_status
def marginalised(log: Log) -> PolicyValue:
    """MIS: mean(sum_t discount^t omega_t(s_t) r_t reward_t), omega_t the law of s_t under the target over the log's.

    omega_0 = 1, and omega_t(s) = phi(s)' alpha_t with

        mean(phi(s_t) phi(s_t)') alpha_t = mean(phi(s_t) omega_{t-1}(s_{t-1}) r_{t-1}),

    r_t = pi(a_t | s_t) / mu(a_t | s_t). Tabular (phi one-hot) where states are whole numbers: then omega_t is a ratio
    of two frequencies. The variance grows with the square of the horizon and not exponentially.

    The same number comes backwards, from V_t(s) = phi(s)' beta_t fitted to r_t (reward_t + discount V_{t+1}(s_{t+1})),
    as mean(V_0); and both give the error bar: trajectory i contributes V_0(s_0) + sum_t discount^t omega_t(s_t) (r_t
    (reward_t + discount V_{t+1}(s_{t+1})) - V_t(s_t)), what its data change of alpha and beta included (delta method).

    **Raises:** `ValueError` without states.

    **When it lies:** where the state does not tell all that matters for what follows (no Markov property), or a ratio
    or value is not linear in the features; no diagnostic sees that.

    Source: T. Xie, Y. Ma, Y.-X. Wang (2019), Towards optimal off-policy evaluation for reinforcement learning with
    marginalized importance sampling, section 3; M. Yin and Y.-X. Wang (2020), Asymptotically efficient off-policy
    evaluation for tabular reinforcement learning; M. Uehara, J. Huang, N. Jiang (2020), Minimax weight and Q-function
    learning, for the linear case.
    """
    log = as_trajectories(log)
    if log.states is None:
        raise ValueError("marginalised: the log needs states (contexts).")
    basis, (n, horizon) = basis_of(log), log.rewards.shape
    here = [basis.at((log.mask[:, t], t)) for t in range(horizon)]
    solvers = [states.ridge(LEAST_RIDGE) for states in here]

    def fitted(t: int, targets: Any) -> Any:
        """phi(s_t)' coefficients of a regression on phi(s_t), 0 behind the end."""
        seen, found = log.mask[:, t], np.zeros(n)
        found[seen] = here[t].values(solvers[t](targets[seen]))
        return found

    with jax.enable_x64(True):
        ratios = np.asarray(weights.from_log(jnp.asarray(log.log_ratios)))
    values = np.zeros((n, horizon + 1))
    for t in reversed(range(horizon)):
        values[:, t] = fitted(t, ratios[:, t] * (log.rewards[:, t] + log.discount * values[:, t + 1]))
    state_ratios = np.zeros((n, horizon))
    before = np.ones(n)
    for t in range(horizon):
        state_ratios[:, t] = fitted(t, before)
        before = state_ratios[:, t] * ratios[:, t]
    visited = state_ratios * ratios
    residuals = ratios * (log.rewards + log.discount * values[:, 1:]) - values[:, :-1]
    units = values[:, 0] + (state_ratios * residuals) @ log.discounts
    # State ratios are estimates that share their errors from step to step; the ratios of actions are not.
    balance = 1.0 + np.mean(ratios - 1.0, axis=-1)
    return from_units(log, units, visited @ log.discounts, balance=balance)
