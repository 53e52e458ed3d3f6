"""Time of a script to its first result, and of an import; medians of fresh processes."""

import statistics
import subprocess
import sys
import time

from benchmarks.timing import table

FIRST_RESULT = """
import jax, mcengine as mc
problem = mc.Probability(lambda x: x, mc.Normal(0.0, 1.0), 5.0)
print(mc.estimate(jax.random.key(0), problem, mc.Normal(5.0, 1.0), budget=mc.Samples(10**6)))
"""
SCRIPTS = {"import jax": "import jax", "import jax, mcengine": "import jax, mcengine", "first result": FIRST_RESULT}


def main(repeats: int = 7) -> str:
    """The table; the scripts take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in SCRIPTS}
    for _ in range(repeats):
        for name, script in SCRIPTS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    rows = [[name, f"{value:.2f}"] for name, value in median.items()]
    extra = median["import jax, mcengine"] - median["import jax"]
    return table(["script", "seconds"], rows) + f"\n\n`import mcengine` over `import jax`: {extra:.2f} s."


if __name__ == "__main__":
    print(main())
