"""The probability that an index falls by more than a given share within some days."""

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
from mcengine.problems.probability import Probability


def loss(log_returns: Float[Array, " days"]) -> Float[Array, ""]:
    """-sum_t r_t, the fall of the log price over the days."""
    return -jnp.sum(log_returns)


def index_fall(
    fall=0.2,
    days=10,
    csv: str | Path | None = None,
    *,
    date_column: str | None = None,
    price_column: str | None = None,
    max_gap_days: int = 10,
) -> Probability:
    """P(S_days / S_0 <= 1 - fall), the daily log returns independent Student-t fitted to the prices in a CSV file.

    P(-sum_t r_t >= -log(1 - fall)),  r_t ~ t_df(loc, scale); target of event shape [days]. `exact` is the n-fold FFT
    convolution (`student_sum_tail`), good to 1e-6 of itself; None where light tails put it out of reach, or where
    `fall` is traced. `exact_law` is that of the loss -sum_t r_t, from the same sums.

    **Arguments:** `fall`, a share in (0, 1), 0.2 for 20 %; `days`, trading days; `csv` and the columns as in
    `load_prices`: by default the S&P 500 from 1999 to 2018.

    **Raises:** `ValueError` for `fall` outside (0, 1), `days` below 1 and bad files; `TypeError` for traced `days`;
    `FileNotFoundError`.

    When it lies: the days are independent in the model. Real bad days come in clusters, so true ten-day losses are
    likelier than this.
    """
    known = not isinstance(fall, Tracer)  # not inside jit, vmap or grad
    if np.ndim(fall) != 0 or (known and not 0.0 < float(fall) < 1.0):
        raise ValueError(f"index_fall: fall must lie strictly between 0 and 1 (0.2 for 20 %), got {fall}.")
    if isinstance(days, Tracer):
        raise TypeError("index_fall: days is the length of a sample and cannot be traced: pass an int, static in jit.")
    if int(days) != days or days < 1:
        raise ValueError(f"index_fall: days must be a whole number of at least 1, got {days}.")
    days = int(days)
    fit = fitted_model(csv, date_column, price_column, max_gap_days)
    target = StudentT(fit.df, jnp.full(days, fit.loc), jnp.full(days, fit.scale))
    if not known:
        return Probability(loss, target, -jnp.log1p(-fall))
    threshold = -float(np.log1p(-float(fall)))
    law = StudentSumLaw(fit.df, -days * fit.loc, fit.scale, days)
    tail = float(law.exceedance(threshold))
    return Probability(loss, target, threshold, exact=None if np.isnan(tail) else tail, exact_law=law)


def fitted_model(
    csv: str | Path | None = None,
    date_column: str | None = None,
    price_column: str | None = None,
    max_gap_days: int = 10,
) -> StudentFit:
    """The Student-t of the file's daily log returns; read and fitted once for as long as the file does not change."""
    path = default_csv() if csv is None else Path(csv)
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    return _fitted(str(path), changed, date_column, price_column, max_gap_days)


@lru_cache(maxsize=32)
def _fitted(path: str, changed: int, date: str | None, price: str | None, max_gap_days: int) -> StudentFit:
    prices = load_prices(path, date_column=date, price_column=price, max_gap_days=max_gap_days)
    try:
        return fit_student(prices.log_returns)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
