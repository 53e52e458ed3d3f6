"""Where a function that is monotone in one random variable changes its answer, by bracketing between quantiles."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

# The search covers log-odds of the distribution function from -80 to 80: what lies beyond has probability 2e-35.
REACH, NUM_CELLS = 80.0, 64


class Crossing(NamedTuple):
    """The point where the answer changes, and the answers far below and far above it."""

    point: Float[Array, ""]
    below: Bool[Array, ""]
    above: Bool[Array, ""]


def find_crossing(answer: Callable[[Float[Array, ""]], Bool[Array, ""]], law: Any) -> Crossing:
    """Where `answer` changes along the values of X ~ law, a scalar law with `quantile`, to the last bit of a float.

    A fixed number of steps, the same for every sample of a `vmap`: six halve a table of 65 quantiles, which is made
    once for all samples (so that no quantile is computed for each), then as many as a float has digits halve the cell.
    Without a change the point is some point of the law.
    """
    table = quantiles(law, jnp.linspace(-REACH, REACH, NUM_CELLS + 1))
    below, above = answer(table[0]), answer(table[-1])

    def halve_table(_, ends):
        low, high = ends
        middle = (low + high) // 2
        lower = answer(table[middle]) == below
        return jnp.where(lower, middle, low), jnp.where(lower, high, middle)

    def halve_cell(_, ends):
        low, high = ends
        middle = low + 0.5 * (high - low)
        lower = answer(middle) == below
        return jnp.where(lower, middle, low), jnp.where(lower, high, middle)

    first, last = jnp.asarray(0, jnp.int32), jnp.asarray(NUM_CELLS, jnp.int32)
    low, high = lax.fori_loop(0, NUM_CELLS.bit_length() - 1, halve_table, (first, last))
    _, point = lax.fori_loop(0, int(jnp.finfo(table.dtype).nmant) + 2, halve_cell, (table[low], table[high]))
    # A derivative is `implicit`'s, never one of the search.
    return Crossing(lax.stop_gradient(point), below, above)


def quantiles(law: Any, log_odds: Float[Array, " n"]) -> Float[Array, " n"]:
    """The points of a scalar law where log(P(X <= x) / P(X > x)) has the given values, exact in both tails."""
    return jax.vmap(law.quantile)(-jax.nn.softplus(-log_odds), -jax.nn.softplus(log_odds))


def log_odds(law: Any, x: Float[Array, ""]) -> Float[Array, ""]:
    """log(P(X <= x) / P(X > x)) of a scalar law."""
    return law.log_cdf(x) - law.log_sf(x)


@jax.custom_jvp
def implicit(point: Float[Array, ""], residual: Float[Array, ""], slope: Float[Array, ""]) -> Float[Array, ""]:
    """`point`, with the derivative of the root b of g(b, theta) = 0 there: db/dtheta = -(dg/dtheta) / (dg/db).

    **Arguments:** `residual`, g at the point, of which only the derivative counts; `slope`, dg/db. A slope of 0 gives
    a derivative that is not finite, rather than a wrong one.
    """
    return point


@implicit.defjvp
def _implicit_jvp(primals, tangents):
    (point, _, slope), (_, residual_dot, _) = primals, tangents
    return point, -residual_dot / slope


def safe_infinity(point: Float[Array, ""], law: Any) -> Float[Array, ""]:
    """The point, or the law's median in the place of an infinite one: what `where` drops must be harmless."""
    median = lax.stop_gradient(quantiles(law, jnp.zeros(1))[0])
    return jnp.where(jnp.isinf(point), median, point)


def probe_log_odds() -> np.ndarray:
    """Log-odds that cover all but 1e-9 of a law, for looking at a function here and there."""
    return np.linspace(-20.0, 20.0, 33)
