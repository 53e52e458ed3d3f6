"""Formulas of the trajectory estimators on arrays: the doubly robust return, and self-normalised terms."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.rl.critics.recurrence import backward


@jax.jit
def doubly_robust_return(
    rewards: Float[Array, "*batch steps"],
    log_ratios: Float[Array, "*batch steps"],
    q: Float[Array, "*batch steps"],
    v: Float[Array, "*batch steps"],
    *,
    discount: ArrayLike,
) -> Float[Array, "*batch"]:
    """y_0 of y_t = V_t + r_t (reward_t + discount y_{t+1} - Q_t), y_T = 0, r_t = exp(log_ratios_t).

    With Q = V = 0 this is the per-decision return.

    **Arguments:**

    - `rewards`, [..., T].
    - `log_ratios`, [..., T]: log pi(a_t | s_t) - log mu(a_t | s_t).
    - `q`, `v`, [..., T]: Q_t(s_t, a_t) and V_t(s_t) of a model.
    - `discount`: one number.

    **Source:** N. Jiang and L. Li (2016), Doubly robust off-policy value
    evaluation for reinforcement learning, equation (10).
    """
    ratios = weights.from_log(log_ratios)
    return backward(v + ratios * (rewards - q), discount * ratios)[..., 0]


@jax.jit
def temporal_differences(
    rewards: Float[Array, "*batch steps"],
    q: Float[Array, "*batch steps"],
    v: Float[Array, "*batch steps"],
    discount: ArrayLike,
) -> Float[Array, "*batch steps"]:
    """delta_t = reward_t + discount V_{t+1} - Q_t, with V_T = 0.

    The doubly robust return is V_0 + sum_t discount^t w_{0:t} delta_t.
    """
    after = jnp.concatenate([v[..., 1:], jnp.zeros_like(v[..., :1])], axis=-1)
    return rewards + discount * after - q


@jax.jit
def step_weights(log_weights: Float[Array, "n steps"]) -> Float[Array, "n steps"]:
    """w_{0:t} / its mean at each step: self-normalised weights of decisions. 0 at steps where all weights are 0."""
    return log_weights.shape[0] * weights.from_log(weights.normalised(log_weights.T)).T


def self_normalised_terms(
    w: Float[np.ndarray, "n steps"], deltas: Float[np.ndarray, "n steps"]
) -> Float[np.ndarray, "n steps"]:
    """D_t + w_it (delta_it - D_t), the contribution of trajectory i to D_t = mean_i w_it delta_it (delta method).

    **Arguments:** `w`, [n, T], weights with mean 1 at every step; `deltas`, [n, T], temporal differences.
    """
    ratio = (w * deltas).mean(axis=0, keepdims=True)
    return ratio + w * (deltas - ratio)
