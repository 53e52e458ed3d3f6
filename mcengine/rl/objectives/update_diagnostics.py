"""Diagnostics of a policy update from its raw weights, before any clipping."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.rl.inputs import as_float, as_mask, require_log_probabilities, require_possible, require_shapes
from mcengine.rl.objectives import levels
from mcengine.rl.objectives.levels import Level
from mcengine.rl.objectives.surrogate import mask_like


class UpdateDiagnostics(NamedTuple):
    """Diagnostics of the raw weights w = pi / mu of a batch.

    - `ess`: (sum w)^2 / sum w^2; `ess_share`: ess / number of weights.
    - `pareto_k`: k-hat. Above 0.5 the variance is infinite, above 0.7 averages with these weights are unreliable.
    - `largest_share`: max w / sum w.
    - `mean_weight`: the mean of w, whose expectation is 1.
    - `kl`: KL(mu || pi), estimated by k3.
    - `clipped_low`, `clipped_high`: shares of the weights below 1 - epsilon and above 1 + epsilon_high.
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
    mask: ArrayLike | None = None,
    level: Level = levels.step,
    epsilon: ArrayLike = 0.2,
    epsilon_high: ArrayLike | None = None,
    discrete: bool = False,
) -> UpdateDiagnostics:
    """Diagnostics of an update of pi with actions taken by mu; runs inside `jit`.

    **Arguments:** as in `mcengine.rl.objectives`; `level` chooses the weights that are examined; an objective would
    clip them at 1 - `epsilon` and 1 + `epsilon_high` (`epsilon` if None).

    **Raises:** `ValueError` as described there.
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
    kept = mask_like(log_w, mask)
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
