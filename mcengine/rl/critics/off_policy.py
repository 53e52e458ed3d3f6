"""Critic targets and advantages from the data of another policy."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from mcengine import weights
from mcengine.rl.critics.episode_ends import EpisodeEnds, Steps, as_steps, episode_ends
from mcengine.rl.critics.recurrence import backward
from mcengine.rl.inputs import require_finite, require_shapes


class CriticTargets(NamedTuple):
    """What a critic should say at every step, and the advantage of what was done there."""

    targets: Steps
    advantages: Steps


def vtrace(
    rewards: ArrayLike,
    values: ArrayLike,
    next_v: ArrayLike,
    log_ratios: ArrayLike,
    discount: Any,
    *,
    lambda_: Any = 1.0,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    pg_rho_bar: float | None = None,
    terminated: Any = None,
    truncated: Any = None,
) -> CriticTargets:
    """V-trace: targets v_t = V_t + rho_t delta_t + discount c_t (v_{t+1} - V_{t+1}), rho = min(rho_bar, r), c = lambda
    min(c_bar, r), r = pi / mu; advantages min(pg_rho_bar, r_t) (r_t + discount v_{t+1} - V_t).

    **Arguments:** `log_ratios` log pi - log mu of what was done; `pg_rho_bar`, rho_bar by default. The policy's loss is
    `policy_gradient` of these advantages, which carry their weight already.

    Beyond an end v_{t+1} is V(x_{t+1}). Source: Espeholt et al., IMPALA (2018), equation 1 and section 4.2.
    """
    rewards, values, next_v, log_ratios = as_steps(
        "vtrace", rewards=rewards, values=values, next_values=next_v, log_ratios=log_ratios
    )
    ends = episode_ends("vtrace", rewards, discount, terminated, truncated)
    rho, c, pg_rho = (
        lax.stop_gradient(weights.from_log(weights.truncated(log_ratios, jnp.log(jnp.asarray(bound, rewards.dtype)))))
        for bound in (rho_bar, c_bar, rho_bar if pg_rho_bar is None else pg_rho_bar)
    )
    errors = backward(rho * (rewards + ends.bootstrap * next_v - values), lambda_ * c * ends.onward)
    following = _following(values + errors, next_v, ends)
    return CriticTargets(values + errors, pg_rho * (rewards + ends.bootstrap * following - values))


def _following(targets: Steps, next_v: Steps, ends: EpisodeEnds) -> Steps:
    """The target of the next step, or the value beyond an end."""
    shifted = jnp.concatenate([targets[..., 1:], next_v[..., -1:]], axis=-1)
    return jnp.where(ends.onward == ends.bootstrap, shifted, next_v)


def q_targets(
    rewards: ArrayLike,
    q: ArrayLike,
    next_v: ArrayLike,
    traces: Any,
    discount: Any,
    *,
    terminated: Any = None,
    truncated: Any = None,
) -> Steps:
    """Q_t + delta_t + discount c_{t+1} (target_{t+1} - Q_{t+1}), delta_t = r_t + discount V(x_{t+1}) - Q_t.

    **Arguments:** `q`, Q(x_t, a_t); `next_v`, sum_a pi(a) Q(x_{t+1}, a) at the observation that followed; `traces` c_t
    of the action taken at t, [..., T] or a number: `retrace_traces`, `tree_backup_traces`, lambda for Q(lambda).

    Source: Munos et al., Safe and efficient off-policy reinforcement learning (2016), equation 3 and table 1.
    """
    rewards, q, next_v = as_steps("q_targets", rewards=rewards, q=q, next_values=next_v)
    traces = jnp.asarray(traces, rewards.dtype)
    traces = traces if traces.ndim else jnp.broadcast_to(traces, rewards.shape)
    require_shapes("q_targets", rewards.shape, traces=traces)
    require_finite("q_targets", traces=traces)
    ends = episode_ends("q_targets", rewards, discount, terminated, truncated)
    next_traces = jnp.concatenate([traces[..., 1:], jnp.zeros_like(traces[..., :1])], axis=-1)
    return q + backward(rewards + ends.bootstrap * next_v - q, next_traces * ends.onward)


def retrace_traces(log_ratios: ArrayLike, lambda_: float = 1.0) -> Steps:
    """c_t = lambda min(1, pi / mu): safe for any pair of policies, and long where they agree."""
    return lambda_ * weights.from_log(weights.truncated(jnp.asarray(log_ratios), 0.0))


def tree_backup_traces(log_pi: ArrayLike, lambda_: float = 1.0) -> Steps:
    """c_t = lambda pi(a_t | x_t): needs no behaviour probabilities, and is short even where the policies agree."""
    return lambda_ * weights.from_log(jnp.asarray(log_pi))
