"""A softmax policy in the package's tabular MDP: trajectories, exact values and the exact gradient."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import PRNGKeyArray

from mcengine.rl import Trajectories, Trajectory, load_tabular_mdp

LOGGED = load_tabular_mdp()
MDP = LOGGED.mdp
# Logits of the policies that come with the package; the last action's is 0.
BEHAVIOUR, TARGET = (np.log(policy / policy[:, -1:]) for policy in (LOGGED.behaviour, LOGGED.target))


class Batch(NamedTuple):
    """n trajectories, [n, T] each, with log-probabilities of the actions under the policy that took them."""

    states: jax.Array
    actions: jax.Array
    rewards: jax.Array
    log_mu: jax.Array


class Values(NamedTuple):
    """V_t(s), [T + 1, S] with V_T = 0, and Q_t(s, a), [T, S, A]."""

    v: jax.Array
    q: jax.Array


def draw(key: PRNGKeyArray, logits: jax.Array, number: int) -> Batch:
    """`number` trajectories of the policy."""
    policy = Trajectories(MDP, jax.nn.softmax(logits))
    path: Trajectory = jax.vmap(policy.sample)(jax.random.split(key, number))
    return Batch(*path, log_probabilities(logits, path.states, path.actions))


def log_probabilities(logits: jax.Array, states: jax.Array, actions: jax.Array) -> jax.Array:
    """log pi(a_t | s_t), of the shape of the states."""
    return jax.nn.log_softmax(logits)[states, actions]


def values(logits: jax.Array) -> Values:
    """The values of the policy by dynamic programming; differentiable."""
    policy = jax.nn.softmax(logits)

    def before(v: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        q = MDP.reward + MDP.discount * jnp.einsum("sax,x->sa", MDP.transition, v)
        v = jnp.sum(policy * q, axis=-1)
        return v, (v, q)

    end = jnp.zeros(MDP.num_states)
    _, (v, q) = lax.scan(before, end, None, length=MDP.horizon, reverse=True)
    return Values(jnp.concatenate([v, end[None]]), q)


def expected_return(logits: jax.Array) -> jax.Array:
    """The exact value of the policy, whose gradient is the exact policy gradient."""
    return MDP.start @ values(logits).v[0]


def discounts() -> jax.Array:
    """discount^t, [T]."""
    return MDP.discount ** jnp.arange(MDP.horizon, dtype=float)
