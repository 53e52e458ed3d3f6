"""The one loss of which the policy objectives are choices: a level, a transform, a form, a reduction."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

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
from mcengine.rl.objectives.bounds import bounded_weight, where_possible
from mcengine.rl.objectives.transforms import Identity

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

    The whole family of clipped, truncated and weighted policy gradients; the functions of `mcengine.rl.objectives`,
    where shapes and policies are explained, are choices from it. Weights above e^60 = 1e26 count as that, with the
    gradient they have there: value and gradient stay finite.

    **Arguments:** `level`, `transform`, `form`, `reduction` from the modules of these names; `factor`, held-fixed
    weights besides, [..., T] or [..., 1] (see `importance_correction`); `discrete` actions, whose log-probabilities
    are checked to be at most 0.

    **Raises:** `ValueError`, naming the argument, for shapes that differ, no steps, a mask that leaves nothing, NaN,
    a log_mu of -inf (what was done had probability 0), and log-probabilities above 0 of discrete actions; inside a
    trace only for shapes. There a log_mu of -inf makes the loss NaN.
    """
    log_pi, log_mu, advantages = (as_float(x) for x in (log_pi, log_mu, advantages))
    mask = checked("surrogate_loss", log_pi, mask, discrete, {"log_mu": log_mu}, advantages=advantages)
    raw = log_weights(log_pi, log_mu, level, mask)
    log_w, signal = bounded_weight(raw), where_possible(held_fixed(advantages, mask), raw)
    terms = form(log_w, transform(log_w), signal, jnp.where(mask, log_pi, 0.0))
    if factor is not None:
        factor = as_float(factor)
        require_steps_or_one("surrogate_loss", mask.shape, factor=factor)
        factor = held_fixed(factor, mask)
        require_finite("surrogate_loss", factor=factor)
        terms = terms * factor
    return -reduction(terms, mask_of(terms, mask))


def log_weights(log_pi: Array, log_mu: Array, level: Callable[..., Array], mask: Array) -> Array:
    """level(log pi - log mu), mu held fixed."""
    # Masked first: what padding holds must not reach a gradient.
    log_pi, log_mu = jnp.where(mask, log_pi, 0.0), jnp.where(mask, log_mu, 0.0)
    return level(weights.log_ratio_of_drawn(log_pi, lax.stop_gradient(log_mu)), mask)


def held_fixed(signal: Array, mask: Array) -> Array:
    """Without a gradient, and 0 where masked."""
    return lax.stop_gradient(jnp.where(mask_of(signal, mask), signal, 0.0))


def mask_of(like: Array, mask: Array) -> Array:
    """The mask of steps, or of sequences where `like` has one entry for each."""
    return mask if like.shape == mask.shape else jnp.any(mask, axis=-1, keepdims=True)


def checked(owner: str, log_pi: Array, mask: Any, discrete: bool, acted: dict[str, Array], **signal: Array) -> Array:
    """The mask, if all else is right: `acted` is what the policy that acted says of what it did."""
    if log_pi.ndim == 0:
        raise ValueError(f"{owner}: log_pi must have an axis of steps, got one number.")
    require_shapes(owner, log_pi.shape, **acted)
    require_steps_or_one(owner, log_pi.shape, **signal)
    mask = as_mask(owner, mask, log_pi.shape)
    require_log_probabilities(owner, discrete, mask, **({"log_pi": log_pi} | acted))
    require_possible(owner, mask, **acted)
    require_finite(owner, **{name: held_fixed(array, mask) for name, array in signal.items()})
    return mask
