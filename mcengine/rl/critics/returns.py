"""Returns and advantages on the policy that acted."""

from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine.rl.critics.episode_ends import Steps, as_steps, episode_ends
from mcengine.rl.critics.off_policy import CriticTargets
from mcengine.rl.critics.recurrence import backward


def rewards_to_go(
    rewards: ArrayLike, discount: Any = 1.0, *, terminated: Any = None, truncated: Any = None, bootstrap: Any = None
) -> Steps:
    """G_t = r_t + discount G_{t+1} until the episode ends: the Monte Carlo return from each step on.

    **Arguments:** `bootstrap`, [..., T], V of the observation that followed each step (see `next_values`); it is added
    where an episode is cut off, and after the last step. Without it nothing is, as for finite episodes.
    """
    (rewards,) = as_steps("rewards_to_go", rewards=rewards)
    if bootstrap is None:
        ends = episode_ends("rewards_to_go", rewards, discount, terminated, truncated)
        return backward(rewards, ends.onward)
    return lambda_returns(rewards, bootstrap, discount, 1.0, terminated=terminated, truncated=truncated)


def total_returns(rewards: ArrayLike, discount: Any = 1.0) -> Float[Array, "*batch 1"]:
    """sum_t discount^t r_t of a whole episode, for every step of it: [..., 1]."""
    return rewards_to_go(rewards, discount)[..., :1]


def lambda_returns(
    rewards: ArrayLike, next_v: ArrayLike, discount: Any, lambda_: Any, *, terminated: Any = None, truncated: Any = None
) -> Steps:
    """G_t = r_t + discount ((1 - lambda) V(x_{t+1}) + lambda G_{t+1}): targets between TD (0) and Monte Carlo (1).

    Where an episode ends, and at the last step, G_t = r_t + discount (1 - terminated) V(x_{t+1}).
    """
    rewards, next_v = as_steps("lambda_returns", rewards=rewards, next_values=next_v)
    ends = episode_ends("lambda_returns", rewards, discount, terminated, truncated)
    carried = _up_to_last(lambda_ * ends.onward)
    return backward(rewards + (ends.bootstrap - carried) * next_v, carried)


def _up_to_last(carried: Steps) -> Steps:
    """What is carried back to each step from the next one; nothing to the last."""
    return carried.at[..., -1].set(0.0)


def td_targets(rewards: ArrayLike, next_v: ArrayLike, discount: Any, *, terminated: Any = None) -> Steps:
    """r_t + discount (1 - terminated) V(x_{t+1})."""
    return lambda_returns(rewards, next_v, discount, 0.0, terminated=terminated)


def n_step_targets(
    rewards: ArrayLike, next_v: ArrayLike, discount: Any, n: int, *, terminated: Any = None, truncated: Any = None
) -> Steps:
    """sum_{i<n} discount^i r_{t+i} + discount^n V(x_{t+n}), shorter where the episode or the array ends before."""
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"n_step_targets: n must be a positive integer, got {n!r}.")
    rewards, next_v = as_steps("n_step_targets", rewards=rewards, next_values=next_v)
    ends = episode_ends("n_step_targets", rewards, discount, terminated, truncated)
    carried = _up_to_last(ends.onward)
    one_step = rewards + ends.bootstrap * next_v
    targets = one_step
    for _ in range(min(n, rewards.shape[-1]) - 1):
        longer = jnp.concatenate([targets[..., 1:], targets[..., -1:]], axis=-1)
        targets = rewards + (ends.bootstrap - carried) * next_v + carried * longer
    return targets


def gae(
    rewards: ArrayLike,
    values: ArrayLike,
    next_v: ArrayLike,
    discount: Any,
    lambda_: Any,
    *,
    terminated: Any = None,
    truncated: Any = None,
) -> CriticTargets:
    """Generalised advantage estimation: A_t = delta_t + discount lambda A_{t+1}, targets V_t + A_t.

    delta_t = r_t + discount (1 - terminated) V(x_{t+1}) - V(x_t). Source: Schulman et al. (2016), equation 16.
    """
    rewards, values, next_v = as_steps("gae", rewards=rewards, values=values, next_values=next_v)
    ends = episode_ends("gae", rewards, discount, terminated, truncated)
    advantages = backward(rewards + ends.bootstrap * next_v - values, lambda_ * ends.onward)
    return CriticTargets(values + advantages, advantages)
