"""Logs of the MDP that comes with the package, exact values of its actions, and estimators written out anew."""

import functools

import jax
import numpy as np

from mcengine.distributions import sample_many
from mcengine.rl import Trajectories, load_tabular_mdp, ope

DISCOUNT = 0.98


@functools.cache
def policies(horizon):
    """The MDP, both policies and the exact value at a horizon."""
    return load_tabular_mdp(horizon=horizon)


@functools.cache
def paths(horizon, count, seed, on_policy=False):
    """(states, actions, rewards) of so many trajectories, NumPy [count, horizon] each."""
    logged = policies(horizon)
    source = Trajectories(logged.mdp, logged.target if on_policy else logged.behaviour)
    drawn = jax.jit(lambda key: sample_many(source, key, count))(jax.random.key(seed))
    return tuple(np.asarray(part) for part in drawn)


def log_of(horizon, rows, count, seed, on_policy=False):
    """The log of `rows` (a slice) of `paths`."""
    logged = policies(horizon)
    states, actions, rewards = (part[rows] for part in paths(horizon, count, seed, on_policy))
    behaviour = logged.target if on_policy else logged.behaviour
    return ope.TrajectoryLog(
        rewards, np.log(behaviour[states, actions]), actions=actions, states=states,
        target_probabilities=logged.target[states], discount=DISCOUNT,
    )  # fmt: skip


@functools.cache
def exact_tables(horizon):
    """Q [T, S, A] and V [T, S] of the target policy by dynamic programming in float64."""
    logged = policies(horizon)
    transition, reward = (np.asarray(table, np.float64) for table in (logged.mdp.transition, logged.mdp.reward))
    value, tables = np.zeros(len(reward)), []
    for _ in range(horizon):
        q = reward + DISCOUNT * transition @ value
        value = np.sum(logged.target * q, axis=1)
        tables.append((q, value))
    return tuple(np.stack(part[::-1]) for part in zip(*tables, strict=True))


def exact_model(log, shift=0.0):
    """`ActionValues` of the exact tables, all values off by `shift`."""
    q, v = exact_tables(log.horizon)
    step = np.arange(log.horizon)
    return ope.ActionValues(q[step, log.states, log.actions] + shift, v[step, log.states] + shift)


def ratios_of(log):
    """pi / mu at every step, in plain NumPy."""
    return np.exp(log.log_target - log.log_behaviour)
