"""How much faster two devices are than one, on a kernel that fills them: the Gaussian tail, in a process with two.

On a CPU a device is half of the cores: each has one call under way. By default one device has as many as there are
cores, and two devices then gain nothing.
"""

import os
import subprocess
import sys

from benchmarks.timing import table

SAMPLES = 10**8
ASKED = 1.5
SCRIPT = """
import sys
import jax
import mcengine as mc
from benchmarks.timing import interleaved
problem, proposal = mc.Probability(lambda x: x, mc.Normal(0.0, 1.0), 5.0), mc.Normal(5.0, 1.0)
budget = mc.Samples(int(sys.argv[1]))
def on(count):
    execution = mc.Execution(devices=jax.devices()[:count], threads=count)
    return mc.estimate(jax.random.key(0), problem, proposal, budget=budget, execution=execution).value
assert len(jax.devices()) == 2
seconds = interleaved({1: lambda: on(1), 2: lambda: on(2)})
print(seconds[1], seconds[2])
"""


def main(num_samples: int = SAMPLES) -> str:
    """The table."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", SCRIPT, str(num_samples)]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    one, two = map(float, out.stdout.split())
    rows = [["1", f"{one:.2f}", ""], ["2", f"{two:.2f}", f"{one / two:.2f}"]]
    return table(["devices", "seconds", f"times as fast (asked: {ASKED})"], rows)


if __name__ == "__main__":
    print(main())
