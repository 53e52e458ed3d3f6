"""The same bits on 1, 2 and 4 devices: ten problems with every points layout, one process per device count.

`python -m benchmarks.devices` prints the table; `python -m benchmarks.devices digests` prints the digests of this
process as JSON.
"""

import hashlib
import json
import os
import subprocess
import sys

import jax
import numpy as np

import mcengine as mc
from benchmarks.coverage import verdict
from benchmarks.timing import table
from experiments.config import build, build_problem, compose, group_options

COUNTS = (1, 2, 4)
# Problems of every field, with and without a proposal; one proposal is a mixture.
PROBLEMS = {
    "gaussian_tail": "gaussian_tail/shifted",
    "keister": "plain",
    "genz_oscillatory": "plain",
    "peaked_curve": "peaked_curve/peak_and_uniform",
    "index_fall": "index_fall/shifted",
    "path_option": "plain",
    "plane_light": "plane_light/cosine_and_lamp",
    "tabular_mdp": "tabular_mdp/mixed",
    "gaussian_policy": "gaussian_policy/halfway",
    "fish_pond": "fish_pond/where_the_fish_are",
}
POINTS = group_options("points")
GROWING = "sobol until precise"
# Many small calls, so that every device runs some of them.
EXECUTION = mc.Execution(block_size=2**10, blocks_per_call=2)
SAMPLES = 20_000


def digest(number: int, problem_name: str, points: str) -> str:
    """The digest of a run's summary."""
    proposal_name = PROBLEMS[problem_name]
    kind = "sobol" if points == GROWING else points
    cfg = compose([f"problem={problem_name}", f"proposal={proposal_name}", f"points={kind}"])
    problem, proposal = build_problem(cfg)
    # A tolerance that no run reaches: all runs stop at the same last interim look.
    budget = mc.Tolerance(atol=1e-30, max_samples=2**16) if points == GROWING else mc.Samples(SAMPLES)
    key = jax.random.key(number)
    result = mc.estimate(key, problem, proposal, points=build(cfg.points), budget=budget, execution=EXECUTION)
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(result.summary):
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()[:8]


def digests() -> dict[str, dict[str, str]]:
    """The digests of all cases on this process's devices, by problem and points."""
    found = {}
    for number, problem in enumerate(PROBLEMS):
        found[problem] = {points: digest(number, problem, points) for points in (*POINTS, GROWING)}
        # Every kernel is compiled for every device, and the number of memory mappings of a process is limited.
        jax.clear_caches()
    return found


def digests_on(num_devices: int) -> dict[str, dict[str, str]]:
    """The digests of a process with `num_devices` CPU devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={num_devices}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-m", "benchmarks.devices", "digests"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"devices: the run on {num_devices} devices failed:\n{done.stderr}")
    found = json.loads(done.stdout)
    if found["devices"] != num_devices:
        raise RuntimeError(f"devices: asked for {num_devices} devices, got {found['devices']}.")
    return found["digests"]


def main() -> str:
    """The table: one digest if all device counts agree, else the digests of all."""
    by_count = [digests_on(count) for count in COUNTS]
    rows = []
    for problem in PROBLEMS:
        cells = [sorted({found[problem][points] for found in by_count}) for points in (*POINTS, GROWING)]
        rows.append([problem, *(" / ".join(cell) for cell in cells), verdict(all(len(cell) == 1 for cell in cells))])
    counts = ", ".join(map(str, COUNTS))
    note = f"One digest in a cell: the same bits on {counts} devices."
    return table(["problem", *POINTS, GROWING, "same bits"], rows) + f"\n\n{note}"


if __name__ == "__main__":
    if sys.argv[1:] == ["digests"]:
        print(json.dumps({"devices": jax.device_count(), "digests": digests()}))
    else:
        print(main())
