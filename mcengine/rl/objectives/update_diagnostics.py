"""How far a policy update may be trusted, from raw weights: what clipping hides is looked at before any clipping."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.rl.inputs import as_float, as_mask, require_log_probabilities, require_possible, require_shapes
from mcengine.rl.objectives import levels


class UpdateDiagnostics(NamedTuple):
    """Of the raw weights w = pi / mu of a batch.

    `ess` (sum w)^2 / sum w^2 and `ess_share` of the number of weights; `pareto_k`, k-hat (above .5 the variance is
    infinite, above .7 nothing that is averaged with these weights means anything); `largest_share` max w / sum w;
    `mean_weight`, 1 in expectation; `kl`, KL(mu || pi) by k3; `clipped_low`, `clipped_high`, the shares of weights
    outside the bounds.
    """

    ess: Float[Array, ""]
    ess_share: Float[Array, ""]
    pareto_k: Float[Array, ""]
    largest_share: Float[Array, ""]
    mean_weight: Float[Array, ""]
    kl: Float[Array, ""]
    clipped_low: Float[Array, ""]
    clipped_high: Float[Array, ""]


def update_diagnostics(
    log_pi: ArrayLike,
    log_mu: ArrayLike,
    *,
    mask: Any = None,
    level: Any = levels.step,
    epsilon: ArrayLike = 0.2,
    epsilon_high: ArrayLike | None = None,
    discrete: bool = False,
) -> UpdateDiagnostics:
    """Diagnostics of an update of pi with samples of mu; runs inside jit.

    **Arguments:** as in `surrogate_loss`; a `level` other than steps looks at those weights; `epsilon`, the bounds
    1 - epsilon and 1 + epsilon_high that an objective would clip at.

    **Raises:** `ValueError` as `surrogate_loss`.
    """
    log_pi, log_mu = lax.stop_gradient((as_float(log_pi), as_float(log_mu)))
    owner = "update_diagnostics"
    if log_pi.ndim == 0:
        raise ValueError(f"{owner}: log_pi must have an axis of steps, got one number.")
    require_shapes(owner, log_pi.shape, log_mu=log_mu)
    mask = as_mask(owner, mask, log_pi.shape)
    require_log_probabilities(owner, discrete, mask, log_pi=log_pi, log_mu=log_mu)
    require_possible(owner, mask, log_mu=log_mu)
    log_w = level(weights.log_ratio(jnp.where(mask, log_pi, 0.0), jnp.where(mask, log_mu, 0.0)), mask)
    kept = mask if log_w.shape == mask.shape else jnp.any(mask, axis=-1, keepdims=True)
    high = epsilon if epsilon_high is None else epsilon_high
    bounds = [jnp.log1p(jnp.asarray(x, log_w.dtype)) for x in (-jnp.asarray(epsilon, log_w.dtype), high)]
    return _of_weights(log_w.ravel(), kept.ravel(), *bounds)


@jax.jit
def _of_weights(log_w: Array, kept: Array, log_low: Array, log_high: Array) -> UpdateDiagnostics:
    count = jnp.sum(kept).astype(log_w.dtype)
    real = jnp.where(kept, log_w, -jnp.inf)
    inside = jnp.where(kept, log_w, 0.0)
    ess = weights.effective_sample_size(real)
    return UpdateDiagnostics(
        ess=ess,
        ess_share=ess / count,
        pareto_k=weights.pareto_smoothed(real, jnp.sum(kept))[1],
        largest_share=weights.largest_share(real),
        mean_weight=jnp.sum(weights.from_log(real)) / count,
        kl=jnp.sum(weights.excess_over_log(inside)) / count,
        clipped_low=jnp.sum(kept & (log_w < log_low)).astype(log_w.dtype) / count,
        clipped_high=jnp.sum(kept & (log_w > log_high)).astype(log_w.dtype) / count,
    )
