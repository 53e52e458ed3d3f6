"""Advantages relative to a group of answers to one prompt."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine.rl.critics.episode_ends import as_steps


def group_advantages(
    rewards: ArrayLike, *, scale: str | None = "std", ddof: int = 0, epsilon: float = 1e-6
) -> Float[Array, "*groups n"]:
    """(R - mean of the group) / (standard deviation of the group + epsilon), the advantages of GRPO.

    Published implementations differ in `ddof` (0 or 1) and `epsilon` (1e-4 or 1e-6).

    **Arguments:**

    - `rewards`, [..., n]: one reward per answer; a group is the last axis.
    - `scale`: "std", or None for no division (Dr. GRPO).
    - `ddof`: the standard deviation divides by n - ddof.

    **Returns:** [..., n]; exactly 0 for equal rewards.

    **Raises:** `ValueError` for groups of fewer than two answers, and for an unknown `scale`.

    **Source:** Shao et al., DeepSeekMath (2024), section 4.1.2.
    """
    (rewards,) = as_steps("group_advantages", rewards=rewards)
    n = rewards.shape[-1]
    if n < 2:
        raise ValueError(f"group_advantages: a group must have at least 2 answers, got {n}.")
    if scale not in ("std", None):
        raise ValueError(f"group_advantages: scale must be 'std' or None, got {scale!r}.")
    # The mean of equal rewards rounds, and dividing by epsilon would magnify that; relative to the first it is exact.
    shifted = rewards - rewards[..., :1]
    centred = shifted - jnp.mean(shifted, axis=-1, keepdims=True)
    if scale is None:
        return centred
    return centred / (jnp.std(shifted, axis=-1, ddof=ddof, keepdims=True) + epsilon)


def leave_one_out_advantages(rewards: ArrayLike) -> Float[Array, "*groups n"]:
    """R_i minus the mean reward of the other answers: n / (n - 1) times the centred reward.

    The baseline does not depend on R_i, so the policy gradient stays unbiased. Arguments and errors as in
    `group_advantages`.

    **Source:** Kool et al. (2019); Ahmadian et al. (2024).
    """
    n = jnp.shape(rewards)[-1]
    return group_advantages(rewards, scale=None) * (n / (n - 1))
