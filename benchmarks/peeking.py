"""Coverage of runs that stop when the interval is short enough, on heavy tails: `Tolerance` and plain intervals.

Plain intervals use the same blocks and the same interim looks: `replicate` with the block size of `estimate` gives the
same samples. With Pareto weights the interval is short enough at the first interim look, at 8,192 samples; the last
rows therefore begin at 256 samples.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

import mcengine as mc
from benchmarks.coverage import LEAST_COVERED, RUNS, covered, verdict
from benchmarks.timing import table
from mcengine.engine.plan import LOOK_BLOCK
from mcengine.execution.sequential import block_counts

TOLERANCE = mc.Tolerance(rtol=0.1, atol=0.0, max_samples=2**22)
# f = 1, so that w f = w; with the exact mean.
LOGNORMAL = (mc.Expectation(lambda w: w, mc.LogNormal(0.0, 2.0)), float(np.exp(2.0)))
PARETO = (mc.Expectation(lambda w: w, mc.GeneralisedPareto(1 / 2.5, 1 / 2.5, 1.0)), 2.5 / 1.5)
CASES = {
    ("lognormal, s = 2", LOOK_BLOCK): LOGNORMAL,
    ("Pareto, index 2.5", LOOK_BLOCK): PARETO,
    ("Pareto, index 2.5", 256): PARETO,
}
HEADER = [
    "weights", "first interim look", "stopped by", "required", "cover", "median samples", "status not ok", "met"
]  # fmt: skip


class Stopped(NamedTuple):
    """The outcome of 400 runs: intervals that contain the mean, median sample count, runs with a status not ok."""

    covered: int
    samples: float
    flagged: int


def by_tolerance(keys: PRNGKeyArray, problem: mc.Expectation, exact: float, execution: mc.Execution) -> Stopped:
    """Runs under `Tolerance`."""
    runs = [mc.estimate(key, problem, budget=TOLERANCE, execution=execution) for key in keys]
    low, high = np.asarray([run.interval() for run in runs]).T
    samples = float(np.median([run.num_samples for run in runs]))
    return Stopped(covered(low, high, exact), samples, sum(not run.ok for run in runs))


def by_plain_intervals(keys: PRNGKeyArray, problem: mc.Expectation, exact: float, execution: mc.Execution) -> Stopped:
    """The same runs, stopped at the first interim look at which the plain interval is short enough."""
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
    """Both stopping rules on one distribution of weights."""
    problem, exact = CASES[weights, first_look]
    arguments = jax.random.split(jax.random.key(number), RUNS), problem, exact, mc.Execution(block_size=first_look)

    def line(rule: str, found: Stopped, required: str, met: str) -> list[str]:
        measured = [f"{found.covered} of {RUNS}", f"{found.samples:,.0f}", str(found.flagged)]
        return [weights, f"{first_look:,}", rule, required, *measured, met]

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
