"""Policy gradients: on-policy (REINFORCE, actor-critic), off-policy, and corrections for a sampler's own numerics."""

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.rl.inputs import as_float, as_mask, require_log_probabilities, require_possible, require_shapes
from mcengine.rl.objectives import forms, levels, reductions
from mcengine.rl.objectives.bounds import bounded_log_weight, nan_where_impossible
from mcengine.rl.objectives.levels import Level
from mcengine.rl.objectives.reductions import Reduction
from mcengine.rl.objectives.surrogate import Loss, check_arguments, fixed_signal, log_weights, surrogate_loss
from mcengine.rl.objectives.transforms import Identity, Transform, Truncate


def policy_gradient(
    log_pi: ArrayLike,
    signal: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    reduction: Reduction = reductions.sequence_sum,
    discrete: bool = False,
) -> Loss:
    """-reduction(signal_t log pi_t) for actions of pi itself: REINFORCE or actor-critic, depending on the signal.

    The signal is the total return, the return minus a baseline, the reward-to-go or an advantage
    (`mcengine.rl.advantages`). All have the same expected gradient; the variance falls in this order.

    **Arguments:** as in `mcengine.rl.objectives`; `signal` stands for `advantages`.

    **Source:** Williams (1992); Sutton et al. (2000).
    """
    log_pi, signal = as_float(log_pi), as_float(signal)
    mask = check_arguments(
        "policy_gradient", log_pi, mask, discrete=discrete, behaviour={"log_pi": log_pi}, signal=signal
    )
    # The score form with every weight equal to 1.
    return -reduction(fixed_signal(signal, mask) * jnp.where(mask, log_pi, 0.0), mask)


def off_policy_gradient(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    signal: ArrayLike,
    *,
    level: Level = levels.step,
    rho_bar: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reduction: Reduction = reductions.sequence_sum,
    discrete: bool = False,
) -> Loss:
    """-reduction(min(rho_bar, w_t) signal_t log pi_t), with w from `level` held fixed.

    With `levels.prefix` and rewards-to-go, or `levels.sequence` and total returns, the expected gradient is that of the
    return. With `levels.step` (Degris et al. 2012) the ratio of state visits is dropped, which is a bias; with
    `rho_bar` = 1 in addition it is V-trace's policy gradient.

    **Arguments:** as in `mcengine.rl.objectives`; `signal` stands for `advantages`; `rho_bar` is the bound of the
    weights, None for no bound.
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
    transform: Transform = Truncate(2.0),
    level: Level = levels.step,
    mask: ArrayLike | None = None,
    discrete: bool = False,
) -> Float[Array, "*batch _"]:
    """T(w), w = learner / sampler, held fixed: the `factor` of a loss whose samples another program generated.

    Corrects for a sampler whose probabilities differ from the learner's at the same parameters (other kernels or other
    precision).

    **Arguments:** as in `mcengine.rl.objectives`, and

    - `log_learner`, `log_sampler`, [..., T]: log-probabilities of the actions taken, both at the parameters that the
      sampler had.
    - `transform`: `Truncate(C)` for truncated, `DropOutside(low, high)` for masked importance sampling.

    **Returns:** [..., T], or [..., 1] for a level with one weight per sequence.

    **Raises:** `ValueError` as described there; inside `jit` a `log_sampler` of -inf makes its factor NaN.
    """
    log_learner, log_sampler = as_float(log_learner), as_float(log_sampler)
    owner = "importance_correction"
    require_shapes(owner, log_learner.shape, log_sampler=log_sampler)
    mask = as_mask(owner, mask, log_learner.shape)
    require_log_probabilities(owner, discrete, mask, log_learner=log_learner, log_sampler=log_sampler)
    require_possible(owner, mask, log_sampler=log_sampler)
    raw = log_weights(log_learner, log_sampler, level, mask)
    return lax.stop_gradient(nan_where_impossible(weights.from_log(transform(bounded_log_weight(raw))), raw))
