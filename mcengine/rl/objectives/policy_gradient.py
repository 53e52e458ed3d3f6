"""Policy gradients from samples of the current policy and of another one."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.rl.inputs import as_float, as_mask, require_log_probabilities, require_possible, require_shapes
from mcengine.rl.objectives import forms, levels, reductions
from mcengine.rl.objectives.bounds import bounded_weight, where_possible
from mcengine.rl.objectives.surrogate import Loss, checked, held_fixed, log_weights, surrogate_loss
from mcengine.rl.objectives.transforms import Identity, Truncate


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
