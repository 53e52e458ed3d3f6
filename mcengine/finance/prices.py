"""Daily prices from a CSV file, checked row by row."""

import difflib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from jaxtyping import Float, Int, Shaped

if TYPE_CHECKING:
    import pandas

DATE_NAMES = ("date", "day", "timestamp", "datetime", "time")
PRICE_NAMES = ("adj close", "adjusted close", "adj_close", "close", "price", "last", "settle")
# Tried in this order. The first format that reads every date is used, so 1/2/2020 is the second of January.
DATE_FORMATS = ("ISO8601", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y")


class Prices(NamedTuple):
    """Prices with their dates, oldest first; `source` names the file in messages.

    `dates`, datetime64[D], and `prices`, float64, both of shape [days].
    """

    dates: Shaped[np.ndarray, " days"]
    prices: Float[np.ndarray, " days"]
    source: str

    @property
    def log_returns(self) -> Float[np.ndarray, " returns"]:
        """log(price_t / price_(t-1))."""
        return np.diff(np.log(self.prices))


def default_csv() -> Path:
    """The daily S&P 500 of 1999 to 2018 (5,031 rows), a file inside the `arch` package, which is not imported.

    **Raises:** `FileNotFoundError` if `arch` is not installed.
    """
    spec = importlib.util.find_spec("arch")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "data" / "sp500" / "sp500.csv.gz"
        if path.is_file():
            return path
    raise FileNotFoundError(
        "The default prices are the S&P 500 file inside the package `arch`, which is not installed. Install it "
        '(pip install "mcengine[finance]"), or give your own file of dates and prices: csv=PATH (problem.csv=PATH on '
        "the command line)."
    )


def load_prices(
    csv: str | Path | None = None,
    *,
    date_column: str | None = None,
    price_column: str | None = None,
    max_gap_days: int = 10,
) -> Prices:
    """Dates and prices from a CSV file (gzip or plain) with a header line, checked.

    Dates are ISO (2018-12-31, with or without a time), or all in one of the formats 12/31/2018, 31/12/2018, 31.12.2018.
    Empty lines are skipped.

    **Arguments:**

    - `csv`: a path, or None for `default_csv()`.
    - `date_column`, `price_column`: by default the first column whose name, in any case, is in `DATE_NAMES` and in
      `PRICE_NAMES`.
    - `max_gap_days`: the largest number of calendar days between rows (the S&P 500 was closed for seven in September
      2001).

    **Returns:** `Prices`.

    **Raises:** `FileNotFoundError`; `ValueError` that names file, row (the header is row 1) and value for missing
    columns, an empty file, dates or prices that cannot be read, NaN, prices that are not positive, dates that repeat or
    are out of order, and gaps.
    """
    import pandas as pd  # 0.3 s to import, and only this function needs it.

    path = default_csv() if csv is None else Path(csv)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path} (prices; csv={csv}).")
    try:
        table = pd.read_csv(path, dtype=str, skip_blank_lines=False, skipinitialspace=True, index_col=False)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path}: the file is empty; it needs a header line, dates and prices.") from None
    except pd.errors.ParserError as error:
        raise ValueError(f"{path}: not a table of comma-separated values: {error}") from None
    table.columns = [str(name).strip() for name in table.columns]
    date_name = _column(path, list(table.columns), date_column, DATE_NAMES, "date")
    price_name = _column(path, list(table.columns), price_column, PRICE_NAMES, "price")
    table = table.dropna(how="all")
    if len(table) < 2:
        raise ValueError(f"{path}: {len(table)} rows of data; at least 2 prices are needed for a return.")
    rows = np.asarray(table.index) + 2
    date_text, price_text = (cast("pandas.Series", table[name]) for name in (date_name, price_name))
    dates = _dates(path, rows, date_name, date_text, max_gap_days)
    return Prices(dates, _prices(path, rows, price_name, price_text), path.name)


def _column(path: Path, names: list[str], wanted: str | None, known: tuple[str, ...], what: str) -> str:
    """The requested column, or the first of the known names that the file has."""
    by_lower = {name.lower(): name for name in reversed(names)}
    candidates = known if wanted is None else (wanted.lower(),)
    found = [by_lower[name] for name in candidates if name in by_lower]
    if found:
        return found[0]
    near = [name for wish in candidates for name in difflib.get_close_matches(wish, list(by_lower), n=2, cutoff=0.6)]
    hint = f" Near matches: {', '.join(sorted({by_lower[name] for name in near}))}." if near else ""
    asked = f"called {wanted!r}" if wanted is not None else f"(one of {', '.join(known)})"
    raise ValueError(
        f"{path}: no {what} column {asked}; the file has {', '.join(names)}.{hint} "
        f"Say which one with {what}_column=NAME."
    )


def _dates(
    path: Path, rows: Int[np.ndarray, " days"], name: str, text: "pandas.Series", max_gap_days: int
) -> Shaped[np.ndarray, " days"]:
    import pandas as pd

    # One format must read all dates: a mixture would read 3/4 as the fourth of March and 13/4 as the 13th of April.
    parsed = [pd.to_datetime(text, format=form, errors="coerce", utc=form == "ISO8601") for form in DATE_FORMATS]
    best = min(parsed, key=lambda dates: int(dates.isna().sum()))
    if best.isna().any():
        i = int(np.argmax(np.asarray(best.isna())))
        raise ValueError(f"{path}, row {rows[i]}: {name} = {_describe_cell(text.iloc[i])} is not a date.")
    if best.dt.tz is not None:
        # The calendar day as written: a UTC offset must not move a price to the day before.
        written = pd.to_datetime(text.str.slice(0, 10), format="ISO8601", errors="coerce")
        best = written.fillna(best.dt.tz_localize(None))
    dates = np.asarray(best).astype("datetime64[D]")
    days = np.diff(dates).astype(int)
    for wrong, message in (
        (days == 0, "the date {now} occurs twice (also in row {last}); keep one price a day."),
        (days < 0, "the date {now} comes after {before} in row {last}; sort the file, oldest first."),
        (
            days > max_gap_days,
            f"{{gap}} days lie between {{before}} (row {{last}}) and {{now}}, more than max_gap_days={max_gap_days}; "
            "fill the gap, cut the file, or raise max_gap_days if the prices are not daily.",
        ),
    ):
        if wrong.any():
            i = int(np.argmax(wrong))
            words = message.format(now=dates[i + 1], before=dates[i], last=rows[i], gap=days[i])
            raise ValueError(f"{path}, row {rows[i + 1]}: {words}")
    return dates


def _prices(path: Path, rows: Int[np.ndarray, " days"], name: str, text: "pandas.Series") -> Float[np.ndarray, " days"]:
    import pandas as pd

    prices = np.asarray(pd.to_numeric(text, errors="coerce"), np.float64)
    for wrong, message in (
        (np.asarray(text.isna()), "is missing (NaN)"),
        (np.isnan(prices), "is not a number"),
        (~(np.where(np.isnan(prices), 1.0, prices) > 0), "is not positive"),
        (np.isinf(prices), "is not finite"),
    ):
        if wrong.any():
            i = int(np.argmax(wrong))
            raise ValueError(f"{path}, row {rows[i]}: {name} = {_describe_cell(text.iloc[i])} {message}.")
    return prices


def _describe_cell(value: str | float) -> str:
    return repr(value) if isinstance(value, str) else "an empty cell"
