"""Logs of a behaviour policy: rounds of a bandit, or trajectories. A log is checked when it is made."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike

from mcengine import weights
from mcengine.rl.ope.checks import Validator, as_float, row, trajectory_and_step
from mcengine.rl.ope.log_checks import (
    Actions,
    Mask,
    Probabilities,
    Steps,
    check_actions,
    check_agreement,
    log_probabilities_of,
    mixture_behaviour,
    valid_mask,
    valid_states,
)


class TrajectoryLog(eqx.Module):
    """n trajectories of up to T steps with the probabilities of both policies; NumPy arrays, padded after the end.

    The estimated value is E_pi[sum_{t < T} discount^t r_t]. A trajectory ends at the horizon T, or earlier if it is
    `terminated`; no rewards follow. One that ends earlier without being terminated was cut off, and its later rewards
    are unknown: choose a shorter horizon, or leave it out if the cut does not depend on what happened.

    **Arguments:**

    - `rewards`, [n, T].
    - `log_behaviour`, [n, T]: log mu(a_t | s_t) of the logged actions; or [L, n, T] under each of L loggers, together
      with `logger` (see `mean_behaviour`).
    - `log_target`, [n, T]: log pi(a_t | s_t). It may be left out if the next two are given; otherwise it must agree
      with them.
    - `actions`, [n, T]: whole numbers.
    - `target_probabilities`, [n, T, A]: pi(. | s_t).
    - `states`, [n, T] (whole numbers, each a state of its own) or [n, T, d] (features); needed for models.
    - `mask`, [n, T], booleans: the steps that happened; all by default.
    - `terminated`, [n], booleans; by default true for every trajectory whose mask ends before T.
    - `discount`: one number in [0, 1].
    - `logger`, [n]: which logger, 0 .. L-1, made each trajectory.
    - `continuous`: whether log-probabilities are log-densities, which may be above 0.
    - `validator`: how errors name an entry.

    **Raises:** `ValueError` naming the trajectory and step: shapes that differ, a mask with gaps or without any step,
    rewards or log-probabilities that are NaN or infinite, log-probabilities above 0 of discrete actions, behaviour
    probability 0 of a logged action, target probabilities that do not sum to 1 or disagree with `log_target`, states
    [n, T] that are not whole numbers, features that are NaN or infinite, a trajectory that was cut off.
    """

    rewards: Steps
    log_behaviour: Steps
    log_target: Steps
    mask: Mask
    actions: Actions | None
    states: Shaped[np.ndarray, "n steps *features"] | None
    target_probabilities: Probabilities | None
    discount: float
    continuous: bool

    def __init__(
        self,
        rewards: ArrayLike,
        log_behaviour: ArrayLike,
        log_target: ArrayLike | None = None,
        *,
        actions: ArrayLike | None = None,
        states: ArrayLike | None = None,
        target_probabilities: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        terminated: ArrayLike | None = None,
        discount: float = 1.0,
        logger: ArrayLike | None = None,
        continuous: bool = False,
        validator: Validator = Validator("TrajectoryLog", trajectory_and_step),
    ):
        self.rewards, log_mu = as_float(rewards), as_float(log_behaviour)
        shape = self.rewards.shape
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"{validator.owner}: rewards must have shape [n, steps] and not be empty, got {shape}.")
        if np.ndim(discount) or not 0.0 <= discount <= 1.0:
            raise ValueError(f"{validator.owner}: discount must be one number in [0, 1], got {discount}.")
        self.mask = valid_mask(validator, shape, mask, terminated)
        validator.raise_where(self.mask & ~np.isfinite(self.rewards), "rewards are NaN or infinite", self.rewards)
        self.actions = None if actions is None else validator.whole_numbers("actions", actions)
        validator.check_shape("actions", self.actions, shape)
        self.states = None if states is None else valid_states(validator, states, self.mask)
        self.target_probabilities = None if target_probabilities is None else as_float(target_probabilities)
        validator.check_shape("target_probabilities", self.target_probabilities, shape, (1,))
        given = None if log_target is None else as_float(log_target)
        validator.check_shape("log_target", given, shape)
        if self.target_probabilities is not None:
            validator.check_probabilities("target_probabilities", self.target_probabilities, self.mask)
        if self.actions is not None:
            check_actions(validator, self.actions, self.target_probabilities, self.mask)
        of_actions = None
        if self.target_probabilities is not None and self.actions is not None:
            of_actions = log_probabilities_of(self.actions, self.target_probabilities, self.mask)
        log_pi = of_actions if given is None else given
        if log_pi is None:
            raise ValueError(f"{validator.owner}: give log_target, or target_probabilities and actions.")
        if log_mu.ndim == 3:
            log_mu = mixture_behaviour(validator, log_mu, logger, self.mask, discrete=not continuous)
        validator.check_shape("log_behaviour", log_mu, shape)
        for name, log_p in {"log_behaviour": log_mu, "log_target": log_pi}.items():
            validator.check_log_probabilities(name, log_p, self.mask, discrete=not continuous)
        # Log-densities cannot agree with probabilities of bins.
        if not (of_actions is None or given is None or continuous):
            check_agreement(validator, given, of_actions, self.mask)
        validator.raise_where(self.mask & (log_mu == -np.inf), "the behaviour probability of the logged action is 0")
        # After the end all log-probabilities and rewards are 0, so weights and returns stay as they are.
        self.rewards, self.log_behaviour, self.log_target = (
            np.where(self.mask, array, 0.0) for array in (self.rewards, log_mu, log_pi)
        )
        self.discount, self.continuous = float(discount), bool(continuous)

    @property
    def num_units(self) -> int:
        """The number of trajectories (for a bandit, of rounds)."""
        return self.rewards.shape[0]

    @property
    def horizon(self) -> int:
        """T, the number of steps."""
        return self.rewards.shape[1]

    @property
    def discounts(self) -> Float[np.ndarray, " steps"]:
        """discount^t, t = 0 .. T-1."""
        return self.discount ** np.arange(self.horizon)

    @property
    def log_ratios(self) -> Float[np.ndarray, "n steps"]:
        """log r_t = log pi(a_t | s_t) - log mu(a_t | s_t), 0 after the end."""
        with jax.enable_x64(True):
            return np.asarray(weights.log_ratio(jnp.asarray(self.log_target), jnp.asarray(self.log_behaviour)))

    @property
    def log_weights(self) -> Float[np.ndarray, "n steps"]:
        """log w_{0:t} = sum_{k <= t} log r_k; the last column has the weights of whole trajectories."""
        return np.cumsum(self.log_ratios, axis=-1)


class BanditLog(eqx.Module):
    """n rounds of one action each; `trajectories` holds them as trajectories of one step.

    **Arguments:**

    - `actions`, [n]: whole numbers; None if the log-probabilities are enough.
    - `rewards`, [n].
    - `log_behaviour`, [n], or [L, n] together with `logger`, [n].
    - `log_target`, [n], or `target_probabilities`, [n, A], or both.
    - `contexts`, [n] (whole numbers, each a context of its own) or [n, d] (features); needed for models; by default all
      rounds have the same context.
    - `continuous`, `validator`: as in `TrajectoryLog`.

    **Raises:** `ValueError` naming the row, as `TrajectoryLog` does.
    """

    trajectories: TrajectoryLog

    def __init__(
        self,
        actions: ArrayLike | None,
        rewards: ArrayLike,
        log_behaviour: ArrayLike,
        *,
        log_target: ArrayLike | None = None,
        target_probabilities: ArrayLike | None = None,
        contexts: ArrayLike | None = None,
        logger: ArrayLike | None = None,
        continuous: bool = False,
        validator: Validator = Validator("BanditLog", row),
    ):
        rewards, log_behaviour = as_float(rewards), as_float(log_behaviour)
        if rewards.ndim != 1 or not len(rewards):
            raise ValueError(f"{validator.owner}: rewards must have shape [n] and not be empty, got {rewards.shape}.")
        arrays = {
            "actions": None if actions is None else np.asarray(actions),
            "log_target": None if log_target is None else as_float(log_target),
            "target_probabilities": None if target_probabilities is None else as_float(target_probabilities),
            "contexts": np.zeros(len(rewards), int) if contexts is None else np.asarray(contexts),
        }
        axes = {"target_probabilities": (1,), "contexts": (0, 1)}
        for name, array in arrays.items():
            validator.check_shape(name, array, rewards.shape, axes.get(name, (0,)))
        of_one_logger = log_behaviour if log_behaviour.ndim < 2 else log_behaviour[0]
        validator.check_shape("log_behaviour", of_one_logger, rewards.shape)
        of_one_step = {name: None if array is None else array[:, None] for name, array in arrays.items()}
        self.trajectories = TrajectoryLog(
            rewards[:, None], log_behaviour[..., None], of_one_step["log_target"], actions=of_one_step["actions"],
            states=of_one_step["contexts"], target_probabilities=of_one_step["target_probabilities"], logger=logger,
            continuous=continuous, validator=validator,
        )  # fmt: skip


Log = TrajectoryLog | BanditLog


def as_trajectories(log: Log) -> TrajectoryLog:
    """The log as trajectories."""
    return log.trajectories if isinstance(log, BanditLog) else log
