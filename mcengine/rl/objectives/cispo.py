"""CISPO: the policy gradient with clipped importance weights."""

from jax.typing import ArrayLike

from mcengine.rl.objectives import forms, reductions
from mcengine.rl.objectives.reductions import Reduction
from mcengine.rl.objectives.surrogate import Loss, surrogate_loss
from mcengine.rl.objectives.transforms import Truncate


def cispo(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    advantages: ArrayLike,
    *,
    high: ArrayLike = 5.0,
    mask: ArrayLike | None = None,
    reduction: Reduction = reductions.token_mean,
    discrete: bool = False,
) -> Loss:
    """-E[min(w, high) A log pi] with the weight held fixed, so clipped tokens keep a gradient.

    **Arguments:** as in `mcengine.rl.objectives`; `high` is the bound of the weight itself: for libraries that state
    1 + epsilon_high, high = 1 + epsilon_high.

    **Source:** MiniMax-M1 (2025), equation 4.
    """
    return surrogate_loss(
        log_pi, log_mu, advantages, mask=mask, transform=Truncate(high), form=forms.score, reduction=reduction,
        discrete=discrete,
    )  # fmt: skip
