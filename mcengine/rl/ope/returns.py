"""The formulas behind trajectory estimators: what one trajectory contributes, by recursion or as an expanded sum."""

from typing import Any

import jax
import jax.numpy as jnp
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
    discount: ArrayLike,
) -> Float[Array, "*batch"]:
    """y_0 of y_t = V_t + r_t (reward_t + discount y_{t+1} - Q_t), y_T = 0, r_t = exp(log_ratios_t).

    With Q = V = 0 it is the per-decision return. Source: N. Jiang and L. Li (2016), Doubly robust off-policy value
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
    """w_{0:t} over its mean at each step: self-normalised per decision. 0 at steps that no trajectory reaches."""
    return log_weights.shape[0] * weights.from_log(weights.normalised(log_weights.T)).T


def self_normalised_terms(w: Float[Any, "n steps"], deltas: Float[Any, "n steps"]) -> Float[Any, "n steps"]:
    """What each trajectory contributes to D_t = mean_i w_it delta_it, w of mean 1 by normalisation (delta method).

    D_t + w_it (delta_it - D_t): their mean is D_t, and their spread is that of D_t as weights and residuals vary.
    """
    ratio = (w * deltas).mean(axis=0, keepdims=True)
    return ratio + w * (deltas - ratio)
