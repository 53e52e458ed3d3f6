"""Logs of the MDP that comes with the package, and models of it that are exact or wrong."""

from functools import cache
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from mcengine.distributions import sample_many
from mcengine.rl import Trajectories, load_tabular_mdp, ope
from mcengine.rl.problems.logged import LoggedPolicies


class MDPLogs(NamedTuple):
    """`count` trajectories of `horizon` steps under one policy, from which logs are cut."""

    logged: LoggedPolicies
    behaviour: Float[np.ndarray, "states actions"]
    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray

    @classmethod
    def draw(cls, horizon: int, count: int, seed: int, policy: str = "behaviour") -> "MDPLogs":
        """Trajectories drawn with JAX's key `seed`, under the policy "behaviour", "target" or "halfway" between."""
        logged = load_tabular_mdp(horizon=horizon)
        halfway = 0.5 * (logged.behaviour + logged.target)
        behaviour = {"behaviour": logged.behaviour, "target": logged.target, "halfway": halfway}[policy]
        source = Trajectories(logged.mdp, behaviour)
        drawn = jax.jit(lambda key: sample_many(source, key, count))(jax.random.key(seed))
        return cls(logged, behaviour, *(np.asarray(array) for array in drawn))

    @property
    def exact(self) -> float:
        """The target policy's value."""
        assert self.logged.exact is not None
        return self.logged.exact

    def log(self, first: int, size: int) -> ope.TrajectoryLog:
        """Trajectories first .. first + size - 1."""
        return joined([self], first, size)


def joined(loggers: list[MDPLogs], first: int, size: int) -> ope.TrajectoryLog:
    """Trajectories first .. first + size - 1 of every logger, as one log."""
    rows = slice(first, first + size)
    states, actions, rewards = (
        np.concatenate([getattr(of, name)[rows] for of in loggers]) for name in ("states", "actions", "rewards")
    )
    log_behaviour = np.stack([np.log(of.behaviour[states, actions]) for of in loggers])
    several = len(loggers) > 1
    logged = loggers[0].logged
    return ope.TrajectoryLog(
        rewards, log_behaviour if several else log_behaviour[0], actions=actions, states=states,
        target_probabilities=logged.target[states], discount=round(float(logged.mdp.discount), 6),
        logger=np.repeat(np.arange(len(loggers)), size) if several else None,
    )  # fmt: skip


def exact_model(log: ope.TrajectoryLog, shift: float = 0.0) -> ope.ActionValues:
    """Values of the target policy by dynamic programming in float64, plus `shift`."""
    q, v = _exact_tables(log.horizon, log.discount)
    step = np.arange(log.horizon)
    return ope.ActionValues(q[step, log.states, log.actions] + shift, v[step, log.states] + shift)


@cache
def _exact_tables(horizon: int, discount: float) -> tuple[np.ndarray, np.ndarray]:
    logged = load_tabular_mdp(horizon=horizon)
    transition, reward = (np.asarray(table, np.float64) for table in (logged.mdp.transition, logged.mdp.reward))
    value, tables = np.zeros(len(reward)), []
    for _ in range(horizon):
        q = reward + discount * transition @ value
        value = np.sum(logged.target * q, axis=1)
        tables.append((q, value))
    q, v = (np.stack(table[::-1]) for table in zip(*tables, strict=True))
    return q, v
