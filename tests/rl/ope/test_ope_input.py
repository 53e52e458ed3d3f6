"""Errors of bad logs, models and options, which name the place of the bad entry."""

import numpy as np
import pytest

from mcengine.rl import ope

GOOD = {
    "rewards": np.ones((4, 3)),
    "log_behaviour": np.full((4, 3), np.log(0.5)),
    "actions": np.zeros((4, 3), int),
    "states": np.zeros((4, 3), int),
    "target_probabilities": np.full((4, 3, 2), 0.5),
}


def changed(name, value, at=(2, 1)):
    array = np.array(GOOD[name], float)
    array[at] = value
    return {name: array}


def mask_with(*hidden):
    mask = np.ones((4, 3), bool)
    for place in hidden:
        mask[place] = False
    return mask


BAD = {
    "a NaN reward": (changed("rewards", np.nan), r"rewards are NaN or infinite: trajectory 2, step 1 \(nan\)"),
    "an infinite reward": (changed("rewards", np.inf), r"trajectory 2, step 1 \(inf\)"),
    "behaviour probability 0 of a logged action": (
        changed("log_behaviour", -np.inf),
        "behaviour probability of the logged action is 0: trajectory 2, step 1",
    ),
    "a positive log-probability": (changed("log_behaviour", 0.2), r"log_behaviour is above 0.*step 1 \(0.2\)"),
    "a NaN log-probability": (changed("log_behaviour", np.nan), "log_behaviour is NaN or infinite: trajectory 2"),
    "a negative probability": (
        changed("target_probabilities", -0.1, (2, 1, 0)),
        "target_probabilities has a negative entry or NaN: trajectory 2, step 1",
    ),
    "probabilities that do not sum to 1": (
        changed("target_probabilities", 0.6, (2, 1, 0)),
        r"must sum to 1 over the actions: trajectory 2, step 1 \(1.1\)",
    ),
    "an action that does not exist": (
        changed("actions", 2),
        r"target_probabilities has only 2 actions: trajectory 2, step 1 \(2\)",
    ),
    "a negative action": (changed("actions", -1), "must not be negative: trajectory 2, step 1"),
    "a fractional action": (changed("actions", 0.5), r"actions must be whole numbers: trajectory 2, step 1 \(0.5\)"),
    "another shape": ({"log_behaviour": np.zeros((4, 2))}, r"log_behaviour must have shape \[4, 3\].*got \(4, 2\)"),
    "states of another shape": ({"states": np.zeros((3, 3))}, r"states must have shape \[4, 3, \.\.\.\]"),
    "a mask of another shape": ({"mask": np.ones((4, 2), bool)}, r"mask must have shape \[4, 3\]"),
    "a mask of numbers": ({"mask": np.ones((4, 3))}, "mask must be boolean, got float64"),
    "a mask without steps": ({"mask": mask_with(3)}, "the mask is false at every step: trajectory 3"),
    "a mask with a gap": (
        {"mask": mask_with((1, 1))},
        "the mask is false, but true at the next step: trajectory 1, step 1",
    ),
    "a cut trajectory": (
        {"mask": mask_with((1, 2)), "terminated": np.zeros(4, bool)},
        "not terminated, so the rewards after the cut are unknown: trajectory 1",
    ),
    "a fractional state": (changed("states", 0.5), r"states\[\.\.\., None\]\) must be whole.*2, step 1 \(0.5\)"),
    "states too large for floats": (
        changed("states", 2.0**53),
        r"does not distinguish whole numbers: trajectory 2, step 1 \(9.007",
    ),
    "states that are text": ({"states": np.full((4, 3), "a")}, "states must be numbers, got <U1"),
    "a NaN feature": (
        {"states": np.where(np.arange(24).reshape(4, 3, 2) == 15, np.nan, 1.0)},
        r"states are NaN or infinite: trajectory 2, step 1 \(nan\)",
    ),
    "a log_target that disagrees with the target_probabilities": (
        {"log_target": np.log(np.where(np.arange(12).reshape(4, 3) == 7, 0.502, 0.5))},
        "log_target disagrees with target_probabilities and actions: trajectory 2, step 1",
    ),
    "no target": ({"target_probabilities": None}, "give log_target, or target_probabilities and actions"),
    "a bad discount": ({"discount": 1.5}, r"discount must be one number in \[0, 1\], got 1.5"),
    "no trajectories": ({"rewards": np.ones((0, 3))}, r"not be empty, got \(0, 3\)"),
    "loggers without names": ({"log_behaviour": np.zeros((2, 4, 3))}, "several loggers needs logger"),
    "a logger that does not exist": (
        {"log_behaviour": np.full((2, 4, 3), -1.0), "logger": [0, 1, 2, 0]},
        r"logger must be 0 to 1: trajectory 2 \(2\)",
    ),
    "a logger that never takes the action": (
        {"log_behaviour": np.stack([changed("log_behaviour", -np.inf)["log_behaviour"]] * 2), "logger": [0, 1, 1, 0]},
        "the logged action has probability 0 under its own logger: trajectory 2, step 1",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_of_trajectories_name_the_entry(name):
    changes, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        ope.TrajectoryLog(**(GOOD | changes))


def test_many_places_are_counted():
    with pytest.raises(ValueError, match=r"trajectory 1, step 1.* and 7 more"):
        ope.TrajectoryLog(**(GOOD | {"rewards": np.full((4, 3), np.nan)}))


def test_densities_may_be_above_1():
    log = ope.TrajectoryLog(np.ones((2, 1)), np.ones((2, 1)), np.full((2, 1), 2.0), continuous=True)
    np.testing.assert_allclose(log.log_ratios, 1.0)


def test_two_ways_to_give_a_target_agree_up_to_rounding():
    rng = np.random.default_rng(21)
    logits = rng.normal(scale=30.0, size=(50, 4, 5)).astype(np.float32)
    largest = logits.max(axis=-1, keepdims=True)
    log_p = logits - largest - np.log(np.exp(logits - largest).sum(axis=-1, keepdims=True))
    actions = rng.integers(0, 5, (50, 4))
    log_target = np.take_along_axis(log_p, actions[..., None], axis=-1)[..., 0]
    mask = np.arange(4) < rng.integers(1, 5, (50, 1))
    # Some probabilities underflow in float32, but their logarithms are finite; values after the end are arbitrary.
    assert np.any(np.exp(log_target) == 0)
    log = ope.TrajectoryLog(
        np.ones((50, 4)), np.full((50, 4), -1.0), np.where(mask, log_target, 1e6), actions=actions, mask=mask,
        target_probabilities=np.exp(log_p),
    )  # fmt: skip
    np.testing.assert_array_equal(log.log_target[mask], log_target[mask].astype(np.float64))
    bins = GOOD | {"log_target": np.full((4, 3), 1.0), "continuous": True}
    np.testing.assert_array_equal(ope.TrajectoryLog(**bins).log_target, 1.0)


def test_states_after_the_end_may_hold_anything():
    mask, states = mask_with((1, 2)), np.zeros((4, 3))
    spoilt = np.where(mask, states, np.nan)
    assert ope.TrajectoryLog(**(GOOD | {"states": spoilt, "mask": mask})).states.dtype == np.int64
    features = ope.TrajectoryLog(**(GOOD | {"states": np.stack([spoilt, spoilt + 1.0], axis=-1), "mask": mask}))
    assert np.isfinite(ope.doubly_robust(features).value)


def test_errors_of_bandits_name_the_row():
    log_p, probabilities = np.log([0.5, 0.5, 0.5]), np.full((3, 2), 0.5)
    with pytest.raises(ValueError, match=r"BanditLog: rewards are NaN or infinite: row 1 \(nan\)"):
        ope.BanditLog([0, 1, 0], [1.0, np.nan, 0.0], log_p, target_probabilities=probabilities)
    with pytest.raises(ValueError, match=r"actions must have shape \[3\], as rewards have; got \(2,\)"):
        ope.BanditLog([0, 1], [1.0, 0.0, 0.0], log_p, target_probabilities=probabilities)
    with pytest.raises(ValueError, match=r"rewards must have shape \[n\]"):
        ope.BanditLog([0], [[1.0]], log_p, target_probabilities=probabilities)


def test_errors_of_models():
    log = ope.TrajectoryLog(**GOOD)
    with pytest.raises(ValueError, match=r"q must have shape \(4, 3\), as rewards have; got \(4, 2\)"):
        ope.doubly_robust(log, ope.ActionValues(np.ones((4, 2)), np.ones((4, 3))))
    with pytest.raises(ValueError, match=r"v is NaN or infinite at \[2, 1\]"):
        ope.doubly_robust(log, ope.ActionValues(np.ones((4, 3)), changed("rewards", np.nan)["rewards"]))
    for options, message in (
        ({"folds": 0}, "folds must be at least 1, got 0"),
        ({"folds": 2, "ridge": 0.0}, "ridge must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            ope.fitted_q(log, **options)
    no_states = ope.TrajectoryLog(**(GOOD | {"states": None}))
    with pytest.raises(ValueError, match="the log needs states"):
        ope.doubly_robust(no_states)
    with pytest.raises(ValueError, match="the log needs states"):
        ope.marginalised(no_states)


def test_errors_of_options():
    log = ope.TrajectoryLog(**GOOD)
    model = ope.ActionValues(np.ones((4, 3)), np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"switch: needs a log of one step \(a bandit log\), got 3 steps"):
        ope.switch(log, model)
    with pytest.raises(ValueError, match="level must lie strictly between 0 and 1, got 1"):
        ope.magic(log, model, level=1.0)
    bandit = ope.BanditLog([0, 1], [1.0, 0.0], np.log([0.5, 0.5]), target_probabilities=np.full((2, 2), 0.5))
    for method, option in ((ope.switch, "threshold"), (ope.shrunk_doubly_robust, "strength")):
        with pytest.raises(ValueError, match=f"{option} must be positive, got 0"):
            method(bandit, **{option: 0.0})
