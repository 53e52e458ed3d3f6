"""The same bits on 1, 2 and 4 devices, each with calls of its own or all in a mesh, and in several processes."""

import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

import mcengine as mc

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
# None: each device takes calls of its own.
shape = [int(length) for length in sys.argv[3].split("x")] if sys.argv[3] else None
devices = None
if shape is not None:
    devices = jax.sharding.Mesh(np.asarray(jax.devices()[: np.prod(shape)]).reshape(shape), tuple("xyz"[: len(shape)]))
digest = hashlib.sha256()
for number, (problem, proposal) in enumerate(problems):
    for points in layouts:
        execution = mc.Execution(block_size=2**10, blocks_per_call=7, devices=devices)
        key = jax.random.key(number)
        result = mc.estimate(key, problem, proposal, points=points, budget=mc.Samples(40_000), execution=execution)
        for leaf in jax.tree.leaves(result.summary):
            digest.update(np.ascontiguousarray(leaf).tobytes())
execution = mc.Execution(devices=devices)
timed = mc.estimate(
    jax.random.key(9), problems[0][0], problems[0][1], budget=mc.Tolerance(rtol=0.02), execution=execution
)
digest.update(np.asarray(timed.value).tobytes())
print(digest.hexdigest())
"""


# One of two processes, each with a device of its own.
PROCESS = """
import sys
import jax
jax.distributed.initialize("localhost:" + sys.argv[1], 2, int(sys.argv[2]))
import numpy as np
import mcengine as mc
problem = mc.Probability(lambda x: x, mc.Normal(0.0, 1.0), 3.0)
execution = mc.Execution(block_size=2**10, blocks_per_call=7, devices=jax.sharding.Mesh(np.asarray(jax.devices()), "d"))
for budget in (mc.Samples(40_000), mc.Tolerance(rtol=0.02)):
    result = mc.estimate(jax.random.key(0), problem, mc.Normal(3.0, 1.0), budget=budget, execution=execution)
    print(result.num_samples, result.value.hex(), result.std_error.hex())
"""


def digest(num_devices, how_many, mesh=""):
    command = [sys.executable, "-c", SCRIPT, str(num_devices), how_many, mesh]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nobody_can_tell_how_many_devices_there_were():
    assert digest(1, "few") == digest(4, "few") == digest(4, "few", mesh="2x2")


@pytest.mark.battery
def test_nobody_can_tell_for_any_points():
    apart = {digest(n, "all") for n in (1, 2, 4)}
    assert len(apart | {digest(4, "all", mesh=mesh) for mesh in ("1", "3", "4", "2x2")}) == 1


def test_processes_of_one_mesh_have_the_result_of_one_alone():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    both = [
        subprocess.Popen([sys.executable, "-c", PROCESS, port, rank], stdout=subprocess.PIPE, text=True)
        for rank in ("0", "1")
    ]
    try:
        printed = [
            [line for line in process.communicate(timeout=120)[0].splitlines() if "Gloo" not in line]
            for process in both
        ]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0]
    problem = mc.Probability(lambda x: x, mc.Normal(0.0, 1.0), 3.0)
    execution = mc.Execution(block_size=2**10)
    alone = []
    for budget in (mc.Samples(40_000), mc.Tolerance(rtol=0.02)):
        result = mc.estimate(jax.random.key(0), problem, mc.Normal(3.0, 1.0), budget=budget, execution=execution)
        alone.append(f"{result.num_samples} {result.value.hex()} {result.std_error.hex()}")
    assert printed == [alone, alone]


def test_parameters_may_live_on_a_device_of_their_own():
    script = """
import jax
jax.config.update("jax_num_cpu_devices", 4)
import jax.numpy as jnp
import numpy as np
import mcengine as mc
mean = jax.device_put(jnp.float32(0.5), jax.devices()[2])
problem = mc.Expectation(lambda x: jnp.exp(x), mc.Normal(0.0, mean))
mesh = jax.sharding.Mesh(np.asarray(jax.devices()), "d")
for devices in (None, mesh):
    budget, execution = mc.Samples(10_000), mc.Execution(block_size=2**10, devices=devices)
    print(mc.estimate(jax.random.key(0), problem, budget=budget, execution=execution).value.hex())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.split())) == 1


def test_meshes_of_nothing_are_refused():
    with pytest.raises(ValueError, match="mesh without devices or axes"):
        mc.Execution(devices=jax.sharding.Mesh(np.asarray([], dtype=object), "d"))
