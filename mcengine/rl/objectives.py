"""Policy objectives as losses. One family: a level, a transform, a form, a reduction (`surrogate_loss`).

All take log-probabilities of what was done, under the policy that learns (`log_pi`) and under the one that acted
(`log_mu`, held fixed), advantages, and a mask; any network library may have made them. Shapes [..., T] with time or
tokens last; advantages [..., T], or [..., 1] where a sequence has one. A loss is minus what is maximised.

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
from mcengine.rl.inputs import as_mask, require_finite, require_log_probabilities, require_shapes
from mcengine.rl.transforms import Clip, Identity, Truncate

Loss = Float[Array, ""]


def surrogate_loss(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    advantages: ArrayLike,
    *,
    mask: Any = None,
    level: Callable[..., Array] = levels.step,
    transform: Callable[[Array], Array] = Identity(),
    form: Callable[..., Array] = forms.weight,
    reduction: Callable[..., Array] = reductions.token_mean,
    factor: Any = None,
    discrete: bool = False,
) -> Loss:
    """-reduction(form(log w, T(log w), A, log pi)), log w = level(log pi - log mu).

    The whole family of clipped, truncated and weighted policy gradients; the functions below are choices from it.

    **Arguments:** `level`, `transform`, `form`, `reduction` from the modules of these names; `factor`, held-fixed
    weights besides, [..., T] or [..., 1] (see `importance_correction`); `discrete` actions, whose log-probabilities
    are checked to be at most 0.

    **Raises:** `ValueError`, naming the argument, for shapes that differ, a mask that leaves nothing, NaN, and
    log-probabilities above 0 of discrete actions; inside a trace only for shapes.
    """
    log_pi, log_mu, advantages = (jnp.asarray(x) for x in (log_pi, log_mu, advantages))
    mask = _checked("surrogate_loss", log_pi, log_mu, advantages, mask, discrete)
    # Masked first: what padding holds must not reach a gradient.
    log_pi, log_mu = jnp.where(mask, log_pi, 0.0), jnp.where(mask, log_mu, 0.0)
    log_w = level(weights.log_ratio(log_pi, lax.stop_gradient(log_mu)), mask)
    terms = form(log_w, transform(log_w), _held_fixed(advantages, mask), log_pi)
    if factor is not None:
        terms = terms * lax.stop_gradient(jnp.asarray(factor))
    return -reduction(terms, _mask_of(terms, mask))


def _held_fixed(advantages: Array, mask: Array) -> Array:
    return lax.stop_gradient(jnp.where(_mask_of(advantages, mask), advantages, 0.0))


def _mask_of(like: Array, mask: Array) -> Array:
    """The mask of steps, or of sequences where `like` has one entry for each."""
    return mask if like.shape == mask.shape else jnp.any(mask, axis=-1, keepdims=True)


def _checked(owner: str, log_pi: Array, log_mu: Array, advantages: Array, mask: Any, discrete: bool) -> Array:
    if log_pi.ndim == 0:
        raise ValueError(f"{owner}: log_pi must have an axis of steps, got one number.")
    require_shapes(owner, log_pi.shape, log_mu=log_mu)
    if advantages.shape not in (log_pi.shape, (*log_pi.shape[:-1], 1)):
        raise ValueError(
            f"{owner}: advantages have shape {advantages.shape}, where {log_pi.shape} (one a step) or "
            f"{(*log_pi.shape[:-1], 1)} (one a sequence) is needed."
        )
    mask = as_mask(owner, mask, log_pi.shape)
    require_log_probabilities(owner, discrete, mask, log_pi=log_pi, log_mu=log_mu)
    require_finite(owner, advantages=jnp.where(mask, advantages, 0.0) if advantages.shape == mask.shape else advantages)
    return mask


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
    log_pi, signal = jnp.asarray(log_pi), jnp.asarray(signal)
    mask = _checked("policy_gradient", log_pi, log_pi, signal, mask, discrete)
    # Every weight is 1, which the compiler sees.
    log_w = jnp.zeros_like(log_pi)
    terms = forms.score(log_w, log_w, _held_fixed(signal, mask), jnp.where(mask, log_pi, 0.0))
    return -reduction(terms, mask)


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

    For A > 0 there is no gradient above 1 + epsilon_high, for A < 0 none below 1 - epsilon. GRPO is this with
    `group_advantages` and `reductions.sequence_mean`; Dr. GRPO with `scale=None` there and
    `reductions.ConstantLength`.

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

    `beta` follows the mean divergence once an iteration: see `adaptive_beta`. Source: Schulman et al. (2017), eq. 8.
    """
    kl = jnp.asarray(kl)
    loss = surrogate_loss(log_pi, log_mu, advantages, mask=mask, reduction=reduction, discrete=discrete)
    require_shapes("ppo_kl", jnp.shape(log_pi), kl=kl)
    return loss + beta * reduction(kl, as_mask("ppo_kl", mask, kl.shape))


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
) -> Float[Array, "*batch _"]:
    """T(w), w = learner / sampler, held fixed: the `factor` of a loss whose samples another program drew.

    For a sampler whose probabilities are not the learner's for the same parameters (other kernels, other precision):
    both are of the old parameters. `Truncate(C)` is truncated, `DropOutside(low, high)` masked importance sampling;
    `level` steps or whole sequences.
    """
    log_learner, log_sampler = jnp.asarray(log_learner), jnp.asarray(log_sampler)
    require_shapes("importance_correction", log_learner.shape, log_sampler=log_sampler)
    mask = as_mask("importance_correction", mask, log_learner.shape)
    require_log_probabilities("importance_correction", False, mask, log_learner=log_learner, log_sampler=log_sampler)
    sides = (jnp.where(mask, side, 0.0) for side in (log_learner, log_sampler))
    return lax.stop_gradient(weights.from_log(transform(level(weights.log_ratio(*sides), mask))))
