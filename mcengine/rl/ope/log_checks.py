"""Checks of the columns of a log that need more than one column."""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy.typing import ArrayLike

from mcengine.rl.ope.checks import Validator
from mcengine.rl.ope.loggers import mean_behaviour

# The largest relative difference of two values of one probability: float32 is off by 0.0001, float16 by 0.0005.
AGREEMENT = 1e-3

Probabilities = Float[np.ndarray, "n steps choices"]
Steps = Float[np.ndarray, "n steps"]
Actions = Int[np.ndarray, "n steps"]
Mask = Bool[np.ndarray, "n steps"]


def valid_mask(
    validator: Validator, shape: tuple[int, int], mask: ArrayLike | None, terminated: ArrayLike | None
) -> Mask:
    """The mask as booleans; raises for gaps, and for trajectories that end early without being terminated."""
    mask = np.ones(shape, bool) if mask is None else np.asarray(mask)
    if mask.dtype != bool:
        raise ValueError(f"{validator.owner}: mask must be boolean, got {mask.dtype}.")
    validator.check_shape("mask", mask, shape)
    is_complete = np.asarray(mask.all(axis=-1))
    terminated = ~is_complete if terminated is None else np.asarray(terminated)
    if terminated.dtype != bool or terminated.shape != shape[:1]:
        raise ValueError(
            f"{validator.owner}: terminated must be boolean of shape [{shape[0]}], got {terminated.shape}."
        )
    validator.raise_where(~np.asarray(mask.any(axis=-1)), "the mask is false at every step")
    validator.raise_where(mask[:, 1:] & ~mask[:, :-1], "the mask is false, but true at the next step")
    reason = "ends before the horizon and is not terminated, so the rewards after the cut are unknown"
    validator.raise_where(~is_complete & ~terminated, reason)
    return mask


def check_actions(validator: Validator, actions: Actions, probabilities: Probabilities | None, mask: Mask) -> None:
    """Raise for negative actions, and for actions without a target probability."""
    validator.raise_where(mask & (actions < 0), "actions must not be negative", actions)
    if probabilities is not None:
        most = probabilities.shape[-1]
        validator.raise_where(mask & (actions >= most), f"target_probabilities has only {most} actions", actions)


def valid_states(validator: Validator, states: ArrayLike, mask: Mask) -> Shaped[np.ndarray, "n steps *features"]:
    """Whole numbers [n, T], 0 after the end, or features [n, T, d]."""
    states = np.asarray(states)
    validator.check_shape("states", states, mask.shape, (0, 1))
    if not (np.issubdtype(states.dtype, np.number) or states.dtype == bool):
        raise ValueError(
            f"{validator.owner}: states must be numbers, got {states.dtype}; number the states 0, 1, 2, ..."
        )
    if states.ndim == 2:
        # Floats [n, T] are more often one feature than names of states, each of which would be a state of its own.
        name = "states without a feature axis (for one feature write states[..., None])"
        return validator.whole_numbers(name, np.where(mask, states, 0))
    validator.raise_where(mask[..., None] & ~np.isfinite(states), "states are NaN or infinite", states)
    return states


def check_agreement(validator: Validator, log_target: Steps, log_p_of_actions: Steps, mask: Mask) -> None:
    """Raise if the two values of pi(a_t | s_t) differ: IS would evaluate one policy and DR another."""
    given, other = (np.exp(np.where(mask, log_p, 0.0)) for log_p in (log_target, log_p_of_actions))
    differs = np.abs(given - other) > AGREEMENT * np.maximum(given, other) + np.finfo(np.float32).tiny
    validator.raise_where(mask & differs, "log_target disagrees with target_probabilities and actions", log_target)


def log_probabilities_of(actions: Actions, probabilities: Probabilities, mask: Mask) -> Steps:
    """log pi(a_t | s_t) of the logged actions."""
    logged = np.take_along_axis(probabilities, np.where(mask, actions, 0)[..., None], axis=-1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(logged)


def mixture_behaviour(
    validator: Validator,
    log_behaviour: Float[np.ndarray, "loggers _ _"],
    logger: ArrayLike | None,
    mask: Mask,
    *,
    discrete: bool,
) -> Steps:
    """log mu of the mixture of several loggers, by `mean_behaviour`; raises without `logger`."""
    if logger is None:
        raise ValueError(
            f"{validator.owner}: log_behaviour of several loggers needs logger, the logger of each trajectory."
        )
    for number, log_p in enumerate(log_behaviour):
        validator.check_shape(f"log_behaviour[{number}]", log_p, mask.shape)
        validator.check_log_probabilities(f"log_behaviour[{number}]", log_p, mask, discrete=discrete)
    numbers = validator.whole_numbers("logger", logger)
    return mean_behaviour(np.where(mask, log_behaviour, 0.0), numbers, validator)
