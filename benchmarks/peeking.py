"""Intervals of runs that stop when they are short enough, on heavy weights, against plain intervals stopped that way.

The plain ones are of the same blocks, looked at as often: `replicate` with the block size of `estimate` gives the same
samples. Pareto weights are short enough at the first look, at 8,192 samples; to see them peeked at, the last lines look
from 256 samples on.
"""

from typing import NamedTuple

import jax
import numpy as np

import mcengine as mc
from benchmarks.coverage import LEAST_COVERED, RUNS, covered, verdict
from benchmarks.timing import table
from mcengine.engine.plan import LOOK_BLOCK
from mcengine.execution.sequential import block_counts

TOLERANCE = mc.Tolerance(rtol=0.1, atol=0.0, max_samples=2**22)
# f = 1, so that w f = w is drawn; with the mean.
LOGNORMAL = (mc.Expectation(lambda w: w, mc.LogNormal(0.0, 2.0)), float(np.exp(2.0)))
PARETO = (mc.Expectation(lambda w: w, mc.GeneralisedPareto(1 / 2.5, 1 / 2.5, 1.0)), 2.5 / 1.5)
CASES = {
    ("lognormal, s = 2", LOOK_BLOCK): LOGNORMAL,
    ("Pareto, index 2.5", LOOK_BLOCK): PARETO,
    ("Pareto, index 2.5", 256): PARETO,
}
HEADER = ["weights", "first look", "stopped by", "asked", "cover", "median samples", "not called ok", "met"]


class Stopped(NamedTuple):
    """What became of 400 runs: intervals that hold the mean, the median sample count, runs not called ok."""

    covered: int
    samples: float
    flagged: int


def by_tolerance(keys, problem, exact: float, execution) -> Stopped:
    """Runs under `Tolerance`."""
    runs = [mc.estimate(key, problem, budget=TOLERANCE, execution=execution) for key in keys]
    low, high = np.asarray([run.interval() for run in runs]).T
    samples = float(np.median([run.num_samples for run in runs]))
    return Stopped(covered(low, high, exact), samples, sum(not run.ok for run in runs))


def by_plain_intervals(keys, problem, exact: float, execution) -> Stopped:
    """The same runs stopped at the first look at which the usual interval is short enough."""
    going, holds, flagged, samples = (np.full(RUNS, start) for start in (True, False, False, 0))
    for count in block_counts(TOLERANCE.max_samples // execution.block_size):
        still = np.flatnonzero(going)
        if not len(still):
            break
        budget = mc.Samples(count * execution.block_size)
        runs = mc.replicate(keys[still], problem, budget=budget, execution=execution)
        low, high = runs.interval()
        holds[still] = (low <= exact) & (exact <= high)
        flagged[still] = runs.status_code != mc.Status.OK
        samples[still] = budget.count
        going[still] = high - low > 2 * TOLERANCE.rtol * np.abs(runs.value)
    return Stopped(int(holds.sum()), float(np.median(samples)), int(flagged.sum()))


def lines(number: int, weights: str, first_look: int) -> list[list[str]]:
    """Both rules on one law of weights."""
    problem, exact = CASES[weights, first_look]
    arguments = jax.random.split(jax.random.key(number), RUNS), problem, exact, mc.Execution(block_size=first_look)

    def line(rule: str, found: Stopped, asked: str, met: str) -> list[str]:
        measured = [f"{found.covered} of {RUNS}", f"{found.samples:,.0f}", str(found.flagged)]
        return [weights, f"{first_look:,}", rule, asked, *measured, met]

    ours, plain = by_tolerance(*arguments), by_plain_intervals(*arguments)
    return [
        line("Tolerance", ours, f"at least {LEAST_COVERED}", verdict(ours.covered >= LEAST_COVERED)),
        line("plain intervals", plain, "", ""),
    ]


def main() -> str:
    """The table."""
    return table(HEADER, [line for number, case in enumerate(CASES) for line in lines(number, *case)])


if __name__ == "__main__":
    print(main())
