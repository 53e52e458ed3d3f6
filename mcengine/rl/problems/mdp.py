"""Markov decision processes and policies as tables, and the exact value of a policy by dynamic programming."""

from collections.abc import Sequence
from typing import SupportsInt

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine.numerics.values import as_parameter, concrete

ROUNDING = 1e-5  # of the sum of a row after conversion to float32

# A policy: probabilities of the actions in every state, [states, actions].
Policy = ArrayLike | Sequence[Sequence[float]]


def require_probabilities(owner: str, name: str, table: ArrayLike, shape: tuple[int, ...]) -> None:
    """Raise unless `table` has `shape` and, if its values are known, its last axis holds probabilities."""
    if jnp.shape(table) != shape:
        raise ValueError(f"{owner}: {name} must have shape {shape}, got {jnp.shape(table)}.")
    known = concrete(table)
    if known is None:
        return
    if not np.all(known >= 0):  # also true for NaN
        where = np.argwhere(~(known >= 0))[0].tolist()
        raise ValueError(f"{owner}: {name} must not be negative or NaN, got {known[tuple(where)]} at {where}.")
    sums = np.asarray(known.sum(axis=-1, dtype=np.float64))
    if np.any(np.abs(sums - 1) > ROUNDING):
        where = np.argwhere(np.abs(sums - 1) > ROUNDING)[0].tolist()
        raise ValueError(f"{owner}: {name} must sum to 1 along its last axis, got {sums[tuple(where)]} at row {where}.")


def _as_horizon(value: SupportsInt) -> int:
    if isinstance(value, bool | str) or int(value) != value or value < 1:
        raise ValueError(f"TabularMDP: horizon must be a positive integer, got {value!r}.")
    return int(value)


class TabularMDP(eqx.Module):
    """A finite-horizon MDP with S states, A actions and normal rewards.

    s_0 ~ start, s_t ~ transition[s_{t-1}, a_{t-1}], r_t ~ N(reward[s_t, a_t], reward_noise^2), t = 0..horizon-1; the
    return is sum_t discount^t r_t.

    **Arguments:**

    - `transition`, [S, A, S]: probabilities of the next state.
    - `reward`, [S, A]: mean rewards.
    - `start`, [S]: probabilities of the first state.
    - `discount`: in [0, 1].
    - `reward_noise`: the standard deviation of the rewards, positive because trajectories have a density.
    - `horizon`: the number of steps, a positive integer, static.

    **Raises:** `ValueError`, naming the argument, for wrong shapes, rows that are not probabilities, and numbers out of
    range.
    """

    transition: Float[Array, "states actions states"] = eqx.field(converter=as_parameter)
    reward: Float[Array, "states actions"] = eqx.field(converter=as_parameter)
    start: Float[Array, " states"] = eqx.field(converter=as_parameter)
    discount: Float[Array, ""] = eqx.field(converter=as_parameter, kw_only=True)
    reward_noise: Float[Array, ""] = eqx.field(converter=as_parameter, kw_only=True)
    horizon: int = eqx.field(static=True, kw_only=True, converter=_as_horizon)

    def __check_init__(self):
        if self.reward.ndim != 2:
            raise ValueError(f"TabularMDP: reward must have shape (states, actions), got {self.reward.shape}.")
        states, actions = self.reward.shape
        require_probabilities("TabularMDP", "transition", self.transition, (states, actions, states))
        require_probabilities("TabularMDP", "start", self.start, (states,))
        for name in ("discount", "reward_noise"):
            if jnp.shape(getattr(self, name)) != ():
                raise ValueError(f"TabularMDP: {name} must be one number, got shape {jnp.shape(getattr(self, name))}.")
        reward, discount, noise = concrete(self.reward), concrete(self.discount), concrete(self.reward_noise)
        if reward is not None and not np.all(np.isfinite(reward)):
            raise ValueError(f"TabularMDP: reward must be finite, got {reward}.")
        if discount is not None and not 0 <= discount <= 1:
            raise ValueError(f"TabularMDP: discount must lie in [0, 1], got {discount}.")
        if noise is not None and not (noise > 0 and np.isfinite(noise)):
            raise ValueError(f"TabularMDP: reward_noise must be positive and finite, got {noise}.")

    @property
    def num_states(self) -> int:
        return self.reward.shape[0]

    @property
    def num_actions(self) -> int:
        return self.reward.shape[1]


def value_of_policy(mdp: TabularMDP, policy: Policy) -> float | None:
    """The exact value E[sum_t discount^t r_t] of `policy` [S, A]; None if a table is traced."""
    tables = (mdp.transition, mdp.reward, mdp.start, jnp.asarray(policy))
    if any(concrete(table) is None for table in (*tables, mdp.discount)):
        return None
    return backward_induction(*tables, discount=mdp.discount, horizon=mdp.horizon)


def backward_induction(
    transition: ArrayLike, reward: ArrayLike, start: ArrayLike, policy: Policy, *, discount: ArrayLike, horizon: int
) -> float:
    """start . V_0, where V_horizon = 0 and V_t(s) = sum_a policy[s, a] (reward[s, a] + discount E[V_{t+1} | s, a]).

    Computed in float64. Tables that were rounded to float32 change the seventh digit.

    **Arguments:** tables of the shapes in `TabularMDP`; `policy`, [S, A].
    """
    transition, reward, start, policy, discount = (
        np.asarray(table, np.float64) for table in (transition, reward, start, policy, discount)
    )
    value = np.zeros(len(reward))
    for _ in range(horizon):
        value = np.sum(policy * (reward + discount * transition @ value), axis=1)
    return float(start @ value)
