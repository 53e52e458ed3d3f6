"""Objectives for groups of answers to one prompt: GRPO, Dr. GRPO and GSPO. Advantages from `group_advantages`."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from mcengine import weights
from mcengine.rl.inputs import as_float, require_finite
from mcengine.rl.objectives import levels, reductions
from mcengine.rl.objectives.bounds import bounded_log_weight
from mcengine.rl.objectives.ppo import ppo_clip
from mcengine.rl.objectives.reductions import Reduction
from mcengine.rl.objectives.surrogate import Loss, check_arguments, log_weights
from mcengine.rl.policies.kl import kl_loss


def grpo(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    advantages: ArrayLike,
    log_reference: ArrayLike | None = None,
    *,
    beta: ArrayLike | None = None,
    epsilon: ArrayLike = 0.2,
    epsilon_high: ArrayLike | None = None,
    kl_gradient: str = "k2",
    kl_weighted: bool = True,
    mask: ArrayLike | None = None,
    reduction: Reduction = reductions.sequence_mean,
    factor: ArrayLike | None = None,
    discrete: bool = False,
) -> Loss:
    """PPO-clip plus beta times the estimate k3 of KL(pi, reference), with the same reduction.

    **Arguments:** as in `mcengine.rl.objectives` and `ppo_clip`, and

    - `log_reference`, [..., T]: log-probabilities under a frozen third policy; together with `beta`, or neither.
    - `beta`: the factor of the divergence (0.04 in the paper).
    - `kl_gradient`: the estimator ("k1", "k2" or "k3") whose gradient is used, as in `kl.kl_loss`.
    - `kl_weighted`: whether the divergence is weighted by pi / mu.

    With "k2" and weights, the defaults, the gradient is that of KL(pi, reference) although mu took the actions. The
    paper has "k3" and no weights.

    **Source:** Shao et al., DeepSeekMath (2024), equations 3 and 4.
    """
    loss = ppo_clip(
        log_pi, log_mu, advantages, epsilon=epsilon, epsilon_high=epsilon_high, mask=mask, reduction=reduction,
        factor=factor, discrete=discrete,
    )  # fmt: skip
    if log_reference is None and beta is None:
        return loss
    if log_reference is None or beta is None:
        raise ValueError("grpo: give log_reference and beta together, or neither.")
    log_pi, log_mu, log_reference = (as_float(x) for x in (log_pi, log_mu, log_reference))
    mask = check_arguments("grpo", log_pi, mask, discrete=discrete, behaviour={"log_reference": log_reference})
    require_finite("grpo", beta=jnp.asarray(beta))
    # A log_mu of -inf has made the loss above NaN already.
    log_w = bounded_log_weight(log_weights(log_pi, log_mu, levels.step, mask))
    weight = weights.from_log(log_w) if kl_weighted else None
    penalty = kl_loss(log_pi, log_reference, gradient=kl_gradient, weight=weight, mask=mask)
    return loss + beta * reduction(penalty, mask)


def dr_grpo(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    advantages: ArrayLike,
    log_reference: ArrayLike | None = None,
    *,
    length: float,
    beta: ArrayLike | None = None,
    epsilon: ArrayLike = 0.2,
    epsilon_high: ArrayLike | None = None,
    kl_gradient: str = "k2",
    kl_weighted: bool = True,
    mask: ArrayLike | None = None,
    factor: ArrayLike | None = None,
    discrete: bool = False,
) -> Loss:
    """GRPO whose sums over tokens are divided by one `length`; for `group_advantages(rewards, scale=None)`.

    Neither the length of an answer nor the spread of its group changes how much it counts.

    **Arguments:** as in `grpo`; `length`, the divisor of all answers, in tokens.

    **Source:** Liu et al., Understanding R1-Zero-like training (2025), section 3.
    """
    return grpo(
        log_pi, log_mu, advantages, log_reference, beta=beta, epsilon=epsilon, epsilon_high=epsilon_high,
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
    mask: ArrayLike | None = None,
    tokens: bool = False,
    discrete: bool = False,
) -> Loss:
    """PPO-clip with one weight per sequence, the geometric mean of its ratios; mean over sequences.

    **Arguments:** as in `mcengine.rl.objectives`; `tokens` selects the form in which every token may have its own
    advantage, [..., T]. If a sequence's advantages are equal, the gradients of both forms are equal.

    **Source:** Zheng et al., Group Sequence Policy Optimization (2025), equations 5 and 13.
    """
    level = levels.length_mean_of_tokens if tokens else levels.length_mean
    return ppo_clip(
        log_pi, log_mu, advantages, epsilon=epsilon, epsilon_high=epsilon_high, mask=mask, level=level,
        reduction=reductions.sequence_mean, discrete=discrete,
    )  # fmt: skip
