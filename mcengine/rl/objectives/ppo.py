"""Proximal policy optimisation: the clipped surrogate, its dual clip, and the surrogate with a KL penalty."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from mcengine import weights
from mcengine.rl.inputs import as_float, as_mask, require_finite, require_shapes
from mcengine.rl.objectives import forms, levels, reductions
from mcengine.rl.objectives.levels import Level
from mcengine.rl.objectives.reductions import Reduction
from mcengine.rl.objectives.surrogate import Loss, surrogate_loss
from mcengine.rl.objectives.transforms import Clip, Truncate


def ppo_clip(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    advantages: ArrayLike,
    *,
    epsilon: ArrayLike = 0.2,
    epsilon_high: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    level: Level = levels.step,
    reduction: Reduction = reductions.token_mean,
    factor: ArrayLike | None = None,
    discrete: bool = False,
) -> Loss:
    """-E[min(w A, clip(w, 1 - epsilon, 1 + epsilon_high) A)].

    There is no gradient above 1 + epsilon_high for A > 0, nor below 1 - epsilon for A < 0.

    **Arguments:** as in `mcengine.rl.objectives`; `epsilon_high` is `epsilon` if None; `factor` as in `surrogate_loss`.

    **Source:** Schulman et al., Proximal Policy Optimization Algorithms (2017), equation 7.
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
    mask: ArrayLike | None = None,
    reduction: Reduction = reductions.token_mean,
    discrete: bool = False,
) -> Loss:
    """PPO-clip whose term is at least bound A where A < 0: max(min(w A, clip(w) A), bound A).

    Actions with negative advantages and large ratios then have a bounded loss and no gradient.

    **Arguments:** as in `mcengine.rl.objectives`; `bound` above 1.

    **Raises:** `ValueError` also unless bound > 1.

    **Source:** Ye et al., Mastering complex control in MOBA games with deep reinforcement learning (2020), equation 3.
    """
    Clip(1.0, bound)  # raises unless bound > 1
    clip, floor = Clip(1.0 - jnp.asarray(epsilon), 1.0 + jnp.asarray(epsilon)), Truncate(bound)

    def form(log_w: Array, transformed: Array, advantages: Array, log_pi: Array) -> Array:
        del log_pi
        # For A < 0 the larger weight gives the smaller term, so max(w A, bound A) truncates the weight.
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
    *,
    beta: ArrayLike,
    mask: ArrayLike | None = None,
    reduction: Reduction = reductions.token_mean,
    discrete: bool = False,
) -> Loss:
    """-E[w A - beta KL(mu, pi)].

    **Arguments:** as in `mcengine.rl.objectives`, and

    - `kl`, [..., T]: the exact divergence at every step, as from `mcengine.rl.kl`. If the padding of its logits may
      hold NaN, give that function the mask too.
    - `beta`: the penalty, updated once per iteration by `adaptive_beta` or `proportional_beta`.

    **Source:** Schulman et al. (2017), equation 8.
    """
    kl = as_float(kl)
    loss = surrogate_loss(log_pi, log_mu, advantages, mask=mask, reduction=reduction, discrete=discrete)
    require_shapes("ppo_kl", jnp.shape(log_pi), kl=kl)
    mask = as_mask("ppo_kl", mask, kl.shape)
    require_finite("ppo_kl", kl=jnp.where(mask, kl, 0.0), beta=jnp.asarray(beta))
    return loss + beta * reduction(kl, mask)
