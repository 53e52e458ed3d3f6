"""Growth of peak memory from 10^6 to 10^9 samples, each count in its own process."""

import subprocess
import sys

from benchmarks.timing import table

SCRIPT = """
import resource, sys
import jax, mcengine as mc
problem = mc.Probability(lambda x: x, mc.Normal(0.0, 1.0), 5.0)
result = mc.estimate(jax.random.key(0), problem, mc.Normal(5.0, 1.0), budget=mc.Samples(int(sys.argv[1])))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, float(result.value), float(result.std_error))
"""


def peak_megabytes(num_samples: int) -> float:
    """Peak resident memory of one run, in MB."""
    out = subprocess.run([sys.executable, "-c", SCRIPT, str(num_samples)], capture_output=True, text=True, check=True)
    return float(out.stdout.split()[0])


def main(small: int = 10**6, large: int = 10**9) -> str:
    """The table."""
    peaks = {n: peak_megabytes(n) for n in (small, large)}
    rows = [[f"{n:,}", f"{mb:.0f}"] for n, mb in peaks.items()]
    return table(["samples", "peak MB"], rows) + f"\n\nGrowth: {peaks[large] - peaks[small]:.0f} MB."


if __name__ == "__main__":
    print(main())
