"""The root of a function that is monotone in one random variable, by bracketing between quantiles."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

# The search covers the quantiles with log-odds from -80 to 80: the probability outside is 2e-35.
REACH, NUM_CELLS = 80.0, 64


@runtime_checkable
class HasTails(Protocol):
    """A distribution of a scalar with both tails and the quantile function, all in logs."""

    def log_cdf(self, x: Float[Array, ""]) -> Float[Array, ""]: ...

    def log_sf(self, x: Float[Array, ""]) -> Float[Array, ""]: ...

    def quantile(self, log_lower: Float[Array, ""], log_upper: Float[Array, ""]) -> Float[Array, ""]: ...


class Bracket(NamedTuple):
    """The point where the answer changes, and the answers far below and far above it."""

    point: Float[Array, ""]
    below: Bool[Array, ""]
    above: Bool[Array, ""]


def bracket_change(answer: Callable[[Float[Array, ""]], Bool[Array, ""]], distribution: HasTails) -> Bracket:
    """Find the point where `answer` changes along the values of a scalar, to the last bit of a float.

    The number of steps is fixed, and so the same for every sample of a `vmap`: six steps halve a table of 65 quantiles,
    which is computed once for all samples, then as many as a float has digits halve the cell. If the answer does not
    change, the point is some point of the support.

    **Arguments:** `answer`, monotone; `distribution`, of the scalar.

    **Returns:** a `Bracket`. Its point has no derivative: see `implicit`.
    """
    table = quantiles(distribution, jnp.linspace(-REACH, REACH, NUM_CELLS + 1))
    below, above = answer(table[0]), answer(table[-1])

    def halve_table(_: Array, ends: tuple[Int[Array, ""], Int[Array, ""]]) -> tuple[Int[Array, ""], Int[Array, ""]]:
        low, high = ends
        middle = (low + high) // 2
        lower = answer(table[middle]) == below
        return jnp.where(lower, middle, low), jnp.where(lower, high, middle)

    def halve_cell(_: Array, ends: tuple[Float[Array, ""], Float[Array, ""]]) -> tuple[Array, Array]:
        low, high = ends
        middle = low + 0.5 * (high - low)
        lower = answer(middle) == below
        return jnp.where(lower, middle, low), jnp.where(lower, high, middle)

    first, last = jnp.asarray(0, jnp.int32), jnp.asarray(NUM_CELLS, jnp.int32)
    low, high = lax.fori_loop(0, NUM_CELLS.bit_length() - 1, halve_table, (first, last))
    _, point = lax.fori_loop(0, int(jnp.finfo(table.dtype).nmant) + 2, halve_cell, (table[low], table[high]))
    return Bracket(lax.stop_gradient(point), below, above)


def quantiles(distribution: HasTails, log_odds: Float[Array, " n"]) -> Float[Array, " n"]:
    """The points of a scalar where log(P(X <= x) / P(X > x)) has the given values, exact in both tails."""
    return jax.vmap(distribution.quantile)(-jax.nn.softplus(-log_odds), -jax.nn.softplus(log_odds))


def log_odds(distribution: HasTails, x: Float[Array, ""]) -> Float[Array, ""]:
    """log(P(X <= x) / P(X > x)) of a scalar."""
    return distribution.log_cdf(x) - distribution.log_sf(x)


@jax.custom_jvp
def implicit(point: Float[Array, ""], residual: Float[Array, ""], slope: Float[Array, ""]) -> Float[Array, ""]:
    """`point`, with the derivative of the root b of g(b, theta) = 0 there: db/dtheta = -(dg/dtheta) / (dg/db).

    **Arguments:** `residual`, g at the point, of which only the derivative counts; `slope`, dg/db. A slope of 0 gives
    a derivative that is not finite, rather than a wrong one.
    """
    return point


@implicit.defjvp
def _implicit_jvp(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    (point, _, slope), (_, residual_dot, _) = primals, tangents
    return point, -residual_dot / slope


def replace_infinity(point: Float[Array, ""], distribution: HasTails) -> Float[Array, ""]:
    """The point, or the median if the point is infinite: even a branch that `where` discards must be finite."""
    median = lax.stop_gradient(quantiles(distribution, jnp.zeros(1))[0])
    return jnp.where(jnp.isinf(point), median, point)


def probe_log_odds() -> Float[np.ndarray, "33"]:
    """Log-odds of points at which a function is probed; the probability outside is 4e-9."""
    return np.linspace(-20.0, 20.0, 33)
