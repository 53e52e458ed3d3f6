"""Importance-sampled guided policy search: trajectories of several samplers, weighted step by step."""

import jax.numpy as jnp
from jax import lax, nn
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
)
from mcengine.rl.objectives import levels
from mcengine.rl.problems.mdp import require_probabilities
from mcengine.weights.mis import mixture_log_density


def guided_policy_search_loss(
    log_pi: ArrayLike,
    log_samplers: ArrayLike,
    rewards: ArrayLike,
    *,
    regulariser: ArrayLike = 1e-2,
    shares: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    discrete: bool = False,
) -> Float[Array, ""]:
    """-sum_t {sum_i w_it r_it / Z_t + regulariser log Z_t}, Z_t = sum_i w_it: minus the estimated return.

    w_it = pi(tau_i up to t) / sum_j share_j q_j(tau_i up to t) has all samplers in the denominator (balance heuristic),
    so a trajectory that any of them is likely to make has no large weight. Weights are normalised at every step; the
    term log Z_t keeps the policy near the samples.

    **Arguments:**

    - `log_pi`, [n, T]: log-probabilities of the actions of n trajectories under the policy that learns.
    - `log_samplers`, [samplers, n, T]: the same under each policy or controller that made trajectories, -inf for
      actions that it never takes.
    - `rewards`, [n, T].
    - `regulariser`: the factor of log Z_t (w_r in the paper).
    - `shares`, [samplers]: the share of the trajectories that each sampler made; equal if None.
    - `mask`, [n, T], booleans: False after the end of a trajectory.
    - `discrete`: whether actions are discrete, so that log-probabilities are checked to be at most 0.

    **Raises:** `ValueError`, naming the argument, for other shapes, no steps, a mask that is False everywhere, NaN,
    shares that do not sum to 1, log-probabilities above 0 of discrete actions, and trajectories that no sampler can
    have made. Inside `jit` only shapes are checked.

    **Source:** Levine and Koltun, Guided Policy Search (2013), equation 5.
    """
    log_pi, log_samplers, rewards = (as_float(x) for x in (log_pi, log_samplers, rewards))
    owner = "guided_policy_search_loss"
    if log_pi.ndim != 2:
        raise ValueError(f"{owner}: log_pi has shape {log_pi.shape}, where [trajectories, steps] is needed.")
    require_shapes(owner, log_pi.shape, rewards=rewards)
    if log_samplers.ndim != 3 or log_samplers.shape[1:] != log_pi.shape or not len(log_samplers):
        needed = f"[samplers, {log_pi.shape[0]}, {log_pi.shape[1]}]"
        raise ValueError(f"{owner}: log_samplers has shape {log_samplers.shape}, where {needed} is needed.")
    mask = as_mask(owner, mask, log_pi.shape)
    require_log_probabilities(owner, discrete, mask, log_pi=log_pi, log_samplers=log_samplers)
    require_finite(owner, rewards=jnp.where(mask, rewards, 0.0), regulariser=jnp.asarray(regulariser))
    if shares is None:
        shares = jnp.full(len(log_samplers), 1.0 / len(log_samplers))
    shares = jnp.asarray(shares, log_pi.dtype)
    require_probabilities(owner, "shares", shares, log_samplers.shape[:1])
    each = levels.prefix(log_samplers, jnp.broadcast_to(mask, log_samplers.shape))
    log_q = mixture_log_density(jnp.log(shares)[:, None, None] + each)
    require_possible(owner, mask, **{"the mixture of log_samplers up to the step": log_q})
    log_w = weights.log_ratio(levels.prefix(log_pi, mask), lax.stop_gradient(log_q))
    # Trajectories that have ended contribute neither rewards nor to Z_t.
    log_w = jnp.where(mask, log_w, -jnp.inf)
    by_step = log_w.T
    alive = jnp.any(mask, axis=0)
    shifted = jnp.where(alive[:, None], by_step, 0.0)
    returns = jnp.sum(weights.from_log(weights.normalised(shifted)) * jnp.where(mask, rewards, 0.0).T, axis=-1)
    log_z = nn.logsumexp(shifted, axis=-1)
    return -jnp.sum(jnp.where(alive, returns + regulariser * log_z, 0.0))
