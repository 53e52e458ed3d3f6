"""On-policy returns and advantages: Monte Carlo, TD, n-step and lambda-returns, GAE."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine.rl.critics.episode_ends import Steps, as_steps, step_discounts
from mcengine.rl.critics.off_policy import CriticTargets
from mcengine.rl.critics.recurrence import backward


def rewards_to_go(
    rewards: ArrayLike,
    discount: ArrayLike = 1.0,
    *,
    terminated: ArrayLike | None = None,
    truncated: ArrayLike | None = None,
    bootstrap: ArrayLike | None = None,
) -> Steps:
    """G_t = r_t + discount G_{t+1} until the episode ends: the Monte Carlo return from each step on.

    **Arguments:**

    - `rewards`, `discount`, `terminated`, `truncated`: as in `mcengine.rl.critics`.
    - `bootstrap`, [..., T]: V(x_{t+1}), added where an episode is cut off and after the last step. If None nothing is
      added there, as for finite episodes.
    """
    (rewards,) = as_steps("rewards_to_go", rewards=rewards)
    if bootstrap is None:
        discounts = step_discounts("rewards_to_go", rewards, discount, terminated=terminated, truncated=truncated)
        return backward(rewards, discounts.onward)
    return lambda_returns(rewards, bootstrap, discount, 1.0, terminated=terminated, truncated=truncated)


def total_returns(rewards: ArrayLike, discount: ArrayLike = 1.0) -> Float[Array, "*batch 1"]:
    """sum_t discount^t r_t of whole episodes, [..., 1]: one signal for all steps of an episode."""
    return rewards_to_go(rewards, discount)[..., :1]


def lambda_returns(
    rewards: ArrayLike,
    next_v: ArrayLike,
    discount: ArrayLike,
    lambda_: ArrayLike,
    *,
    terminated: ArrayLike | None = None,
    truncated: ArrayLike | None = None,
) -> Steps:
    """G_t = r_t + discount ((1 - lambda) V(x_{t+1}) + lambda G_{t+1}): TD targets for lambda 0, Monte Carlo for 1.

    At ends of episodes and at the last step G_t = r_t + discount (1 - terminated) V(x_{t+1}).

    **Arguments:** `lambda_`, one number or [..., T]; the others as in `mcengine.rl.critics`.
    """
    rewards, next_v = as_steps("lambda_returns", rewards=rewards, next_values=next_v)
    discounts = step_discounts("lambda_returns", rewards, discount, terminated=terminated, truncated=truncated)
    carried = _up_to_last(discounts.onward * lambda_)
    return backward(rewards + (discounts.bootstrap - carried) * next_v, carried)


def _up_to_last(factors: Steps) -> Steps:
    """The factors of the next step's value, 0 at the last step, which has no next one."""
    return factors.at[..., -1].set(0.0)


def td_targets(
    rewards: ArrayLike, next_v: ArrayLike, discount: ArrayLike, *, terminated: ArrayLike | None = None
) -> Steps:
    """r_t + discount (1 - terminated) V(x_{t+1}); arguments as in `mcengine.rl.critics`."""
    return lambda_returns(rewards, next_v, discount, 0.0, terminated=terminated)


def n_step_targets(
    rewards: ArrayLike,
    next_v: ArrayLike,
    discount: ArrayLike,
    n: int,
    *,
    terminated: ArrayLike | None = None,
    truncated: ArrayLike | None = None,
) -> Steps:
    """sum_{i<n} discount^i r_{t+i} + discount^n V(x_{t+n}), with fewer steps where the episode or array ends earlier.

    **Arguments:** `n`, a positive integer; the others as in `mcengine.rl.critics`.
    """
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"n_step_targets: n must be a positive integer, got {n!r}.")
    rewards, next_v = as_steps("n_step_targets", rewards=rewards, next_values=next_v)
    discounts = step_discounts("n_step_targets", rewards, discount, terminated=terminated, truncated=truncated)
    carried = _up_to_last(discounts.onward)
    one_step = rewards + discounts.bootstrap * next_v
    targets = one_step
    for _ in range(min(n, rewards.shape[-1]) - 1):
        longer = jnp.concatenate([targets[..., 1:], targets[..., -1:]], axis=-1)
        targets = rewards + (discounts.bootstrap - carried) * next_v + carried * longer
    return targets


def gae(
    rewards: ArrayLike,
    values: ArrayLike,
    next_v: ArrayLike,
    discount: ArrayLike,
    *,
    lambda_: ArrayLike,
    terminated: ArrayLike | None = None,
    truncated: ArrayLike | None = None,
) -> CriticTargets:
    """Generalised advantage estimation: A_t = delta_t + discount lambda A_{t+1}, targets V_t + A_t.

        delta_t = r_t + discount (1 - terminated) V(x_{t+1}) - V(x_t).

    **Arguments:** `values`, [..., T], V(x_t); `lambda_`, one number or [..., T]; others as in `mcengine.rl.critics`.

    **Source:** Schulman et al., High-dimensional continuous control using generalized advantage estimation (2016),
    equation 16.
    """
    rewards, values, next_v = as_steps("gae", rewards=rewards, values=values, next_values=next_v)
    discounts = step_discounts("gae", rewards, discount, terminated=terminated, truncated=truncated)
    advantages = backward(rewards + discounts.bootstrap * next_v - values, lambda_ * discounts.onward)
    return CriticTargets(values + advantages, advantages)
