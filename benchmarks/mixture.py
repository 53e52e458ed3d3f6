"""An expectation in 10 dimensions under a mixture proposal: `estimate` compared with a form that draws by jax.random.

E[exp(sum x / 4)] for standard normals under a mixture of three normals with different scales. The balance heuristic
needs every component density of every sample. The plain form draws a component and a normal vector per sample and sums
w f and its square over 2^15 samples at a time.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.stats import norm
from jaxtyping import Array, Float, PRNGKeyArray

import mcengine as mc
from benchmarks.timing import interleaved, table

DIM, BLOCK = 10, 2**15
LOCS = np.asarray([0.0, 0.25, 0.5])[:, None] * np.ones(DIM)
SCALES = np.asarray([1.3, 1.0, 1.1])[:, None] * np.ones(DIM)
WEIGHTS = np.asarray([0.2, 0.5, 0.3])
EXACT = float(np.exp(DIM / 32))
REQUIRED = 3.0


def payoff(x: Float[Array, " dim"]) -> Float[Array, ""]:
    """exp(sum x / 4)."""
    return jnp.exp(0.25 * jnp.sum(x))


@partial(jax.jit, static_argnames="num_blocks")
def with_jax_random(
    key: PRNGKeyArray,
    locs: Float[Array, "k dim"],
    scales: Float[Array, "k dim"],
    mixing: Float[Array, " k"],
    *,
    num_blocks: int,
) -> Float[Array, ""]:
    """Mean of w f, written directly in JAX."""

    def block(i: Array, sums: Float[Array, "2"]) -> Float[Array, "2"]:
        of_component, of_normal = jax.random.split(jax.random.fold_in(key, i))
        component = jax.random.choice(of_component, len(mixing), (BLOCK,), p=mixing)
        x = locs[component] + scales[component] * jax.random.normal(of_normal, (BLOCK, DIM))
        log_p = jnp.sum(norm.logpdf(x), axis=-1)
        log_q = jnp.sum(norm.logpdf(x[:, None, :], locs, scales), axis=-1) + jnp.log(mixing)
        wf = jnp.exp(log_p - jax.nn.logsumexp(log_q, axis=-1)) * jax.vmap(payoff)(x)
        return sums + jnp.stack([jnp.sum(wf), jnp.sum(wf * wf)])

    return lax.fori_loop(0, num_blocks, block, jnp.zeros(2))[0] / (num_blocks * BLOCK)


def main(num_samples: int = 2**22, repeats: int = 5) -> str:
    """The table."""
    mixture = mc.mixture([mc.Normal(loc, scale) for loc, scale in zip(LOCS, SCALES, strict=True)], WEIGHTS)
    problem = mc.Expectation(payoff, mc.Normal(np.zeros(DIM), 1.0))
    numbers = [jnp.asarray(x, float) for x in (LOCS, SCALES, WEIGHTS)]
    key, blocks = jax.random.key(0), num_samples // BLOCK
    runs = {
        "jax.random": lambda: with_jax_random(key, *numbers, num_blocks=blocks),
        "estimate": lambda: mc.estimate(key, problem, mixture, budget=mc.Samples(num_samples)).value,
        "estimate, threefry": lambda: (
            mc.estimate(
                key, problem, mixture, budget=mc.Samples(num_samples), points=mc.points.IID(generator="threefry")
            ).value
        ),
    }
    for name, run in runs.items():
        assert abs(float(run()) / EXACT - 1) < 0.01, name
    seconds = interleaved(runs, repeats)
    base = seconds["jax.random"]
    rows = [[name, f"{num_samples / s / 1e6:.1f}", f"{base / s:.2f}"] for name, s in seconds.items()]
    return table(["form", "million samples/s", f"against jax.random (required: {REQUIRED:.0f})"], rows)


if __name__ == "__main__":
    print(main())
