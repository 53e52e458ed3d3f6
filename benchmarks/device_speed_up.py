"""The speed of two devices relative to one on a kernel that fills them: the Gaussian tail, runs in turn.

The reference is a device on one core. By default XLA gives one CPU device all cores, so that a second device adds less.
Linux only, since processes are pinned to cores.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterable

from benchmarks.timing import table

SAMPLES, ROUNDS = 10**8, 3
REQUIRED = 1.5
SCRIPT = """
import os, sys
count, num_samples, cores = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(",")
os.sched_setaffinity(0, map(int, cores))
import jax
import mcengine as mc
from benchmarks.timing import interleaved
problem, proposal = mc.Probability(lambda x: x, mc.Normal(0.0, 1.0), 5.0), mc.Normal(5.0, 1.0)
execution = mc.Execution(devices=jax.devices()[:count], threads=count)
assert len(execution.devices) == count
def run():
    return mc.estimate(jax.random.key(0), problem, proposal, budget=mc.Samples(num_samples), execution=execution).value
print(interleaved({"run": run})["run"])
"""


def seconds(num_devices: int, num_samples: int, cores: Iterable[int]) -> float:
    """Median seconds of a run in its own process on these cores."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", SCRIPT, str(num_devices), str(num_samples), ",".join(map(str, cores))]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def main(num_samples: int = SAMPLES) -> str:
    """The table."""
    two = sorted(os.sched_getaffinity(0))[:2]
    if len(two) < 2:
        raise SystemExit("device_speed_up: two cores are needed; this process may use one.")
    cases = {"1, of one core": (1, two[:1]), "1, of two cores": (1, two), "2, of two cores": (2, two)}
    measured = [{name: seconds(n, num_samples, cores) for name, (n, cores) in cases.items()} for _ in range(ROUNDS)]
    medians = {name: statistics.median(run[name] for run in measured) for name in cases}
    last = list(medians.values())[-1]
    rows = [[name, f"{value:.2f}", f"{value / last:.2f}"] for name, value in medians.items()]
    return table(["devices", "seconds", f"speed of two devices relative to this (required: {REQUIRED})"], rows)


if __name__ == "__main__":
    print(main())
