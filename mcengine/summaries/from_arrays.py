"""The summary of samples that are given as arrays."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.numerics.partition import StaticPart, combine, partition
from mcengine.summaries.reduce_block import Kept, summarise_block
from mcengine.summaries.summary import MAX_TAIL, MAX_TAILED, Summary
from mcengine.weights import pareto_tail
from mcengine.weights.weighting import Weighting


def summary_of_arrays(
    log_w: Float[np.ndarray, " n"] | None,
    values: Float[np.ndarray, "K n"],
    weighting: Weighting,
    covariance: str | None = "diagonal",
    *,
    num_denominators: int = 0,
) -> Summary:
    """The summary of samples that were drawn elsewhere: log-weights and values, reduced in float64.

    The last `num_denominators` values are divided by.
    """
    with np.errstate(all="ignore"), jax.enable_x64(True):
        dynamic, static = partition(weighting)
        summary = _summary_of_arrays(
            dynamic, log_w, values, static=static, covariance=covariance, num_denominators=num_denominators
        )
        return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), summary)


@partial(jax.jit, static_argnames=("static", "covariance", "num_denominators"))
def _summary_of_arrays(
    dynamic: list[Array],
    log_w: Float[Array, " n"] | None,
    values: Float[Array, "K n"],
    *,
    static: StaticPart,
    covariance: str | None,
    num_denominators: int,
) -> Summary:
    weighting, n = combine(dynamic, static), values.shape[-1]
    num_samples = jnp.asarray(n, values.dtype)
    transform = partial(weighting.transform, num_samples=num_samples) if weighting.changes_weights else None
    num_outputs, tailed = len(values) - num_denominators, None
    if num_denominators:
        tailed = (*range(min(num_outputs, MAX_TAILED)), *range(num_outputs, len(values)))
    kept = Kept(
        with_denominator=weighting.self_normalised,
        num_denominators=num_denominators,
        tailed=tailed,
        tail_length=min(MAX_TAIL, int(pareto_tail.tail_size(n))) + 1,
        covariance=covariance,
    )
    return summarise_block(log_w, values, jnp.asarray(n, jnp.int32), kept, transform=transform)
