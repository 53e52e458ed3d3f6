"""Logs of the MDP that comes with the package, made once."""

import functools

import numpy as np

from experiments.ope.mdp import MDPLogs

DISCOUNT = 0.98


@functools.cache
def drawn(horizon, count, seed, policy="behaviour"):
    """`count` trajectories, from which logs are cut."""
    return MDPLogs.draw(horizon, count, seed, policy=policy)


def log_of(horizon, count, seed):
    """A log of all drawn trajectories."""
    return drawn(horizon, count, seed).log(0, count)


def ratios_of(log):
    """pi / mu at every step, in plain NumPy."""
    return np.exp(log.log_target - log.log_behaviour)
