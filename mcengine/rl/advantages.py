"""Returns, targets of critics and advantages, all from one recurrence y_t = b_t + a_t y_{t+1} along the last axis.

`terminated` (the episode is over: nothing follows) and `truncated` (it was cut off: something would have followed) are
apart everywhere. What a step is worth beyond its reward is discount (1 - terminated) V(x_{t+1}), where x_{t+1} is the
observation that followed *before* any reset: `next_values` puts those together. Sums over later steps stop at either.
The last step of an array is followed by nothing, so it counts as truncated.

Shapes [..., T]; `discount` a number or [..., T].
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.rl.inputs import require_finite, require_shapes
from mcengine.rl.recurrence import backward

Steps = Float[Array, "*batch T"]


class CriticTargets(NamedTuple):
    """What a critic should say at every step, and the advantage of what was done there."""

    targets: Steps
    advantages: Steps


def next_values(values: ArrayLike, last: ArrayLike, truncated: Any = None, final: Any = None) -> Steps:
    """V of the observation that followed each step: V_{t+1}, `last` after the last, and `final` where truncated.

    **Arguments:** `values` V(x_t); `last`, V of the observation after the last step; `final`, [..., T], V of the final
    observation of the episode that was cut off at that step (only these entries are read).
    """
    values, last = jnp.asarray(values), jnp.asarray(last)
    require_shapes("next_values", values.shape[:-1], last=last)
    following = jnp.concatenate([values[..., 1:], last[..., None]], axis=-1)
    if (truncated is None) != (final is None):
        raise ValueError("next_values: give truncated and final together, or neither.")
    if truncated is None:
        return following
    require_shapes("next_values", values.shape, truncated=truncated, final=final)
    return jnp.where(jnp.asarray(truncated, bool), jnp.asarray(final), following)


class _Ends(NamedTuple):
    """discount (1 - terminated), which a bootstrap is multiplied by, and discount (1 - either end), which sums are."""

    bootstrap: Steps
    onward: Steps


def _ends(owner: str, like: Steps, discount: Any, terminated: Any, truncated: Any) -> _Ends:
    flags = []
    for name, flag in (("terminated", terminated), ("truncated", truncated)):
        flag = jnp.zeros(like.shape, bool) if flag is None else jnp.asarray(flag, bool)
        require_shapes(owner, like.shape, **{name: flag})
        flags.append(flag)
    discount = jnp.asarray(discount, like.dtype)
    if discount.ndim:
        require_shapes(owner, like.shape, discount=discount)
    discount = jnp.broadcast_to(discount, like.shape)
    bootstrap = jnp.where(flags[0], 0.0, discount)
    return _Ends(bootstrap, jnp.where(flags[1], 0.0, bootstrap))


def _arrays(owner: str, **arrays: Any) -> list[Array]:
    """The arrays, floating, of one shape, finite."""
    found = {name: jnp.asarray(array) for name, array in arrays.items()}
    shape = next(iter(found.values())).shape
    if not shape:
        raise ValueError(f"{owner}: {next(iter(found))} must have an axis of steps, got one number.")
    if 0 in shape:
        raise ValueError(f"{owner}: there are no steps in arrays of shape {shape}.")
    require_shapes(owner, shape, **found)
    require_finite(owner, **found)
    return [x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float) for x in found.values()]


def rewards_to_go(
    rewards: ArrayLike, discount: Any = 1.0, *, terminated: Any = None, truncated: Any = None, bootstrap: Any = None
) -> Steps:
    """G_t = r_t + discount G_{t+1} until the episode ends: the Monte Carlo return from each step on.

    **Arguments:** `bootstrap`, [..., T], V of the observation that followed each step (see `next_values`); it is added
    where an episode is cut off, and after the last step. Without it nothing is, as for finite episodes.
    """
    (rewards,) = _arrays("rewards_to_go", rewards=rewards)
    if bootstrap is None:
        ends = _ends("rewards_to_go", rewards, discount, terminated, truncated)
        return backward(rewards, ends.onward)
    return lambda_returns(rewards, bootstrap, discount, 1.0, terminated=terminated, truncated=truncated)


def total_returns(rewards: ArrayLike, discount: Any = 1.0) -> Float[Array, "*batch 1"]:
    """sum_t discount^t r_t of a whole episode, for every step of it: [..., 1]."""
    return rewards_to_go(rewards, discount)[..., :1]


def lambda_returns(
    rewards: ArrayLike, next_v: ArrayLike, discount: Any, lambda_: Any, *, terminated: Any = None, truncated: Any = None
) -> Steps:
    """G_t = r_t + discount ((1 - lambda) V(x_{t+1}) + lambda G_{t+1}): targets between TD (0) and Monte Carlo (1).

    Where an episode ends, and at the last step, G_t = r_t + discount (1 - terminated) V(x_{t+1}).
    """
    rewards, next_v = _arrays("lambda_returns", rewards=rewards, next_values=next_v)
    ends = _ends("lambda_returns", rewards, discount, terminated, truncated)
    carried = _up_to_last(lambda_ * ends.onward)
    return backward(rewards + (ends.bootstrap - carried) * next_v, carried)


def _up_to_last(carried: Steps) -> Steps:
    """What is carried back to each step from the next one; nothing to the last."""
    return carried.at[..., -1].set(0.0)


def td_targets(rewards: ArrayLike, next_v: ArrayLike, discount: Any, *, terminated: Any = None) -> Steps:
    """r_t + discount (1 - terminated) V(x_{t+1})."""
    return lambda_returns(rewards, next_v, discount, 0.0, terminated=terminated)


def n_step_targets(
    rewards: ArrayLike, next_v: ArrayLike, discount: Any, n: int, *, terminated: Any = None, truncated: Any = None
) -> Steps:
    """sum_{i<n} discount^i r_{t+i} + discount^n V(x_{t+n}), shorter where the episode or the array ends before."""
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"n_step_targets: n must be a positive integer, got {n!r}.")
    rewards, next_v = _arrays("n_step_targets", rewards=rewards, next_values=next_v)
    ends = _ends("n_step_targets", rewards, discount, terminated, truncated)
    carried = _up_to_last(ends.onward)
    one_step = rewards + ends.bootstrap * next_v
    targets = one_step
    for _ in range(min(n, rewards.shape[-1]) - 1):
        longer = jnp.concatenate([targets[..., 1:], targets[..., -1:]], axis=-1)
        targets = rewards + (ends.bootstrap - carried) * next_v + carried * longer
    return targets


def gae(
    rewards: ArrayLike,
    values: ArrayLike,
    next_v: ArrayLike,
    discount: Any,
    lambda_: Any,
    *,
    terminated: Any = None,
    truncated: Any = None,
) -> CriticTargets:
    """Generalised advantage estimation: A_t = delta_t + discount lambda A_{t+1}, targets V_t + A_t.

    delta_t = r_t + discount (1 - terminated) V(x_{t+1}) - V(x_t). Source: Schulman et al. (2016), equation 16.
    """
    rewards, values, next_v = _arrays("gae", rewards=rewards, values=values, next_values=next_v)
    ends = _ends("gae", rewards, discount, terminated, truncated)
    advantages = backward(rewards + ends.bootstrap * next_v - values, lambda_ * ends.onward)
    return CriticTargets(values + advantages, advantages)


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
    rewards, values, next_v, log_ratios = _arrays(
        "vtrace", rewards=rewards, values=values, next_values=next_v, log_ratios=log_ratios
    )
    ends = _ends("vtrace", rewards, discount, terminated, truncated)
    rho, c, pg_rho = (
        lax.stop_gradient(weights.from_log(weights.truncated(log_ratios, jnp.log(jnp.asarray(bound, rewards.dtype)))))
        for bound in (rho_bar, c_bar, rho_bar if pg_rho_bar is None else pg_rho_bar)
    )
    errors = backward(rho * (rewards + ends.bootstrap * next_v - values), lambda_ * c * ends.onward)
    following = _following(values + errors, next_v, ends)
    return CriticTargets(values + errors, pg_rho * (rewards + ends.bootstrap * following - values))


def _following(targets: Steps, next_v: Steps, ends: _Ends) -> Steps:
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
    rewards, q, next_v = _arrays("q_targets", rewards=rewards, q=q, next_values=next_v)
    traces = jnp.asarray(traces, rewards.dtype)
    traces = traces if traces.ndim else jnp.broadcast_to(traces, rewards.shape)
    require_shapes("q_targets", rewards.shape, traces=traces)
    require_finite("q_targets", traces=traces)
    ends = _ends("q_targets", rewards, discount, terminated, truncated)
    next_traces = jnp.concatenate([traces[..., 1:], jnp.zeros_like(traces[..., :1])], axis=-1)
    return q + backward(rewards + ends.bootstrap * next_v - q, next_traces * ends.onward)


def retrace_traces(log_ratios: ArrayLike, lambda_: float = 1.0) -> Steps:
    """c_t = lambda min(1, pi / mu): safe for any pair of policies, and long where they agree."""
    return lambda_ * weights.from_log(weights.truncated(jnp.asarray(log_ratios), 0.0))


def tree_backup_traces(log_pi: ArrayLike, lambda_: float = 1.0) -> Steps:
    """c_t = lambda pi(a_t | x_t): needs no behaviour probabilities, and is short even where the policies agree."""
    return lambda_ * weights.from_log(jnp.asarray(log_pi))


def group_advantages(
    rewards: ArrayLike, *, scale: str | None = "std", ddof: int = 0, epsilon: float = 1e-6
) -> Float[Array, "*groups n"]:
    """(R - mean of the group) / (std of the group + epsilon): GRPO; without the division (`scale=None`) Dr. GRPO.

    Rewards 0 and 1 of mean 1/2 become -1 and 1; equal rewards become 0 exactly. Libraries differ in ddof (0 or 1) and
    epsilon (1e-4 or 1e-6).

    **Raises:** `ValueError` for groups of a single answer, which has no advantage over others.
    """
    (rewards,) = _arrays("group_advantages", rewards=rewards)
    n = rewards.shape[-1]
    if n < 2:
        raise ValueError(f"group_advantages: a group must have at least 2 answers, got {n}.")
    if scale not in ("std", None):
        raise ValueError(f"group_advantages: scale must be 'std' or None, got {scale!r}.")
    # From the first: the mean of equal rewards rounds, and epsilon does not hide that.
    shifted = rewards - rewards[..., :1]
    centred = shifted - jnp.mean(shifted, axis=-1, keepdims=True)
    if scale is None:
        return centred
    return centred / (jnp.std(shifted, axis=-1, ddof=ddof, keepdims=True) + epsilon)


def leave_one_out_advantages(rewards: ArrayLike) -> Float[Array, "*groups n"]:
    """R_i - mean of the others of its group: a baseline that does not depend on R_i, so that no bias comes in.

    n / (n - 1) times the centred reward. Source: Kool et al. (2019); Ahmadian et al. (2024).
    """
    n = jnp.shape(rewards)[-1]
    return group_advantages(rewards, scale=None) * (n / (n - 1))
