"""Keister's integral to three digits by growing Sobol points: share of misses, and number of points.

The limits on points are twice the points of QMCPy's automatic Sobol rule for the same tolerance. A run doubles once
more if the spread of its eight scrambles is large by chance, which a t interval cannot distinguish from a large error:
in 8 dimensions, where 65,536 points just suffice, in one run of ten to twenty.
"""

import jax
import numpy as np

import mcengine as mc
from benchmarks.coverage import verdict
from benchmarks.timing import table
from mcengine.integrals import keister

TOLERANCE = mc.Tolerance(rtol=1e-3, atol=0.0)
MOST_POINTS = {5: 262_144, 8: 65_536}
RUNS = 200
MOST_MISSES = 0.02 * RUNS
HEADER = [
    "d", f"misses of {RUNS} (required: at most {MOST_MISSES:.0f})", "median error", "most points allowed",
    "median points", "runs within", "largest", "median ms", "met",
]  # fmt: skip


def row(dim: int) -> list[str]:
    """A row of the table."""
    problem = keister(dim)
    keys = jax.random.split(jax.random.key(dim), RUNS)
    runs = [mc.estimate(key, problem, points=mc.points.Sobol(), budget=TOLERANCE) for key in keys]
    errors = np.abs(np.asarray([run.value for run in runs]) / problem.exact - 1.0)
    points, misses = np.asarray([run.num_samples for run in runs]), int(np.sum(errors > TOLERANCE.rtol))
    most = MOST_POINTS[dim]
    return [
        str(dim), str(misses), f"{np.median(errors):.1e}", f"{most:,}", f"{np.median(points):,.0f}",
        f"{np.sum(points <= most)} of {RUNS}", f"{np.max(points):,.0f}",
        f"{1e3 * np.median([run.seconds or np.nan for run in runs]):.0f}",
        verdict(misses <= MOST_MISSES and np.max(points) <= most),
    ]  # fmt: skip


def main() -> str:
    """The table."""
    return table(HEADER, [row(dim) for dim in MOST_POINTS])


if __name__ == "__main__":
    print(main())
