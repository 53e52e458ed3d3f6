"""Objectives whose advantages are relative to a group of answers."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from mcengine import weights
from mcengine.rl.inputs import as_float, require_finite
from mcengine.rl.objectives import levels, reductions
from mcengine.rl.objectives.bounds import bounded_weight
from mcengine.rl.objectives.ppo import ppo_clip
from mcengine.rl.objectives.surrogate import Loss, checked, log_weights
from mcengine.rl.policies.kl import kl_loss


def grpo(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    advantages: ArrayLike,
    log_reference: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    epsilon: ArrayLike = 0.2,
    epsilon_high: ArrayLike | None = None,
    kl_gradient: str = "k2",
    kl_weighted: bool = True,
    mask: Any = None,
    reduction: Callable[..., Array] = reductions.sequence_mean,
    factor: Any = None,
    discrete: bool = False,
) -> Loss:
    """PPO-clip of `group_advantages`, plus beta times k3 of KL(pi, reference), under one reduction.

    **Arguments:** `advantages`, [..., 1] or [..., T]; `log_reference`, under a frozen third policy, and `beta`
    (published: .04), together or neither; `kl_gradient` and `kl_weighted` as in `kl.kl_loss`: with its defaults, "k2"
    and weights pi / mu, the gradient is that of KL(pi, reference) though mu took the actions. As published: "k3" and
    no weights.

    Source: Shao et al., DeepSeekMath (2024), equations 3 and 4.
    """
    loss = ppo_clip(
        log_pi, log_mu, advantages, epsilon=epsilon, epsilon_high=epsilon_high, mask=mask, reduction=reduction,
        factor=factor, discrete=discrete,
    )  # fmt: skip
    if (log_reference is None) != (beta is None):
        raise ValueError("grpo: give log_reference and beta together, or neither.")
    if log_reference is None or beta is None:
        return loss
    log_pi, log_mu, log_reference = (as_float(x) for x in (log_pi, log_mu, log_reference))
    mask = checked("grpo", log_pi, mask, discrete, {"log_reference": log_reference})
    require_finite("grpo", beta=jnp.asarray(beta))
    # Where mu did it with probability 0 the loss above is NaN.
    log_w = bounded_weight(log_weights(log_pi, log_mu, levels.step, mask))
    weight = weights.from_log(log_w) if kl_weighted else None
    penalty = kl_loss(log_pi, log_reference, gradient=kl_gradient, weight=weight, mask=mask)
    return loss + beta * reduction(penalty, mask)


def dr_grpo(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    advantages: ArrayLike,
    log_reference: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    length: float,
    epsilon: ArrayLike = 0.2,
    epsilon_high: ArrayLike | None = None,
    kl_gradient: str = "k2",
    kl_weighted: bool = True,
    mask: Any = None,
    factor: Any = None,
    discrete: bool = False,
) -> Loss:
    """GRPO whose sums over tokens are divided by one `length`, for `group_advantages(rewards, scale=None)`.

    Neither the length of an answer nor the spread of its group weighs it. Source: Liu et al., Understanding
    R1-Zero-like training (2025), section 3.
    """
    return grpo(
        log_pi, log_mu, advantages, log_reference, beta, epsilon=epsilon, epsilon_high=epsilon_high,
        kl_gradient=kl_gradient, kl_weighted=kl_weighted, mask=mask, reduction=reductions.ConstantLength(length),
        factor=factor, discrete=discrete,
    )  # fmt: skip


def gspo(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    advantages: ArrayLike,
    *,
    epsilon: ArrayLike = 3e-4,
    epsilon_high: ArrayLike = 4e-4,
    mask: Any = None,
    tokens: bool = False,
    discrete: bool = False,
) -> Loss:
    """PPO-clip of one weight a sequence, the geometric mean of its ratios; mean over sequences.

    **Arguments:** `tokens`, the form with advantages of tokens, [..., T]; where they are the same in a sequence, its
    gradient is that of the other form.

    Source: Zheng et al., Group Sequence Policy Optimization (2025), equations 5 and 13.
    """
    level = levels.length_mean_of_tokens if tokens else levels.length_mean
    return ppo_clip(
        log_pi, log_mu, advantages, epsilon=epsilon, epsilon_high=epsilon_high, mask=mask, level=level,
        reduction=reductions.sequence_mean, discrete=discrete,
    )  # fmt: skip
