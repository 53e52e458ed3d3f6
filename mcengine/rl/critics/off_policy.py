"""Critic targets and advantages from the data of another policy: V-trace, Retrace, tree backup and Q(lambda)."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from mcengine import weights
from mcengine.rl.critics.episode_ends import StepDiscounts, Steps, as_steps, step_discounts
from mcengine.rl.critics.recurrence import backward
from mcengine.rl.inputs import require_finite, require_shapes


class CriticTargets(NamedTuple):
    """`targets` of the critic at every step, and `advantages` of the actions taken there; [..., T] each."""

    targets: Steps
    advantages: Steps


def vtrace(
    rewards: ArrayLike,
    values: ArrayLike,
    next_v: ArrayLike,
    log_ratios: ArrayLike,
    *,
    discount: ArrayLike,
    lambda_: ArrayLike = 1.0,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    pg_rho_bar: float | None = None,
    terminated: ArrayLike | None = None,
    truncated: ArrayLike | None = None,
) -> CriticTargets:
    """V-trace targets v_t and policy-gradient advantages.

        v_t = V_t + rho_t delta_t + discount c_t (v_{t+1} - V_{t+1}),
        rho_t = min(rho_bar, r_t),  c_t = lambda min(c_bar, r_t),  r_t = pi / mu,
        advantage_t = min(pg_rho_bar, r_t) (r_t + discount v_{t+1} - V_t).

    The advantages include the importance weight: pass them to `policy_gradient`. After an end v_{t+1} is V(x_{t+1}).

    **Arguments:**

    - `rewards`, `next_v`, `discount`, `terminated`, `truncated`: as in `mcengine.rl.critics`.
    - `values`, [..., T]: V(x_t).
    - `log_ratios`, [..., T]: log pi - log mu of the actions taken.
    - `rho_bar`, `c_bar`, `pg_rho_bar`: bounds of the weights; `pg_rho_bar` is `rho_bar` if None.

    **Source:** Espeholt et al., IMPALA (2018), equation 1 and section 4.2.
    """
    rewards, values, next_v, log_ratios = as_steps(
        "vtrace", rewards=rewards, values=values, next_values=next_v, log_ratios=log_ratios
    )
    discounts = step_discounts("vtrace", rewards, discount, terminated=terminated, truncated=truncated)
    rho, c, pg_rho = (
        lax.stop_gradient(weights.from_log(weights.truncated(log_ratios, jnp.log(jnp.asarray(bound, rewards.dtype)))))
        for bound in (rho_bar, c_bar, rho_bar if pg_rho_bar is None else pg_rho_bar)
    )
    errors = backward(rho * (rewards + discounts.bootstrap * next_v - values), lambda_ * c * discounts.onward)
    following = _next_targets(values + errors, next_v, discounts)
    return CriticTargets(values + errors, pg_rho * (rewards + discounts.bootstrap * following - values))


def _next_targets(targets: Steps, next_v: Steps, discounts: StepDiscounts) -> Steps:
    """The target of the next step, or V(x_{t+1}) after an end."""
    shifted = jnp.concatenate([targets[..., 1:], next_v[..., -1:]], axis=-1)
    return jnp.where(discounts.onward == discounts.bootstrap, shifted, next_v)


def q_targets(
    rewards: ArrayLike,
    q: ArrayLike,
    next_v: ArrayLike,
    traces: ArrayLike,
    *,
    discount: ArrayLike,
    terminated: ArrayLike | None = None,
    truncated: ArrayLike | None = None,
) -> Steps:
    """target_t = Q_t + delta_t + discount c_{t+1} (target_{t+1} - Q_{t+1}), delta_t = r_t + discount V(x_{t+1}) - Q_t.

    **Arguments:**

    - `rewards`, `discount`, `terminated`, `truncated`: as in `mcengine.rl.critics`.
    - `q`, [..., T]: Q(x_t, a_t).
    - `next_v`, [..., T]: sum_a pi(a) Q(x_{t+1}, a) at the observation that followed.
    - `traces`, one number or [..., T]: c_t of the action taken at t. `retrace_traces` gives Retrace(lambda),
      `tree_backup_traces` TB(lambda), and the number lambda gives Q(lambda).

    **Source:** Munos et al., Safe and efficient off-policy reinforcement learning (2016), equation 3 and table 1.
    """
    rewards, q, next_v = as_steps("q_targets", rewards=rewards, q=q, next_values=next_v)
    traces = jnp.asarray(traces, rewards.dtype)
    traces = traces if traces.ndim else jnp.broadcast_to(traces, rewards.shape)
    require_shapes("q_targets", rewards.shape, traces=traces)
    require_finite("q_targets", traces=traces)
    discounts = step_discounts("q_targets", rewards, discount, terminated=terminated, truncated=truncated)
    next_traces = jnp.concatenate([traces[..., 1:], jnp.zeros_like(traces[..., :1])], axis=-1)
    return q + backward(rewards + discounts.bootstrap * next_v - q, next_traces * discounts.onward)


def retrace_traces(log_ratios: ArrayLike, lambda_: float = 1.0) -> Steps:
    """c_t = lambda min(1, pi / mu), [..., T], from log pi - log mu: Retrace.

    Converges for any pair of policies, and does not shorten traces where the policies agree.
    """
    return lambda_ * weights.from_log(weights.truncated(jnp.asarray(log_ratios), 0.0))


def tree_backup_traces(log_pi: ArrayLike, lambda_: float = 1.0) -> Steps:
    """c_t = lambda pi(a_t | x_t), [..., T], from log pi of the actions taken: tree backup.

    Needs no behaviour probabilities, but shortens traces even where the policies agree.
    """
    return lambda_ * weights.from_log(jnp.asarray(log_pi))
