"""The loss from which most objectives are derived by choosing a level, a transform, a form and a reduction."""

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from mcengine import weights
from mcengine.rl.inputs import (
    as_float,
    as_mask,
    require_finite,
    require_log_probabilities,
    require_possible,
    require_shapes,
    require_steps_or_one,
)
from mcengine.rl.objectives import forms, levels, reductions
from mcengine.rl.objectives.bounds import bounded_log_weight, nan_where_impossible
from mcengine.rl.objectives.forms import Form
from mcengine.rl.objectives.levels import Level
from mcengine.rl.objectives.reductions import Reduction
from mcengine.rl.objectives.transforms import Identity, Transform

Loss = Float[Array, ""]
Signal = Float[Array, "*batch V"]
Steps = Float[Array, "*batch T"]
Mask = Bool[Array, "*batch T"]


def surrogate_loss(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    advantages: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    level: Level = levels.step,
    transform: Transform = Identity(),
    form: Form = forms.weight,
    reduction: Reduction = reductions.token_mean,
    factor: ArrayLike | None = None,
    discrete: bool = False,
) -> Loss:
    """-reduction(form(log w, T(log w), A, log pi)), log w = level(log pi - log mu).

    Weights above e^60 = 1e26 are replaced by that, with the gradient of the weight itself, so value and gradient stay
    finite.

    **Arguments:** as in `mcengine.rl.objectives`, and

    - `factor`, [..., T] or [..., 1]: further weights of the terms, held fixed (see `importance_correction`).

    **Raises:** `ValueError` as described there.
    """
    log_pi, log_mu, advantages = (as_float(x) for x in (log_pi, log_mu, advantages))
    mask = check_arguments(
        "surrogate_loss", log_pi, mask, discrete=discrete, behaviour={"log_mu": log_mu}, advantages=advantages
    )
    raw = log_weights(log_pi, log_mu, level, mask)
    log_w, signal = bounded_log_weight(raw), nan_where_impossible(fixed_signal(advantages, mask), raw)
    terms = form(log_w, transform(log_w), signal, jnp.where(mask, log_pi, 0.0))
    if factor is not None:
        factor = as_float(factor)
        require_steps_or_one("surrogate_loss", mask.shape, factor=factor)
        factor = fixed_signal(factor, mask)
        require_finite("surrogate_loss", factor=factor)
        terms = terms * factor
    return -reduction(terms, mask_like(terms, mask))


def log_weights(log_pi: Steps, log_mu: Steps, level: Level, mask: Mask) -> Signal:
    """level(log pi - log mu), with log mu held fixed."""
    # Masked before the difference, so that a NaN in the padding cannot reach the gradient.
    log_pi, log_mu = jnp.where(mask, log_pi, 0.0), jnp.where(mask, log_mu, 0.0)
    return level(weights.log_ratio_of_drawn(log_pi, lax.stop_gradient(log_mu)), mask)


def fixed_signal(signal: Signal, mask: Mask) -> Signal:
    """The signal without a gradient, 0 where masked."""
    return lax.stop_gradient(jnp.where(mask_like(signal, mask), signal, 0.0))


def mask_like(array: Array, mask: Mask) -> Array:
    """The mask of steps, or of sequences if `array` has one entry per sequence."""
    return mask if array.shape == mask.shape else jnp.any(mask, axis=-1, keepdims=True)


def check_arguments(
    owner: str,
    log_pi: Array,
    mask: ArrayLike | None,
    *,
    discrete: bool,
    behaviour: dict[str, Array],
    **signals: Array,
) -> Mask:
    """The mask as booleans, after all checks of an objective's arguments.

    `behaviour` holds, by name, log-probabilities under the policy that took the actions; `signals` what they are
    weighted by.
    """
    if log_pi.ndim == 0:
        raise ValueError(f"{owner}: log_pi must have an axis of steps, got one number.")
    require_shapes(owner, log_pi.shape, **behaviour)
    require_steps_or_one(owner, log_pi.shape, **signals)
    mask = as_mask(owner, mask, log_pi.shape)
    require_log_probabilities(owner, discrete, mask, **({"log_pi": log_pi} | behaviour))
    require_possible(owner, mask, **behaviour)
    require_finite(owner, **{name: fixed_signal(array, mask) for name, array in signals.items()})
    return mask
