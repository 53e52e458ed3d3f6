"""The probability that an index falls by at least a given fraction within some days."""

from functools import lru_cache
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from mcengine.distributions import StudentT
from mcengine.finance.prices import default_csv, load_prices
from mcengine.finance.student_fit import StudentFit, fit_student
from mcengine.finance.student_sum import StudentSumLaw
from mcengine.numerics.values import Scalar
from mcengine.problems.probability import Probability


def loss(log_returns: Float[Array, " days"]) -> Float[Array, ""]:
    """-sum_t r_t, the decrease of the log price over the days."""
    return -jnp.sum(log_returns)


def index_fall(
    fall: Scalar = 0.2,
    days: Scalar = 10,
    csv: str | Path | None = None,
    *,
    date_column: str | None = None,
    price_column: str | None = None,
    max_gap_days: int = 10,
) -> Probability:
    """P(S_days / S_0 <= 1 - fall), for independent Student-t daily log returns fitted to the prices in a CSV file.

    P(-sum_t r_t >= -log(1 - fall)),  r_t ~ t_df(loc, scale); the target has event shape [days].

    **Arguments:**

    - `fall`: a fraction in (0, 1), 0.2 for 20 %; it may be traced.
    - `days`: the number of trading days, a whole number.
    - `csv`, `date_column`, `price_column`, `max_gap_days`: as in `load_prices`; by default the S&P 500, 1999 to 2018.

    **Returns:** a `Probability`. Its `exact` is the n-fold FFT convolution (`student_sum_tail`), with relative error
    below 1e-6; None if `fall` is traced, and for light tails too far out to compute. `exact_law` is that of the loss
    -sum_t r_t, by the same method.

    **Raises:** `ValueError` for `fall` outside (0, 1), `days` below 1 and bad files; `TypeError` for traced `days`;
    `FileNotFoundError`.

    Fails silently as a model of markets: its days are independent, while real losses come in clusters, so that large
    ten-day losses are more likely than it says.
    """
    is_known = not isinstance(fall, Tracer)  # traced inside jit, vmap and grad
    if np.ndim(fall) != 0 or (is_known and not 0.0 < float(fall) < 1.0):
        raise ValueError(f"index_fall: fall must lie strictly between 0 and 1 (0.2 for 20 %), got {fall}.")
    if isinstance(days, Tracer):
        raise TypeError("index_fall: days is the length of a sample and cannot be traced: pass an int, static in jit.")
    if int(days) != days or days < 1:
        raise ValueError(f"index_fall: days must be a whole number of at least 1, got {days}.")
    days = int(days)
    fit = fitted_model(csv, date_column, price_column, max_gap_days)
    target = StudentT(fit.df, jnp.full(days, fit.loc), jnp.full(days, fit.scale))
    if not is_known:
        return Probability(loss, target, -jnp.log1p(-fall))
    threshold = -float(np.log1p(-float(fall)))
    law = StudentSumLaw(fit.df, -days * fit.loc, fit.scale, days)
    tail = float(law.exceedance(threshold))
    return Probability(loss, target, threshold, exact=None if np.isnan(tail) else tail, exact_law=law)  # pyright: ignore[reportArgumentType]


def fitted_model(
    csv: str | Path | None = None,
    date_column: str | None = None,
    price_column: str | None = None,
    max_gap_days: int = 10,
) -> StudentFit:
    """The Student-t fitted to the daily log returns of a file; cached until the file changes."""
    path = default_csv() if csv is None else Path(csv)
    modified_ns = path.stat().st_mtime_ns if path.is_file() else 0
    return _fit(str(path), modified_ns, date_column, price_column, max_gap_days)


@lru_cache(maxsize=32)
def _fit(path: str, modified_ns: int, date: str | None, price: str | None, max_gap_days: int) -> StudentFit:
    prices = load_prices(path, date_column=date, price_column=price, max_gap_days=max_gap_days)
    try:
        return fit_student(prices.log_returns)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
