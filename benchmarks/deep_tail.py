"""Plain float32 sampling in the far tail: P(Z > 5) from 2 x 10^9 draws, and the largest draw."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.special import ndtr

import mcengine as mc
from benchmarks.timing import table

LEVELS = [4.0, 5.0, 5.5, 6.0]


class FurthestDraw:
    """The largest |z| of 2^18-sample blocks under mcengine's transport and under jax.random.normal."""

    @staticmethod
    @jax.jit
    def run(key: PRNGKeyArray, num_blocks: Array) -> Float[Array, "2"]:
        """[largest of mcengine, largest of JAX]."""

        def block(i: Array, best: Float[Array, "2"]) -> Float[Array, "2"]:
            block_key = jax.random.fold_in(key, i)
            ours, _ = mc.points.IID().draw(block_key, jnp.asarray(0), 2**18, mc.Normal(0.0, 1.0))
            theirs = jax.random.normal(jax.random.fold_in(block_key, 1), (2**18,))
            return jnp.maximum(best, jnp.stack([jnp.max(jnp.abs(ours)), jnp.max(jnp.abs(theirs))]))

        return jax.lax.fori_loop(0, num_blocks, block, jnp.zeros(2))


def main(num_samples: int = 2 * 10**9) -> str:
    """The table of levels, and the largest draws of both generators."""
    problem = mc.Probability(lambda x: x, mc.Normal(0.0, 1.0), LEVELS)
    result = mc.estimate(jax.random.key(1), problem, budget=mc.Samples(num_samples))
    exact = ndtr(-np.asarray(LEVELS))
    z = (result.value - exact) / np.sqrt(exact * (1 - exact) / num_samples)
    rows = [
        [f"{level}", f"{int(h):,}", f"{n:,.1f}", f"{s:+.2f}"]
        for level, h, n, s in zip(LEVELS, result.num_hits, exact * num_samples, z, strict=True)
    ]
    ours, theirs = FurthestDraw.run(jax.random.key(2), num_samples // 2**18 // 4)
    reach = f"Largest of {num_samples // 4:,} draws: mcengine {ours:.2f}, `jax.random.normal` {theirs:.2f}."
    return table(["level", "hits", "expected", "error in standard errors"], rows) + f"\n\n{reach}"


if __name__ == "__main__":
    print(main())
