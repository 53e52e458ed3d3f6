"""Clipped and penalised surrogates of proximal policy optimisation."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from mcengine import weights
from mcengine.rl.inputs import as_float, as_mask, require_finite, require_shapes
from mcengine.rl.objectives import forms, levels, reductions
from mcengine.rl.objectives.surrogate import Loss, surrogate_loss
from mcengine.rl.objectives.transforms import Clip, Truncate


def ppo_clip(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    advantages: ArrayLike,
    *,
    epsilon: ArrayLike = 0.2,
    epsilon_high: ArrayLike | None = None,
    mask: Any = None,
    level: Callable[..., Array] = levels.step,
    reduction: Callable[..., Array] = reductions.token_mean,
    factor: Any = None,
    discrete: bool = False,
) -> Loss:
    """-E[min(w A, clip(w, 1 - epsilon, 1 + epsilon_high) A)]; epsilon_high is epsilon unless given.

    For A > 0 there is no gradient above 1 + epsilon_high, for A < 0 none below 1 - epsilon.

    Source: Schulman et al., Proximal Policy Optimization Algorithms (2017), equation 7.
    """
    transform = Clip(1.0 - jnp.asarray(epsilon), 1.0 + jnp.asarray(epsilon if epsilon_high is None else epsilon_high))
    return surrogate_loss(
        log_pi, log_mu, advantages, mask=mask, level=level, transform=transform, form=forms.pessimistic,
        reduction=reduction, factor=factor, discrete=discrete,
    )  # fmt: skip


def dual_clip(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    advantages: ArrayLike,
    *,
    epsilon: ArrayLike = 0.2,
    bound: ArrayLike = 3.0,
    mask: Any = None,
    reduction: Callable[..., Array] = reductions.token_mean,
    discrete: bool = False,
) -> Loss:
    """PPO-clip whose term is not below bound A where A < 0: max(min(w A, clip(w) A), bound A).

    Large ratios of bad actions have a bounded loss, and no gradient. Source: Ye et al. (2020), equation 3.

    **Raises:** `ValueError` unless bound > 1.
    """
    Clip(1.0, bound)  # refuses a bound below 1
    clip, floor = Clip(1.0 - jnp.asarray(epsilon), 1.0 + jnp.asarray(epsilon)), Truncate(bound)

    def form(log_w: Array, transformed: Array, advantages: Array, log_pi: Array) -> Array:
        # For A < 0 the larger weight is the smaller term: max(w A, bound A) truncates the weight.
        chosen = jnp.where(advantages >= 0, jnp.minimum(log_w, transformed), floor(jnp.maximum(log_w, transformed)))
        return weights.from_log(chosen) * advantages

    return surrogate_loss(
        log_pi, log_mu, advantages, mask=mask, transform=clip, form=form, reduction=reduction, discrete=discrete
    )


def ppo_kl(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    advantages: ArrayLike,
    kl: ArrayLike,
    beta: ArrayLike,
    *,
    mask: Any = None,
    reduction: Callable[..., Array] = reductions.token_mean,
    discrete: bool = False,
) -> Loss:
    """-E[w A - beta KL(mu, pi)], `kl` the exact divergence at every step, [..., T] (`mcengine.rl.kl`).

    `beta` follows the mean divergence once an iteration: see `adaptive_beta`. Where the padding of logits may be NaN,
    give the divergence the mask too. Source: Schulman et al. (2017), eq. 8.
    """
    kl = as_float(kl)
    loss = surrogate_loss(log_pi, log_mu, advantages, mask=mask, reduction=reduction, discrete=discrete)
    require_shapes("ppo_kl", jnp.shape(log_pi), kl=kl)
    mask = as_mask("ppo_kl", mask, kl.shape)
    require_finite("ppo_kl", kl=jnp.where(mask, kl, 0.0), beta=jnp.asarray(beta))
    return loss + beta * reduction(kl, mask)
