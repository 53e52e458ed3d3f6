"""The 1-D Gaussian tail P(Z > 5) by `estimate`, compared with two hand-written kernels and float32 NumPy.

The hand-written kernels do the least amount of the same work: parameters as arguments, both log densities, the sums of
w f and of its square, the same blocks. One draws with `jax.random.normal`. The other uses the engine's generator,
quantile and compiler options; the difference to it is the cost of the engine's statistics.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

import mcengine as mc
from benchmarks.timing import interleaved, table
from mcengine import numerics

BLOCK = 2**18
LOG_SQRT_2PI = 0.9189385332


def _plain_normals(key: PRNGKeyArray) -> Float[Array, " n"]:
    return jax.random.normal(key, (BLOCK,))


def _our_normals(key: PRNGKeyArray) -> Float[Array, " n"]:
    return numerics.normal_quantile(numerics.centred_uniform(numerics.random_words(key, (1, BLOCK))))


def _kernel(
    normals: Callable[[PRNGKeyArray], Float[Array, " n"]],
    key: PRNGKeyArray,
    num_blocks: ArrayLike,
    threshold: ArrayLike,
    loc: ArrayLike,
    scale: ArrayLike,
) -> Float[Array, "2"]:
    def block(i: Array, sums: Float[Array, "2"]) -> Float[Array, "2"]:
        z = normals(jax.random.fold_in(key, i))
        x = loc + scale * z
        log_p = -0.5 * x * x - LOG_SQRT_2PI
        log_q = -0.5 * z * z - jnp.log(scale) - LOG_SQRT_2PI
        wf = jnp.where(x >= threshold, jnp.exp(log_p - log_q), 0.0)
        return sums + jnp.stack([jnp.sum(wf), jnp.sum(wf * wf)])

    return lax.fori_loop(0, num_blocks, block, jnp.zeros(2))


_hand_written = jax.jit(partial(_kernel, _plain_normals))
_hand_written_with_ours = jax.jit(partial(_kernel, _our_normals), compiler_options=numerics.KERNEL_OPTIONS)


def _numpy(rng: np.random.Generator, num_samples: int) -> np.ndarray:
    total = np.zeros(2)
    for start in range(0, num_samples, 10**6):
        z = rng.standard_normal(min(10**6, num_samples - start), dtype=np.float32)
        x = z + np.float32(5)
        log_w = np.float32(-0.5) * x * x + np.float32(0.5) * z * z
        wf = np.where(x >= 5, np.exp(log_w), np.float32(0))
        total += wf.sum(), (wf * wf).sum()
    return total


def main(num_samples: int = 10**8, repeats: int = 5) -> str:
    """The table; NumPy is timed on a twentieth of the samples."""
    key, rng = jax.random.key(0), np.random.default_rng(0)
    normal, proposal = mc.Normal(0.0, 1.0), mc.Normal(5.0, 1.0)
    indicator = mc.Probability(lambda x: x, normal, 5.0)
    general = mc.Expectation(lambda x: jnp.where(x >= 5.0, 1.0, 0.0), normal)
    blocks = -(-num_samples // BLOCK)
    budget, part = mc.Samples(num_samples), num_samples // 20
    runs = {
        "jax.random.normal, hand-written": lambda: _hand_written(key, blocks, 5.0, 5.0, 1.0),
        "our generator, hand-written": lambda: _hand_written_with_ours(key, blocks, 5.0, 5.0, 1.0),
        "estimate, Probability": lambda: mc.estimate(key, indicator, proposal, budget=budget).value,
        "estimate, Expectation of an indicator": lambda: mc.estimate(key, general, proposal, budget=budget).value,
        "estimate, Probability, threefry": lambda: (
            mc.estimate(key, indicator, proposal, budget=budget, points=mc.points.IID(generator="threefry")).value
        ),
        "NumPy float32": lambda: _numpy(rng, part),
    }
    seconds = interleaved(runs, repeats)
    rate = {name: (part if "NumPy" in name else num_samples) / s / 1e6 for name, s in seconds.items()}
    hand, plain = rate["jax.random.normal, hand-written"], rate["NumPy float32"]
    rows = [[name, f"{r:.1f}", f"{r / hand:.2f}", f"{r / plain:.2f}"] for name, r in rate.items()]
    return table(["form", "million samples/s", "against jax.random.normal", "against NumPy"], rows)


if __name__ == "__main__":
    print(main())
