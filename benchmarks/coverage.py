"""Shared by the checks: the number of 400 intervals that contain the true value, and whether it is sufficient."""

import numpy as np
from numpy.typing import ArrayLike

from tests.statistics import MIN_COVERED, covered

RUNS = 400
LEAST_COVERED = MIN_COVERED[RUNS]
HEADER = ["quantity", "required", "measured", "met"]


def verdict(met: bool | np.bool_) -> str:
    """The last cell of a check's row."""
    return "yes" if met else "NO"


def coverage_line(quantity: str, low: ArrayLike, high: ArrayLike, exact: float) -> list[str]:
    """A row under `HEADER`: the number of 400 intervals at 95 % that contain the exact value."""
    if np.shape(low) != (RUNS,):
        raise ValueError(f"coverage_line: {quantity}: intervals of shape {np.shape(low)}, not of {RUNS} runs.")
    found = covered(np.asarray(low), np.asarray(high), exact)
    return [
        quantity,
        f"at least {LEAST_COVERED} of {RUNS} cover",
        f"{found} of {RUNS}",
        verdict(found >= LEAST_COVERED),
    ]
