"""Trajectories of a policy in a tabular MDP: a distribution like any other, and a transport."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions import choice
from mcengine.distributions.normal import LOG_SQRT_2PI
from mcengine.distributions.protocol import sample_by_transport
from mcengine.numerics.values import as_parameter
from mcengine.rl.problems.mdp import TabularMDP, require_probabilities


class Trajectory(NamedTuple):
    """States s_t and actions a_t (integers) and rewards r_t, t = 0..horizon-1."""

    states: Int[Array, " horizon"]
    actions: Int[Array, " horizon"]
    rewards: Float[Array, " horizon"]


class Trajectories(eqx.Module):
    """What `policy` does in `mdp`.

    log q = log start[s_0] + sum_t log policy[s_t, a_t] + sum_{t>0} log transition[s_{t-1}, a_{t-1}, s_t]
            + sum_t log N(r_t; reward[s_t, a_t], reward_noise^2),
    and -inf for states and actions that the tables do not have or give probability 0.

    Three uniforms a step, in the order of time (state, action, reward), so that quasi-random points spend their best
    coordinates on the first steps.

    **Arguments:** `mdp`; `policy` [S, A], rows of probabilities.

    **Raises:** `ValueError` where `policy` has the wrong shape or its rows are no probabilities.
    """

    mdp: TabularMDP
    policy: Float[Array, "states actions"] = eqx.field(converter=as_parameter)

    def __check_init__(self):
        require_probabilities("Trajectories", "policy", self.policy, (self.mdp.num_states, self.mdp.num_actions))

    @property
    def num_uniforms(self) -> int:
        return 3 * self.mdp.horizon

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Trajectory, Float[Array, ""]]:
        v = jnp.reshape(v, (self.mdp.horizon, 3))
        move_steps, policy_steps, actions = steps_of(self._moves()), steps_of(self.policy), self.mdp.num_actions

        def step(pair, v_t):
            # One output a step and a fence: what several outputs share the compiler computes anew for each (2 x).
            state = numerics.fence(choose(move_steps, pair, v_t[0]))
            pair = state * actions + choose(policy_steps, state, v_t[1])
            return pair, pair

        pairs = lax.scan(step, self._first(), v[:, :2])[1]
        z = numerics.fence(numerics.normal_quantile(v[:, 2]))
        rewards = look_up(jnp.ravel(self.mdp.reward), pairs) + self.mdp.reward_noise * z
        return Trajectory(pairs // actions, pairs % actions, rewards), self._log_density(pairs, z)

    def sample(self, key: PRNGKeyArray) -> Trajectory:
        return sample_by_transport(self, key)

    def log_prob(self, x: Trajectory) -> Float[Array, ""]:
        states, actions = self.mdp.num_states, self.mdp.num_actions
        known = jnp.all((x.states >= 0) & (x.states < states) & (x.actions >= 0) & (x.actions < actions))
        pairs = jnp.where(known, x.states * actions + x.actions, 0).astype(jnp.int32)
        z = (x.rewards - look_up(jnp.ravel(self.mdp.reward), pairs)) / self.mdp.reward_noise
        return jnp.where(known, self._log_density(pairs, z), -jnp.inf)

    def _log_density(self, pairs: Int[Array, " horizon"], z: Float[Array, " horizon"]) -> Float[Array, ""]:
        """log q of the pairs s_t A + a_t and the standardised rewards z."""
        # log P(next pair | pair) as one table: one gather a step, in a loop because gathers by whole rows are slower.
        log_next = safe_log(self._moves())[:, :, None] + safe_log(self.policy)[None]
        width = self.policy.size
        log_next = jnp.ravel(log_next)

        def step(carry, at_t):
            (before, log_q), (pair, z_t) = carry, at_t
            return (pair, log_q + look_up(log_next, before * width + pair) - 0.5 * z_t * z_t), None

        log_q = lax.scan(step, (self._first(), jnp.zeros((), z.dtype)), (pairs, z))[0][1]
        return log_q - self.mdp.horizon * (jnp.log(self.mdp.reward_noise) + LOG_SQRT_2PI)

    def _first(self) -> Int[Array, ""]:
        """What stands for the pair before the first one: the last row of `_moves`."""
        return jnp.asarray(self.policy.size, jnp.int32)

    def _moves(self) -> Float[Array, "rows states"]:
        # Row s A + a is the law of the state after the pair (s, a); the last row is that of the first state.
        flat = jnp.reshape(self.mdp.transition, (-1, self.mdp.num_states))
        return jnp.concatenate([flat, self.mdp.start[None]])


def look_up(table: Float[Array, " n"], index: Int[Array, "*shape"]) -> Float[Array, "*shape"]:
    """table[index] for indices known to be in range: without the check that JAX else makes, twice as fast."""
    return table.at[index].get(mode="promise_in_bounds")


def safe_log(table: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log with log 0 = -inf and gradient 0 there, so that an action that never happens spoils no gradient."""
    positive = table > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, table, 1.0)), -jnp.inf)


def steps_of(table: Float[Array, "rows choices"]) -> Float[Array, "two_rows steps"]:
    """What a centred uniform must exceed to pass each choice but the last, one row below the other for v > 0 and v < 0.

    Row r holds the cumulative probabilities of `table[r]`, row `rows + r` the negatives of the sums of all that come
    after: one comparison serves either half, and a rare choice is drawn as often as it says at either end.
    """
    from_below, from_above = choice.sums_from_both_ends(table)
    return jnp.concatenate([from_below, -from_above])


@choice.refusing_pathwise
def choose(steps: Float[Array, "two_rows steps"], row: Int[Array, ""], v: Float[Array, ""]) -> Int[Array, ""]:
    """The choice that the centred uniform v makes by the probabilities in `row` of the table of `steps_of`."""
    row = row + jnp.where(v > 0, 0, steps.shape[0] // 2)
    passed = [v > look_up(steps[:, k], row) for k in range(steps.shape[1])]
    # Scalar gathers added up: a gather of the row and a sum over it take twice the time.
    return sum((p.astype(jnp.int32) for p in passed), jnp.zeros((), jnp.int32))
