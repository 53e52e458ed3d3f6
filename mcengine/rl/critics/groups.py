"""Advantages relative to a group of answers to the same prompt."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine.rl.critics.episode_ends import as_steps


def group_advantages(
    rewards: ArrayLike, *, scale: str | None = "std", ddof: int = 0, epsilon: float = 1e-6
) -> Float[Array, "*groups n"]:
    """(R - mean of the group) / (std of the group + epsilon): GRPO; without the division (`scale=None`) Dr. GRPO.

    Rewards 0 and 1 of mean 1/2 become -1 and 1; equal rewards become 0 exactly. Libraries differ in ddof (0 or 1) and
    epsilon (1e-4 or 1e-6).

    **Raises:** `ValueError` for groups of a single answer, which has no advantage over others.
    """
    (rewards,) = as_steps("group_advantages", rewards=rewards)
    n = rewards.shape[-1]
    if n < 2:
        raise ValueError(f"group_advantages: a group must have at least 2 answers, got {n}.")
    if scale not in ("std", None):
        raise ValueError(f"group_advantages: scale must be 'std' or None, got {scale!r}.")
    # From the first: the mean of equal rewards rounds, and epsilon does not hide that.
    shifted = rewards - rewards[..., :1]
    centred = shifted - jnp.mean(shifted, axis=-1, keepdims=True)
    if scale is None:
        return centred
    return centred / (jnp.std(shifted, axis=-1, ddof=ddof, keepdims=True) + epsilon)


def leave_one_out_advantages(rewards: ArrayLike) -> Float[Array, "*groups n"]:
    """R_i - mean of the others of its group: a baseline that does not depend on R_i, so that no bias comes in.

    n / (n - 1) times the centred reward. Source: Kool et al. (2019); Ahmadian et al. (2024).
    """
    n = jnp.shape(rewards)[-1]
    return group_advantages(rewards, scale=None) * (n / (n - 1))
