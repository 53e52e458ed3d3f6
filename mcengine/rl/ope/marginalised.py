"""Marginalised importance sampling (MARG): weights are ratios of state probabilities, not products over the past."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mcengine import weights
from mcengine.rl.ope.linear_basis import basis_of
from mcengine.rl.ope.logs import Log, as_trajectories
from mcengine.rl.ope.policy_value import PolicyValue, from_units, without_numpy_warnings

# The ridge penalty, in observations: it defines coefficients of features that never occur and hardly changes others.
LEAST_RIDGE = 1e-6


@without_numpy_warnings
def marginalised(log: Log) -> PolicyValue:
    """MARG: mean(sum_t discount^t omega_t(s_t) r_t reward_t), with omega_t(s) = p_pi(s_t = s) / p_mu(s_t = s).

    omega_0 = 1, and omega_t(s) = phi(s)' alpha_t with

        mean(phi(s_t) phi(s_t)') alpha_t = mean(phi(s_t) omega_{t-1}(s_{t-1}) r_{t-1}),

    r_t = pi(a_t | s_t) / mu(a_t | s_t). If states are whole numbers, phi is one-hot and omega_t is a ratio of two
    frequencies. The variance grows with the square of the horizon and not exponentially.

    The same value is mean(V_0), where V_t(s) = phi(s)' beta_t is fitted to r_t (reward_t + discount V_{t+1}(s_{t+1})).
    The error bar uses both (delta method): trajectory i contributes V_0(s_0) + sum_t discount^t omega_t(s_t) (r_t
    (reward_t + discount V_{t+1}(s_{t+1})) - V_t(s_t)), which includes its effect on alpha and beta.

    **Arguments:** `log`, with states (contexts).

    **Raises:** `ValueError` for a log without states.

    **Limits:** biased if the states do not have the Markov property, or if a ratio or a value is not linear in the
    features. No diagnostic detects this.

    **Source:** T. Xie, Y. Ma, Y.-X. Wang (2019), Towards optimal off-policy evaluation for reinforcement learning with
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

    def fit(t: int, targets: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The fitted values of a regression on phi(s_t), 0 after the end."""
        seen, found = log.mask[:, t], np.zeros(n)
        found[seen] = here[t].values(solvers[t](targets[seen]))
        return found

    with jax.enable_x64(True):
        ratios = np.asarray(weights.from_log(jnp.asarray(log.log_ratios)))
    values = np.zeros((n, horizon + 1))
    for t in reversed(range(horizon)):
        values[:, t] = fit(t, ratios[:, t] * (log.rewards[:, t] + log.discount * values[:, t + 1]))
    state_ratios = np.zeros((n, horizon))
    before = np.ones(n)
    for t in range(horizon):
        state_ratios[:, t] = fit(t, before)
        before = state_ratios[:, t] * ratios[:, t]
    visited = state_ratios * ratios
    residuals = ratios * (log.rewards + log.discount * values[:, 1:]) - values[:, :-1]
    units = values[:, 0] + (state_ratios * residuals) @ log.discounts
    # The ratios of actions only: errors of the estimated state ratios are correlated over the steps.
    balance = 1.0 + np.mean(ratios - 1.0, axis=-1)
    return from_units(log, units, visited @ log.discounts, balance=balance)
