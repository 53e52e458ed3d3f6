"""A softmax policy in the package's tabular MDP: trajectories, exact values and the exact gradient."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcengine.rl import Trajectories, Trajectory, load_tabular_mdp

LOGGED = load_tabular_mdp()
MDP = LOGGED.mdp
# Logits of the policies that come with the package; the last action's is 0.
BEHAVIOUR, TARGET = (np.log(policy / policy[:, -1:]) for policy in (LOGGED.behaviour, LOGGED.target))


class Batch(NamedTuple):
    """n trajectories, [n, T] each, with log-probabilities under the policy that made them."""

    states: jax.Array
    actions: jax.Array
    rewards: jax.Array
    log_mu: jax.Array


class Values(NamedTuple):
    """V_t(s), [T + 1, S] with V_T = 0, and Q_t(s, a), [T, S, A]."""

    v: jax.Array
    q: jax.Array


def draw(key, logits, number: int) -> Batch:
    """`number` trajectories of the policy."""
    policy = Trajectories(MDP, jax.nn.softmax(logits))
    path: Trajectory = jax.vmap(policy.sample)(jax.random.split(key, number))
    return Batch(*path, log_probabilities(logits, path.states, path.actions))


def log_probabilities(logits, states, actions):
    """log pi(a_t | s_t), the shape of the states."""
    return jax.nn.log_softmax(logits)[states, actions]


def values(logits) -> Values:
    """By dynamic programming; differentiable."""
    policy = jax.nn.softmax(logits)

    def before(v, _):
        q = MDP.reward + MDP.discount * jnp.einsum("sax,x->sa", MDP.transition, v)
        v = jnp.sum(policy * q, axis=-1)
        return v, (v, q)

    end = jnp.zeros(MDP.num_states)
    _, (v, q) = lax.scan(before, end, None, length=MDP.horizon, reverse=True)
    return Values(jnp.concatenate([v, end[None]]), q)


def expected_return(logits):
    """The exact value of the policy, whose gradient is the exact policy gradient."""
    return MDP.start @ values(logits).v[0]


def discounts():
    """discount^t, [T]."""
    return MDP.discount ** jnp.arange(MDP.horizon, dtype=float)
