"""Nanoseconds per draw of several distributions, compared with the samplers of jax.random."""

from collections.abc import Callable

import jax
from jaxtyping import Array, PRNGKeyArray

import mcengine as mc
from benchmarks.timing import interleaved, table

COUNT = 2**20


def _ours(distribution: mc.distributions.Distribution) -> Callable[[], Array]:
    @jax.jit
    def draw(key: PRNGKeyArray, distribution: mc.distributions.Distribution) -> Array:
        return mc.points.IID().draw(key, jax.numpy.asarray(0), COUNT, distribution)[0]

    return lambda: draw(jax.random.key(0), distribution)


def _theirs(sampler: Callable[[PRNGKeyArray], Array]) -> Callable[[], Array]:
    draw = jax.jit(sampler)
    return lambda: draw(jax.random.key(0))


def main(repeats: int = 7) -> str:
    """The table: draw and log density by mcengine, the draw alone by JAX."""
    pairs = {
        "normal": (mc.Normal(0.0, 1.0), lambda k: jax.random.normal(k, (COUNT,))),
        "Student-t, 3 degrees of freedom": (mc.StudentT(3.0), lambda k: jax.random.t(k, 3.0, (COUNT,))),
        "exponential": (mc.Exponential(1.0), lambda k: jax.random.exponential(k, (COUNT,))),
        "gamma, shape 2.5": (mc.Gamma(2.5, 1.0), lambda k: jax.random.gamma(k, 2.5, (COUNT,))),
    }
    rows = []
    for name, (ours, theirs) in pairs.items():
        seconds = interleaved({"ours": _ours(ours), "jax": _theirs(theirs)}, repeats)
        rows.append([name, *(f"{1e9 * seconds[key] / COUNT:.1f}" for key in ("ours", "jax"))])
    return table(["distribution", "mcengine, ns", "jax.random, ns"], rows)


if __name__ == "__main__":
    print(main())
