"""Many outputs: the time of 101 outputs relative to one, bias, exact sums of bins, and peak memory of 250,000.

Times are interleaved in one process, so that their ratios are valid on a busy machine too.
"""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import mcengine as mc
from benchmarks.timing import interleaved, table

REPLICATES, SAMPLES, SEEDS = 20, 1_000, 400
MANY = 250_000
EDGES = np.append(-np.inf, np.append(np.linspace(-4.0, 4.0, 99), np.inf))
TARGET = mc.Normal(0.0, 1.0)

MEMORY = """
import resource, sys
import jax, jax.numpy as jnp, mcengine as mc
def bumps(x):
    return jnp.exp(-0.5 * (jnp.linspace(-3.0, 3.0, int(sys.argv[1])) - x) ** 2)
points = {"iid": mc.points.IID(), "sobol": mc.points.Sobol()}[sys.argv[2]]
covariance = None if sys.argv[3] == "None" else sys.argv[3]
problem = mc.Expectation(bumps, mc.Normal(0.0, 1.0))
key, budget = jax.random.key(0), mc.Samples(int(sys.argv[4]))
result = mc.estimate(key, problem, points=points, budget=budget, covariance=covariance)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, result.seconds)
"""


def total(x: Float[Array, ""]) -> Float[Array, ""]:
    """The scalar integrand."""
    return jnp.exp(0.3 * x)


def total_and_bins(x: Float[Array, ""]) -> dict[str, Array]:
    """The total, and its value in each of 100 bins of x."""
    inside = (x >= EDGES[:-1].astype(np.float32)) & (x < EDGES[1:].astype(np.float32))
    return {"total": total(x), "bins": jnp.where(inside, total(x), 0.0)}


def times() -> str:
    """Medians of 20 replicates of 1,000 samples each, as ratios to one output's."""
    one, many = (mc.Expectation(f, TARGET) for f in (total, total_and_bins))
    keys, budget = jax.random.split(jax.random.key(0), REPLICATES), mc.Samples(SAMPLES)
    runs = {"1 output": lambda: mc.replicate(keys, one, budget=budget).value}
    for covariance in ("diagonal", "full", None):
        runs[f"101 outputs, covariance {covariance}"] = lambda covariance=covariance: (
            mc.replicate(keys, many, budget=budget, covariance=covariance).value
        )
    seconds = interleaved(runs, repeats=9)
    rows = [[name, f"{1e3 * s:.0f}", f"{s / seconds['1 output']:.2f}"] for name, s in seconds.items()]
    return table([f"{REPLICATES} replicates of {SAMPLES:,} samples", "ms", "ratio (required: at most 3)"], rows)


def sums() -> str:
    """Bias and coverage of the total over 400 seeds, and the error of the sum of its bins."""
    keys = jax.random.split(jax.random.key(1), SEEDS)
    runs = mc.replicate(keys, mc.Expectation(total_and_bins, TARGET), budget=mc.Samples(SAMPLES), covariance="full")
    values, exact = runs.value["total"], np.exp(0.5 * 0.3**2)
    z = (np.mean(values) - exact) / (np.std(values, ddof=1) / np.sqrt(SEEDS))
    low, high = runs.interval()
    covered = int(np.sum((low["total"] <= exact) & (exact <= high["total"])))
    together = runs.combination({"total": 0.0, "bins": 1.0})
    rows = [
        ["z of the mean over 400 seeds", f"{z:.2f}"],
        ["95 % intervals that contain the exact value (required: 364)", f"{covered} of {SEEDS}"],
        ["relative error of the sum of bins (required: 1e-12)", f"{np.max(np.abs(together.value / values - 1)):.1e}"],
        ["error of the bins' combination over the total's, largest difference",
         f"{np.max(np.abs(together.std_error / runs.std_error['total'] - 1)):.1e}"],
    ]  # fmt: skip
    return table(["total and bins", ""], rows)


def memory() -> str:
    """Peak resident memory of 250,000 outputs, each run in a process of its own."""
    rows = []
    for points, covariance, samples in (
        ("iid", "diagonal", 4_096),
        ("iid", "None", 4_096),
        ("sobol", "diagonal", 4_096),
        ("sobol", "diagonal", 16_384),
    ):
        command = [sys.executable, "-c", MEMORY, str(MANY), points, covariance, str(samples)]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        peak, seconds = map(float, out.stdout.split())
        rows.append([points, covariance, f"{samples:,}", f"{peak:,.0f}", f"{seconds:.0f}"])
    return table([f"{MANY:,} outputs by", "covariance", "samples", "peak MB (required: 2,000)", "s"], rows)


def main() -> str:
    """The three tables."""
    return "\n\n".join([times(), sums(), memory()])


if __name__ == "__main__":
    print(main())
