"""Policy objectives as losses. One family: a level, a transform, a form, a reduction (`surrogate_loss`).

All take log-probabilities of what was done, under the policy that learns (`log_pi`) and under the one that acted
(`log_mu`, held fixed), advantages, and a mask; any network library may have made them. Shapes [..., T] with time or
tokens last; advantages [..., T], or [..., 1] where a sequence has one. A loss is minus what is maximised. It is at
least float32, whatever the precision of the arrays.

Nothing here knows the state distribution: with `levels.step` the ratio of state visits is dropped, which biases the
gradient by as much as the policies differ; `levels.prefix` and `levels.sequence` do not drop it.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.rl import forms, levels, reductions
from mcengine.rl.bounds import bounded_weight, where_possible
from mcengine.rl.inputs import (
    as_float,
    as_mask,
    require_finite,
    require_log_probabilities,
    require_possible,
    require_shapes,
)
from mcengine.rl.kl import kl_loss
from mcengine.rl.surrogate import Loss, checked, held_fixed, log_weights
from mcengine.rl.surrogate import surrogate_loss as surrogate_loss
from mcengine.rl.transforms import Clip, Identity, Truncate


def policy_gradient(
    log_pi: ArrayLike,
    signal: ArrayLike,
    *,
    mask: Any = None,
    reduction: Callable[..., Array] = reductions.sequence_sum,
    discrete: bool = False,
) -> Loss:
    """-reduction(signal_t log pi_t), on-policy: REINFORCE and actor-critic, by their signal.

    The signal is the total return, the return minus a baseline, the reward-to-go or an advantage
    (`mcengine.rl.advantages`): the same gradient in expectation, in falling order of variance.

    Source: Williams (1992); Sutton et al. (2000).
    """
    log_pi, signal = as_float(log_pi), as_float(signal)
    mask = checked("policy_gradient", log_pi, mask, discrete, {"log_pi": log_pi}, signal=signal)
    # The score form with every weight 1.
    return -reduction(held_fixed(signal, mask) * jnp.where(mask, log_pi, 0.0), mask)


def off_policy_gradient(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    signal: ArrayLike,
    *,
    level: Callable[..., Array] = levels.step,
    rho_bar: ArrayLike | None = None,
    mask: Any = None,
    reduction: Callable[..., Array] = reductions.sequence_sum,
    discrete: bool = False,
) -> Loss:
    """-reduction(min(rho_bar, w_t) signal_t log pi_t), w from `level`; V-trace's policy gradient where `rho_bar` is 1.

    With `levels.prefix` and rewards-to-go, or `levels.sequence` and total returns, the gradient is that of the expected
    return; with `levels.step` (Degris et al. 2012) it drops the ratio of state visits.
    """
    transform = Identity() if rho_bar is None else Truncate(rho_bar)
    return surrogate_loss(
        log_pi, log_mu, signal, mask=mask, level=level, transform=transform, form=forms.score, reduction=reduction,
        discrete=discrete,
    )  # fmt: skip


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


def cispo(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    advantages: ArrayLike,
    *,
    high: ArrayLike = 5.0,
    mask: Any = None,
    reduction: Callable[..., Array] = reductions.token_mean,
    discrete: bool = False,
) -> Loss:
    """-E[min(w, high) A log pi] with the weight held fixed: clipped tokens keep a gradient.

    `high` bounds the weight itself; libraries that state 1 + epsilon_high mean high = 1 + epsilon_high.

    Source: MiniMax-M1 (2025), equation 4.
    """
    return surrogate_loss(
        log_pi, log_mu, advantages, mask=mask, transform=Truncate(high), form=forms.score, reduction=reduction,
        discrete=discrete,
    )  # fmt: skip


def importance_correction(
    log_learner: ArrayLike,
    log_sampler: ArrayLike,
    *,
    transform: Callable[[Array], Array] = Truncate(2.0),
    level: Callable[..., Array] = levels.step,
    mask: Any = None,
    discrete: bool = False,
) -> Float[Array, "*batch _"]:
    """T(w), w = learner / sampler, held fixed: the `factor` of a loss whose samples another program drew.

    For a sampler whose probabilities are not the learner's for the same parameters (other kernels, other precision):
    both are of the old parameters. `Truncate(C)` is truncated, `DropOutside(low, high)` masked importance sampling;
    `level` steps or whole sequences.

    **Raises:** `ValueError` as `surrogate_loss`; inside a trace a log_sampler of -inf makes its factor NaN.
    """
    log_learner, log_sampler = as_float(log_learner), as_float(log_sampler)
    owner = "importance_correction"
    require_shapes(owner, log_learner.shape, log_sampler=log_sampler)
    mask = as_mask(owner, mask, log_learner.shape)
    require_log_probabilities(owner, discrete, mask, log_learner=log_learner, log_sampler=log_sampler)
    require_possible(owner, mask, log_sampler=log_sampler)
    raw = log_weights(log_learner, log_sampler, level, mask)
    return lax.stop_gradient(where_possible(weights.from_log(transform(bounded_weight(raw))), raw))
