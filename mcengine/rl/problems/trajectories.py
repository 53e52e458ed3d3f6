"""Trajectories of a policy in a tabular MDP: a distribution with a density and a transport from uniforms."""

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
    """The distribution of trajectories of `policy` in `mdp`.

    log q = log start[s_0] + sum_t log policy[s_t, a_t] + sum_{t>0} log transition[s_{t-1}, a_{t-1}, s_t]
            + sum_t log N(r_t; reward[s_t, a_t], reward_noise^2),
    and -inf for states and actions that do not exist or have probability 0.

    Every step takes three uniforms (state, action, reward) in the order of time, so that the first and best coordinates
    of quasi-random points go to the first steps.

    **Arguments:** `mdp`; `policy`, [S, A], rows of probabilities.

    **Raises:** `ValueError` if `policy` has another shape or rows that are not probabilities.
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
        state_thresholds, action_thresholds = choice_thresholds(self._next_states()), choice_thresholds(self.policy)
        actions = self.mdp.num_actions

        def step(pair: Int[Array, ""], v_t: Float[Array, "2"]) -> tuple[Int[Array, ""], Int[Array, ""]]:
            # One output per step and a fence: otherwise the compiler repeats shared work for every output (2 x).
            state = numerics.fence(choose(state_thresholds, pair, v_t[0]))
            pair = state * actions + choose(action_thresholds, state, v_t[1])
            return pair, pair

        pairs = lax.scan(step, self._start_row(), v[:, :2])[1]
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
        # log P(next pair | pair) as one table: one gather per step, in a loop because gathers of whole rows are slower.
        log_next = safe_log(self._next_states())[:, :, None] + safe_log(self.policy)[None]
        width = self.policy.size
        log_next = jnp.ravel(log_next)

        def step(
            carry: tuple[Int[Array, ""], Array], at_t: tuple[Int[Array, ""], Array]
        ) -> tuple[tuple[Int[Array, ""], Array], None]:
            (before, log_q), (pair, z_t) = carry, at_t
            return (pair, log_q + look_up(log_next, before * width + pair) - 0.5 * z_t * z_t), None

        log_q = lax.scan(step, (self._start_row(), jnp.zeros((), z.dtype)), (pairs, z))[0][1]
        return log_q - self.mdp.horizon * (jnp.log(self.mdp.reward_noise) + LOG_SQRT_2PI)

    def _start_row(self) -> Int[Array, ""]:
        """The row of `_next_states` that holds the probabilities of the first state."""
        return jnp.asarray(self.policy.size, jnp.int32)

    def _next_states(self) -> Float[Array, "rows states"]:
        """Probabilities of the next state: row s A + a after the pair (s, a); the last row is for the first state."""
        flat = jnp.reshape(self.mdp.transition, (-1, self.mdp.num_states))
        return jnp.concatenate([flat, self.mdp.start[None]])


def look_up(table: Float[Array, " n"], index: Int[Array, "*shape"]) -> Float[Array, "*shape"]:
    """table[index] for indices known to be in range: without JAX's range check it is twice as fast."""
    return table.at[index].get(mode="promise_in_bounds")


def safe_log(table: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log with log 0 = -inf and gradient 0 there, so that an action of probability 0 does not make a gradient NaN."""
    positive = table > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, table, 1.0)), -jnp.inf)


def choice_thresholds(table: Float[Array, "rows choices"]) -> Float[Array, "two_rows thresholds"]:
    """Thresholds of a centred uniform v: the choice is the number of thresholds that v exceeds.

    For v > 0 row r holds the cumulative probabilities of `table[r]`. For v < 0 row `rows + r` holds minus the sums of
    the later probabilities. Rare choices at either end then keep their probabilities in float32.
    """
    from_below, from_above = choice.sums_from_both_ends(table)
    return jnp.concatenate([from_below, -from_above])


@choice.refusing_pathwise
def choose(thresholds: Float[Array, "two_rows thresholds"], row: Int[Array, ""], v: Float[Array, ""]) -> Int[Array, ""]:
    """The choice of the centred uniform v by the probabilities in `row` of the table behind `choice_thresholds`."""
    row = row + jnp.where(v > 0, 0, thresholds.shape[0] // 2)
    passed = [v > look_up(thresholds[:, k], row) for k in range(thresholds.shape[1])]
    # A sum of scalar gathers: gathering the row and summing it takes twice the time.
    return sum((p.astype(jnp.int32) for p in passed), jnp.zeros((), jnp.int32))
