"""The same bits on 1, 2 and 4 devices."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
import hashlib
import jax.numpy as jnp
import numpy as np
import mcengine as mc

problems = [
    (mc.Probability(lambda x: x, mc.Normal(0.0, 1.0), 3.0), mc.Normal(3.0, 1.0)),
    (mc.Expectation(lambda x: jnp.stack([x, jnp.exp(0.3 * x)]), mc.StudentT(5.0)), None),
    (mc.Integral(lambda x: jnp.exp(-jnp.sum(x * x)), np.zeros(3), np.ones(3)), None),
    (mc.Expectation(lambda x: x**2, mc.Exponential(1.0)), mc.mixture([mc.Exponential(0.5), mc.Exponential(2.0)])),
]
layouts = [mc.points.IID(), mc.points.Antithetic(), mc.points.Stratified(), mc.points.LatinHypercube(256),
           mc.points.Lattice(), mc.points.Sobol()]
if sys.argv[2] == "few":
    problems, layouts = problems[:1] + problems[2:3], [mc.points.IID(), mc.points.Sobol()]
assert len(jax.devices()) == int(sys.argv[1])
digest = hashlib.sha256()
for number, (problem, proposal) in enumerate(problems):
    for points in layouts:
        execution = mc.Execution(block_size=2**10, blocks_per_call=3)
        key = jax.random.key(number)
        result = mc.estimate(key, problem, proposal, points=points, budget=mc.Samples(40_000), execution=execution)
        for leaf in jax.tree.leaves(result.row):
            digest.update(np.ascontiguousarray(leaf).tobytes())
timed = mc.estimate(jax.random.key(9), problems[0][0], problems[0][1], budget=mc.Tolerance(rtol=0.02))
digest.update(np.asarray(timed.value).tobytes())
print(digest.hexdigest())
"""


def digest(num_devices, how_many):
    command = [sys.executable, "-c", SCRIPT, str(num_devices), how_many]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nobody_can_tell_how_many_devices_there_were():
    assert len({digest(n, "few") for n in (1, 4)}) == 1


@pytest.mark.battery
def test_nobody_can_tell_for_any_points():
    assert len({digest(n, "all") for n in (1, 2, 4)}) == 1
