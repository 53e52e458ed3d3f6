"""Digits as a bandit: the context is an image, the action a digit, and the reward 1 if it is the right one."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from mcengine.rl import ope

DATA = Path(__file__).parent / "data" / "digits.npz"
NUM_ACTIONS = 10
# The probability that a policy plays its classifier's digit; otherwise any digit, with equal probabilities.
BEHAVIOUR_TRUST, TARGET_TRUST = 0.8, 0.9


class Digits(NamedTuple):
    """Images, labels, and the probabilities of all digits under both policies."""

    pixels: UInt8[np.ndarray, "images 64"]
    labels: UInt8[np.ndarray, " images"]
    behaviour: Float[np.ndarray, "images 10"]
    target: Float[np.ndarray, "images 10"]

    @property
    def exact(self) -> float:
        """The mean reward of the target policy over all images, from which logs draw with replacement."""
        return float(np.mean(self.target[np.arange(len(self.labels)), self.labels]))


@cache
def digits() -> Digits:
    """The images and policies of `data/digits.npz`."""
    with np.load(DATA) as file:
        return Digits(
            file["pixels"],
            file["labels"],
            _policy(file["behaviour"], BEHAVIOUR_TRUST),
            _policy(file["target"], TARGET_TRUST),
        )


def draw(num_rounds: int, seed: int) -> ope.BanditLog:
    """A log of images drawn with replacement, with actions of the behaviour policy."""
    data, generator = digits(), np.random.default_rng([seed, num_rounds])
    images = generator.integers(0, len(data.labels), num_rounds)
    cumulative = np.cumsum(data.behaviour[images], axis=-1)
    actions = np.minimum(np.sum(generator.random((num_rounds, 1)) > cumulative, axis=-1), NUM_ACTIONS - 1)
    return ope.BanditLog(
        actions, actions == data.labels[images], np.log(data.behaviour[images, actions]),
        target_probabilities=data.target[images], contexts=data.pixels[images],
    )  # fmt: skip


def _policy(predicted: np.ndarray, trust: float) -> np.ndarray:
    return trust * np.eye(NUM_ACTIONS)[predicted] + (1.0 - trust) / NUM_ACTIONS
