"""What a behaviour policy left behind: a log of bandit rounds, or of trajectories, checked when it is made."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from mcengine import weights
from mcengine.rl.ope.checks import Voice, as_float, row, trajectory_and_step
from mcengine.rl.ope.loggers import mean_behaviour

# How far, relatively, a probability may be from itself by another way: float32 misses by .0001, float16 by .0005.
AGREEMENT = 1e-3


class TrajectoryLog(eqx.Module):
    """n trajectories of up to T steps, and the policy to be valued; NumPy arrays, padded behind the end.

    The value in question is E_pi[sum_{t < T} discount^t r_t]. A trajectory is over at the horizon T, or earlier where
    it is `terminated`: nothing is earned after that. One that ends earlier without it was cut, and what it would have
    earned is unknown: choose a shorter horizon, or leave it out if the cut had nothing to do with what happened.

    **Arguments:** `rewards` [n, T]; `log_behaviour` [n, T], log mu(a_t | s_t) of the logged actions, or [L, n, T] under
    each of L loggers with `logger` [n] saying who made which (see `mean_behaviour`); `log_target` [n, T], log pi(a_t |
    s_t), or `target_probabilities` [n, T, A], pi(. | s_t), with `actions` [n, T] (whole numbers), or both, which must
    then agree; `states` [n, T] (whole numbers, each a value of its own) or [n, T, d] (features), which models need;
    `mask` [n, T], true at steps that happened, by default all; `terminated` [n], by default true wherever the mask ends
    before T; `discount` in [0, 1]; `continuous`, whether log-probabilities are log-densities and so may be above 0;
    `voice`, how errors name an entry.

    **Raises:** `ValueError` naming the trajectory and step: shapes that differ, a mask with gaps or that leaves a
    trajectory without a step, rewards or log-probabilities that are NaN or infinite, positive log-probabilities of
    discrete actions, behaviour probability 0 of a logged action, target probabilities that are none or not those of
    log_target, states without a feature axis that are no whole numbers, features that are NaN or infinite, a cut
    trajectory.
    """

    rewards: Float[np.ndarray, "n steps"]
    log_behaviour: Float[np.ndarray, "n steps"]
    log_target: Float[np.ndarray, "n steps"]
    mask: Bool[np.ndarray, "n steps"]
    actions: Int[np.ndarray, "n steps"] | None
    states: Any
    target_probabilities: Float[np.ndarray, "n steps choices"] | None
    discount: float
    continuous: bool

    def __init__(
        self,
        rewards: Any,
        log_behaviour: Any,
        log_target: Any = None,
        *,
        actions: Any = None,
        states: Any = None,
        target_probabilities: Any = None,
        mask: Any = None,
        terminated: Any = None,
        discount: float = 1.0,
        logger: Any = None,
        continuous: bool = False,
        voice: Voice = Voice("TrajectoryLog", trajectory_and_step),
    ):
        rewards, log_behaviour, log_target = as_float(rewards), as_float(log_behaviour), as_float(log_target)
        if rewards.ndim != 2 or 0 in rewards.shape:
            raise ValueError(
                f"{voice.owner}: rewards must have shape [n, steps] and not be empty, got {rewards.shape}."
            )
        if np.ndim(discount) or not 0.0 <= discount <= 1.0:
            raise ValueError(f"{voice.owner}: discount must be one number in [0, 1], got {discount}.")
        shape = rewards.shape
        mask = _checked_mask(voice, shape, mask, terminated)
        voice.refuse(mask & ~np.isfinite(rewards), "rewards are NaN or infinite", rewards)
        actions, probabilities = voice.whole("actions", actions), as_float(target_probabilities)
        voice.check_shape("actions", actions, shape)
        states = _checked_states(voice, states, mask)
        voice.check_shape("target_probabilities", probabilities, shape, (1,))
        voice.check_shape("log_target", log_target, shape)
        if probabilities is not None:
            voice.check_probabilities("target_probabilities", probabilities, mask)
        _check_actions(voice, actions, probabilities, mask)
        of_actions = None
        if probabilities is not None and actions is not None:
            of_actions = _of_logged_actions(actions, probabilities, mask)
        if log_target is None and of_actions is None:
            raise ValueError(f"{voice.owner}: give log_target, or target_probabilities and actions.")
        log_target = of_actions if log_target is None else log_target
        if log_behaviour.ndim == 3:
            log_behaviour = _of_all_loggers(voice, log_behaviour, logger, mask, discrete=not continuous)
        voice.check_shape("log_behaviour", log_behaviour, shape)
        for name, log_p in {"log_behaviour": log_behaviour, "log_target": log_target}.items():
            voice.check_log_probabilities(name, log_p, mask, discrete=not continuous)
        # Densities may be compared with probabilities of bins, which are no densities.
        if not (of_actions is None or log_target is of_actions or continuous):
            _check_agreement(voice, log_target, of_actions, mask)
        voice.refuse(mask & (log_behaviour == -np.inf), "the behaviour probability of the logged action is 0")
        # Behind the end nothing happens under either policy: weights stay as they are and rewards are 0.
        self.rewards, self.log_behaviour, self.log_target = (
            np.where(mask, array, 0.0) for array in (rewards, log_behaviour, log_target)
        )
        self.mask, self.actions, self.states, self.target_probabilities = mask, actions, states, probabilities
        self.discount, self.continuous = float(discount), bool(continuous)

    @property
    def num_units(self) -> int:
        """How many trajectories (rounds, of a bandit) there are."""
        return self.rewards.shape[0]

    @property
    def horizon(self) -> int:
        """T."""
        return self.rewards.shape[1]

    @property
    def discounts(self) -> Float[np.ndarray, " steps"]:
        """discount^t, t = 0 .. T-1."""
        return self.discount ** np.arange(self.horizon)

    @property
    def log_ratios(self) -> Float[np.ndarray, "n steps"]:
        """log r_t = log pi(a_t | s_t) - log mu(a_t | s_t), 0 behind the end."""
        with jax.enable_x64(True):
            return np.asarray(weights.log_ratio(jnp.asarray(self.log_target), jnp.asarray(self.log_behaviour)))

    @property
    def log_weights(self) -> Float[np.ndarray, "n steps"]:
        """log w_{0:t} = sum_{k <= t} log r_k; the last column weighs whole trajectories."""
        return np.cumsum(self.log_ratios, axis=-1)


class BanditLog(eqx.Module):
    """n rounds of one action each, which are `trajectories` of one step.

    **Arguments:** `actions` [n], whole numbers (None where log-probabilities say all that is asked); `rewards` [n];
    `log_behaviour` [n], or [L, n] with `logger` [n]; `log_target` [n] or `target_probabilities` [n, A]; `contexts` [n]
    (whole numbers, each a value of its own) or [n, d] (features), which models need, by default one context for
    all; the rest as in `TrajectoryLog`.

    **Raises:** `ValueError` naming the row, as `TrajectoryLog` does.
    """

    trajectories: TrajectoryLog

    def __init__(
        self,
        actions: Any,
        rewards: Any,
        log_behaviour: Any,
        *,
        log_target: Any = None,
        target_probabilities: Any = None,
        contexts: Any = None,
        logger: Any = None,
        continuous: bool = False,
        voice: Voice = Voice("BanditLog", row),
    ):
        rewards, log_behaviour = as_float(rewards), as_float(log_behaviour)
        if rewards.ndim != 1 or not len(rewards):
            raise ValueError(f"{voice.owner}: rewards must have shape [n] and not be empty, got {rewards.shape}.")
        contexts = np.zeros(len(rewards), int) if contexts is None else np.asarray(contexts)
        arrays = {
            "actions": None if actions is None else np.asarray(actions), "log_target": as_float(log_target),
            "target_probabilities": as_float(target_probabilities), "contexts": contexts,
        }  # fmt: skip
        axes = {"target_probabilities": (1,), "contexts": (0, 1)}
        for name, array in arrays.items():
            voice.check_shape(name, array, rewards.shape, axes.get(name, (0,)))
        voice.check_shape("log_behaviour", log_behaviour if log_behaviour.ndim < 2 else log_behaviour[0], rewards.shape)
        of_one_step = {name: None if array is None else array[:, None] for name, array in arrays.items()}
        self.trajectories = TrajectoryLog(
            rewards[:, None], log_behaviour[..., None], of_one_step["log_target"], actions=of_one_step["actions"],
            states=of_one_step["contexts"], target_probabilities=of_one_step["target_probabilities"], logger=logger,
            continuous=continuous, voice=voice,
        )  # fmt: skip


Log = TrajectoryLog | BanditLog


def as_trajectories(log: Log) -> TrajectoryLog:
    """The trajectories of either log."""
    return log.trajectories if isinstance(log, BanditLog) else log


def _checked_mask(voice: Voice, shape: tuple[int, ...], mask: Any, terminated: Any) -> Bool[np.ndarray, "n steps"]:
    mask = np.ones(shape, bool) if mask is None else np.asarray(mask)
    if mask.dtype != bool:
        raise ValueError(f"{voice.owner}: mask must be boolean, got {mask.dtype}.")
    voice.check_shape("mask", mask, shape)
    terminated = ~mask.all(axis=-1) if terminated is None else np.asarray(terminated)
    if terminated.dtype != bool or terminated.shape != shape[:1]:
        raise ValueError(f"{voice.owner}: terminated must be boolean of shape [{shape[0]}], got {terminated.shape}.")
    voice.refuse(~mask.any(axis=-1), "the mask leaves no step")
    voice.refuse(mask[:, 1:] & ~mask[:, :-1], "the mask has a gap before the step after this")
    reason = "ends before the horizon and is not terminated, so the rewards after the cut are unknown"
    voice.refuse(~mask.all(axis=-1) & ~terminated, reason)
    return mask


def _check_actions(voice: Voice, actions: Any, probabilities: Any, mask: Any) -> None:
    if actions is None:
        return
    voice.refuse(mask & (actions < 0), "actions must not be negative", actions)
    if probabilities is not None:
        most = probabilities.shape[-1]
        voice.refuse(mask & (actions >= most), f"there are target_probabilities of {most} actions only", actions)


def _checked_states(voice: Voice, states: Any, mask: Any) -> Any:
    """Whole numbers [n, T], 0 behind the end, or features [n, T, d]."""
    if states is None:
        return None
    states = np.asarray(states)
    voice.check_shape("states", states, mask.shape, (0, 1))
    if not (np.issubdtype(states.dtype, np.number) or states.dtype == bool):
        raise ValueError(f"{voice.owner}: states must be numbers, got {states.dtype}; number the states 0, 1, 2, ...")
    if states.ndim == 2:
        # Floats here are more often one feature than the names of states, of which each would be its own.
        name = "states without a feature axis (for one feature write states[..., None])"
        return voice.whole(name, np.where(mask, states, 0))
    voice.refuse(mask[..., None] & ~np.isfinite(states), "states are NaN or infinite", states)
    return states


def _check_agreement(voice: Voice, log_target: Any, of_actions: Any, mask: Any) -> None:
    """Raise where two ways to give pi(a_t | s_t) differ: IS would value one policy and DR another."""
    given, other = (np.exp(np.where(mask, log_p, 0.0)) for log_p in (log_target, of_actions))
    apart = np.abs(given - other) > AGREEMENT * np.maximum(given, other) + np.finfo(np.float32).tiny
    voice.refuse(mask & apart, "log_target is not that of target_probabilities and actions", log_target)


def _of_logged_actions(actions: Any, probabilities: Any, mask: Any) -> Any:
    logged = np.take_along_axis(probabilities, np.where(mask, actions, 0)[..., None], axis=-1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(logged)


def _of_all_loggers(voice: Voice, log_behaviour: Any, logger: Any, mask: Any, *, discrete: bool) -> Any:
    if logger is None:
        raise ValueError(f"{voice.owner}: log_behaviour of several loggers needs logger, who made which.")
    for number, log_p in enumerate(log_behaviour):
        voice.check_shape(f"log_behaviour[{number}]", log_p, mask.shape)
        voice.check_log_probabilities(f"log_behaviour[{number}]", log_p, mask, discrete=discrete)
    return mean_behaviour(np.where(mask, log_behaviour, 0.0), voice.whole("logger", logger), voice)
