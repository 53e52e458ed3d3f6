"""The clipped importance-sampling policy objective (CISPO)."""

from collections.abc import Callable
from typing import Any

from jax.typing import ArrayLike
from jaxtyping import Array

from mcengine.rl.objectives import forms, reductions
from mcengine.rl.objectives.surrogate import Loss, surrogate_loss
from mcengine.rl.objectives.transforms import Truncate


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
