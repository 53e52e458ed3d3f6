"""What the checks share: how many of 400 intervals hold the truth, and a word on whether that is enough."""

from typing import Any

import numpy as np

from tests.statistics import MIN_COVERED, covered

RUNS = 400
LEAST_COVERED = MIN_COVERED[RUNS]
HEADER = ["what", "asked", "measured", "met"]


def verdict(met: Any) -> str:
    """The last cell of a check's line."""
    return "yes" if met else "NO"


def coverage_line(what: str, low: Any, high: Any, exact: float) -> list[str]:
    """A line under `HEADER`: of 400 intervals at 95 %, how many hold the exact value."""
    if np.shape(low) != (RUNS,):
        raise ValueError(f"coverage_line: {what}: intervals of shape {np.shape(low)}, not of {RUNS} runs.")
    found = covered(np.asarray(low), np.asarray(high), exact)
    return [what, f"at least {LEAST_COVERED} of {RUNS} cover", f"{found} of {RUNS}", verdict(found >= LEAST_COVERED)]
