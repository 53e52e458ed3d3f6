"""k-hat and the status on weights of known tail index, and k-hat compared with that of `arviz_stats`.

Target N(0, 1), proposal N(0, s^2), f = 1: the weights' tail index is k = 1 - s^2.
"""

import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats

import mcengine as mc
from benchmarks.coverage import RUNS, covered, verdict
from benchmarks.timing import table
from mcengine.summaries.summary import MAX_TAIL
from mcengine.weights import pareto_tail

SAMPLES = 10_000
INDICES = (0.19, 0.36, 0.51, 0.64, 0.75, 0.84)
# The required share of flagged runs (at least, at most); no requirement for the indices in between.
FLAGGED = {0.19: (0.0, 0.02), 0.84: (0.95, 1.0)}
PROBLEM = mc.Expectation(lambda x: jnp.ones(()), mc.Normal(0.0, 1.0))
SIZES, SPREADS = (40, 225, 226, 1_000, 20_000, 60_000), (0.3, 1.0, 2.0, 3.0)
MOST_DIFFERENCE = 1e-6


def row(number: int, k: float) -> list[str]:
    """The row of one tail index."""
    keys = jax.random.split(jax.random.key(number), RUNS)
    runs = mc.replicate(keys, PROBLEM, mc.Normal(0.0, np.sqrt(1.0 - k)), budget=mc.Samples(SAMPLES))
    flagged = runs.status_code != mc.Status.OK
    low, high = runs.interval()
    shares = [np.mean(flagged), np.mean(runs.status_code >= mc.Status.UNRELIABLE)]
    required = FLAGGED.get(k)
    words = "" if required is None else f"{required[0]:.0%} to {required[1]:.0%}"
    return [
        f"{k}", f"{np.median(runs.pareto_k):.2f}", words, *(f"{share:.1%}" for share in shares),
        f"{covered(low, high, 1.0)} of {RUNS}",
        f"{covered(low[~flagged], high[~flagged], 1.0)} of {np.sum(~flagged)}",
        "" if required is None else verdict(required[0] <= shares[0] <= required[1]),
    ]  # fmt: skip


def by_tail_index() -> str:
    """The table of tail indices."""
    header = [
        "k", "median k-hat", "flagged, required", "flagged", "unreliable or worse", "intervals that cover",
        "of runs called ok", "met",
    ]  # fmt: skip
    return table(header, [row(number, k) for number, k in enumerate(INDICES)])


def against_arviz() -> str:
    """The table of the largest difference to `arviz_stats` by sample size, over spreads of lognormal weights."""
    rng, lines = np.random.default_rng(0), []
    for size in SIZES:
        assert pareto_tail.tail_size(size) <= MAX_TAIL, f"{size:,} weights have a longer tail than the summary keeps"
        differences = []
        for spread in SPREADS:
            log_weights = spread * rng.standard_normal(size)
            ours = mc.estimate_from(log_weights, np.ones(size)).pareto_k
            differences.append(abs(float(ours) - float(array_stats.psislw(-log_weights)[1])))
        largest = max(differences)
        lines.append(
            [f"{size:,}", f"at most {MOST_DIFFERENCE:.0e}", f"{largest:.1e}", verdict(largest <= MOST_DIFFERENCE)]
        )
    return table(["weights, float64", "required", "largest difference to `arviz_stats`", "met"], lines)


def main() -> str:
    """Both tables."""
    return f"{by_tail_index()}\n\n{against_arviz()}"


if __name__ == "__main__":
    print(main())
