"""Keister's integral to three digits by growing Sobol points: how often it misses, and how many points it takes.

The bounds on points are twice what QMCPy's automatic Sobol rule takes for the same tolerance. A run takes one more
doubling where the spread of its eight scrambles happens to be large, which a t interval cannot tell from a large error:
in 8 dimensions, where 65,536 points are just enough, that is one run in ten to twenty.
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
    "d", f"misses of {RUNS} (asked: at most {MOST_MISSES:.0f})", "median error", "most points asked", "median points",
    "runs within", "largest", "median ms", "met",
]  # fmt: skip


def row(dim: int) -> list[str]:
    """A line of the table."""
    problem = keister(dim)
    keys = jax.random.split(jax.random.key(dim), RUNS)
    runs = [mc.estimate(key, problem, points=mc.points.Sobol(), budget=TOLERANCE) for key in keys]
    errors = np.abs(np.asarray([run.value for run in runs]) / problem.exact - 1.0)
    points, misses = np.asarray([run.num_samples for run in runs]), int(np.sum(errors > TOLERANCE.rtol))
    most = MOST_POINTS[dim]
    return [
        str(dim), str(misses), f"{np.median(errors):.1e}", f"{most:,}", f"{np.median(points):,.0f}",
        f"{np.sum(points <= most)} of {RUNS}", f"{np.max(points):,.0f}",
        f"{1e3 * np.median([run.seconds for run in runs]):.0f}",
        verdict(misses <= MOST_MISSES and np.max(points) <= most),
    ]  # fmt: skip


def main() -> str:
    """The table."""
    return table(HEADER, [row(dim) for dim in MOST_POINTS])


if __name__ == "__main__":
    print(main())
