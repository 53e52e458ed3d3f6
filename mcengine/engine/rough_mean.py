"""A rough mean of the integrand from a few samples, which centres columns whose squares are summed in float32."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from mcengine import weights
from mcengine.distributions import Distribution, sample_many
from mcengine.functionals.protocol import Functional
from mcengine.numerics.partition import StaticPart, combine, partition
from mcengine.numerics.tracing import closes_over_trace, is_traced, traced
from mcengine.problems.protocol import Problem

NUM_SAMPLES = 256


def with_centre(functional: Functional, problem: Problem, source: Distribution) -> Functional:
    """The functional with its centre from samples of `source`; as it is where it needs none, and in a trace."""
    if not functional.is_centred or is_traced((problem, source)) or closes_over_trace((problem, source)):
        return functional
    dynamic, static = partition((functional, problem, source))
    with traced("the integrand"):
        return dataclasses.replace(functional, centre=_rough_mean(dynamic, static=static))


@partial(jax.jit, static_argnames=("static",))
def _rough_mean(dynamic: list[Array], *, static: StaticPart) -> PyTree:
    """The self-normalised mean over finite samples, 0 where there are none."""
    functional, problem, source = combine(dynamic, static)
    x = sample_many(source, jax.random.key(0), NUM_SAMPLES)
    log_w = weights.log_ratio(jax.vmap(problem.target.log_prob)(x), jax.vmap(source.log_prob)(x))
    value = jax.vmap(lambda one: functional.to_centre(problem.integrand(one)))(x)
    share = weights.from_log(weights.normalised(jnp.where(jnp.isfinite(log_w), log_w, -jnp.inf)))

    def mean(leaf: Array) -> Array:
        flat = jnp.where(jnp.isfinite(leaf), leaf, 0.0).reshape(NUM_SAMPLES, -1)
        return jnp.nan_to_num(jnp.sum(share[:, None] * flat, axis=0)).reshape(leaf.shape[1:])

    return jax.tree.map(mean, value)
