"""`estimate_batch` against the same lanes kernel written by hand without statistics, and against `replicate`; memory.

The kernel by hand draws, weighs, evaluates and averages [samples, problems] lanes, in the same calls from as many
threads. It keeps no variance, diagnostics or intervals; `estimate_batch` is timed with statuses and intervals read.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt32

import mcengine as mc
from benchmarks.timing import interleaved, table
from mcengine import numerics
from mcengine.numerics.generator import hashed

LANES = 2**16
MANY, MANY_SAMPLES = 250_000, 64
COSTLY_TERMS = 5

MEMORY = """
import resource, sys
import numpy as np
import jax, mcengine as mc
def score(x):
    return x
rows = {"loc": np.linspace(0.0, 1.0, int(sys.argv[1]))}
problems = mc.batch(lambda row: mc.Probability(score, mc.Normal(row["loc"], 1.0), 1.0), rows)
result = mc.estimate_batch(jax.random.key(0), problems, budget=mc.Samples(int(sys.argv[2])))
result.interval(), result.status_code
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, result.seconds)
"""


def costly(x: Float[Array, ""]) -> Float[Array, ""]:
    """An integrand of about 50 ns a sample."""
    for _ in range(COSTLY_TERMS):
        x = jnp.sin(x) + 0.3 * x
    return x


def cheap(x: Float[Array, ""]) -> Float[Array, ""]:
    """An integrand that costs next to nothing."""
    return x * x


def problem_of(integrand: object, row: PyTree) -> mc.Expectation:
    """The expectation of an integrand under a normal with the row's location and scale."""
    return mc.Expectation(integrand, mc.Normal(row["loc"], row["scale"]))


def proposal_of(row: PyTree) -> mc.Normal:
    """A wider normal."""
    return mc.Normal(row["loc"] + 0.1, 1.2 * row["scale"])


def parameters(size: int) -> dict[str, np.ndarray]:
    """Locations and scales of so many problems."""
    return {name: np.linspace(low, 1.0, size, dtype=np.float32) for name, low in (("loc", 0.0), ("scale", 0.5))}


@partial(jax.jit, static_argnames=("integrand", "samples"), compiler_options=numerics.KERNEL_OPTIONS)
def means_by_hand(rows: PyTree, words: UInt32[Array, "2 P"], *, integrand: object, samples: int) -> Float[Array, " P"]:
    """mean(w f) of each problem, lanes [samples, problems], without statistics."""
    shape = (samples, words.shape[1])
    k0, k1 = (jnp.broadcast_to(word[None], shape) for word in words)
    bits = hashed(jax.lax.broadcasted_iota(jnp.uint32, shape, 0), k0, k1)
    z = numerics.normal_quantile(numerics.centred_uniform(bits[None]))
    loc, scale = rows["loc"][None], rows["scale"][None]
    x = numerics.fence((loc + 0.1) + (1.2 * scale) * z)
    deviation = (x - loc) * (1.0 / scale)
    # log p - log q of two normals, whose scales differ by the factor 1.2.
    w = jnp.exp(0.5 * (z * z - deviation * deviation) + np.float32(np.log(1.2)))
    return jnp.mean(w * integrand(x), axis=0)


def by_hand(integrand: object, size: int, samples: int) -> np.ndarray:
    """All means, in calls of `LANES` lanes from two threads."""
    rows, group = parameters(size), max(1, min(size, LANES // samples))
    words = np.random.default_rng(0).integers(0, 2**32, (2, size), dtype=np.uint32)

    def call(start: int) -> np.ndarray:
        index = slice(start, start + group)
        some = {name: column[index] for name, column in rows.items()}
        return np.asarray(means_by_hand(some, words[:, index], integrand=integrand, samples=samples))

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return np.concatenate(list(pool.map(call, range(0, size, group))))


def by_batch(integrand: object, size: int, samples: int, **options: object) -> mc.BatchEstimate:
    """The same by `estimate_batch`, with statuses and intervals read."""
    rows = parameters(size)
    problems, proposals = mc.batch(partial(problem_of, integrand), rows), mc.batch(proposal_of, rows)
    found = mc.estimate_batch(jax.random.key(0), problems, proposals, budget=mc.Samples(samples), **options)
    _ = found.interval(), found.status_code
    return found


def by_replicate(integrand: object, size: int, samples: int) -> mc.Estimate:
    """As many estimates of one problem by `replicate`, which keeps tails."""
    row = {"loc": np.float32(0.5), "scale": np.float32(0.75)}
    keys = jax.random.split(jax.random.key(0), size)
    found = mc.replicate(keys, problem_of(integrand, row), proposal_of(row), budget=mc.Samples(samples))
    _ = found.interval(), found.status_code
    return found


def times(repeats: int = 7) -> str:
    """Medians of interleaved calls."""
    rows = []
    for title, integrand, size, samples in (
        ("4,096 x 256, about 50 ns a sample", costly, 4_096, 256),
        ("1,024 x 256, trivial kernel", cheap, 1_024, 256),
    ):
        runs = {
            "by hand, without statistics": lambda i=integrand, p=size, s=samples: by_hand(i, p, s),
            "estimate_batch": lambda i=integrand, p=size, s=samples: by_batch(i, p, s).value,
            "estimate_batch, no tails": lambda i=integrand, p=size, s=samples: by_batch(i, p, s, check_tails=0).value,
            "replicate": lambda i=integrand, p=size, s=samples: by_replicate(i, p, s).value,
        }
        seconds = interleaved(runs, repeats)
        hand = seconds["by hand, without statistics"]
        for name, s in seconds.items():
            rows.append([title, name, f"{1e3 * s:.1f}", f"{1e9 * s / (size * samples):.1f}", f"{s / hand:.2f}"])
    return table(["problems x samples", "", "ms", "ns a sample", "over by hand"], rows)


def memory() -> str:
    """Peak resident memory of 250,000 problems at 64 samples, in a process of its own."""
    command = [sys.executable, "-c", MEMORY, str(MANY), str(MANY_SAMPLES)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return table(
        ["problems x samples", "peak MB (required: below 2,000)", "seconds, compilation included"],
        [[f"{MANY:,} x {MANY_SAMPLES}", f"{float(out[0]):,.0f}", f"{float(out[1]):.1f}"]],
    )


def main() -> str:
    """Both tables."""
    return f"{times()}\n\n{memory()}"


if __name__ == "__main__":
    print(main())
