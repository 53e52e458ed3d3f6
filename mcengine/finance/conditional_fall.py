"""The probability that an index falls, with the last day integrated in closed form."""

from pathlib import Path

import jax.numpy as jnp
from jaxtyping import Array, Float

from mcengine.finance.index_fall import index_fall
from mcengine.numerics.values import Scalar
from mcengine.problems.conditional import ConditionalProbability, conditional


def last_return(other_days: Float[Array, " others"], threshold: Float[Array, ""]) -> Float[Array, ""]:
    """The last day's log return below which the loss -sum_t r_t reaches the threshold."""
    return -threshold - jnp.sum(other_days)


def conditional_index_fall(
    fall: Scalar = 0.2,
    days: Scalar = 10,
    csv: str | Path | None = None,
    *,
    date_column: str | None = None,
    price_column: str | None = None,
    max_gap_days: int = 10,
) -> ConditionalProbability:
    """`index_fall` as E[P(r_days <= log(1 - fall) - sum of the other days)], the last day's Student-t in closed form.

    Samples are of the other days, event shape [days - 1].

    **Arguments:** as `index_fall`, with `days` of at least 2.

    **Returns:** a `ConditionalProbability` with the exact value of `index_fall`.

    **Raises:** as `index_fall`, and `ValueError` for a single day, which leaves nothing to sample.
    """
    problem = index_fall(fall, days, csv, date_column=date_column, price_column=price_column, max_gap_days=max_gap_days)
    return conditional(problem, -1, last_return, above=False)
