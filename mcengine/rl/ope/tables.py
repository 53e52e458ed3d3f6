"""Columns of a CSV or Parquet file as arrays of numbers; what is wrong is said with its column and row."""

import difflib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mcengine.rl.ope.checks import ROUNDING, Voice


class Table:
    """The columns of a file, or of a pandas table, by name. The first row of data is row 1.

    **Raises:** `ValueError` for a file without rows, or of another kind than .csv, .csv.gz and .parquet; `OSError`
    where it cannot be read.
    """

    def __init__(self, source: Any, what: str):
        import pandas as pd  # half a second, which only those wait for who read files

        if isinstance(source, pd.DataFrame):
            self.name, frame = what, source
        else:
            path = Path(source)
            self.name = path.name
            if path.suffix == ".parquet":
                frame = pd.read_parquet(path)
            elif path.name.endswith((".csv", ".csv.gz")):
                try:
                    frame = pd.read_csv(path)
                except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
                    raise ValueError(f"{self.name}: {error}") from error
            else:
                raise ValueError(f"{path}: a {what} is a .csv, .csv.gz or .parquet file.")
        if not len(frame):
            raise ValueError(f"{self.name}: there are no rows.")
        self._frame = frame

    def __len__(self) -> int:
        return len(self._frame)

    def __contains__(self, column: str) -> bool:
        return column in self._frame.columns

    def voice(self, rows: Int[np.ndarray, "*shape"] | None = None) -> Voice:
        """Names the entry at an index by its row; `rows` are those of an array laid out otherwise."""
        rows = np.arange(len(self)) if rows is None else rows
        return Voice(self.name, lambda index: f"row {int(np.ravel(rows[index])[0]) + 1}")

    def numbers(self, column: str) -> Float[np.ndarray, " rows"]:
        """The column in float64; an empty cell is NaN. Raises for a missing column and for words."""
        import pandas as pd

        if column not in self:
            known = [str(name) for name in self._frame.columns]
            near = difflib.get_close_matches(column, known, n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(known[:20])}."
            raise ValueError(f"{self.name}: there is no column {column!r}. {hint}")
        cells = self._frame[column]
        found = np.asarray(pd.to_numeric(cells, errors="coerce"), np.float64)
        words = np.isnan(found) & cells.notna().to_numpy()
        if np.any(words):
            first = int(np.argmax(words))
            raise ValueError(f"{self.name}: {column} is no number in row {first + 1}: {cells.iloc[first]!r}.")
        return found

    def whole(self, column: str) -> Int[np.ndarray, " rows"]:
        """The column as whole numbers."""
        return self.voice().whole(column, self.numbers(column))

    def probabilities(self, column: str) -> Float[np.ndarray, " rows"]:
        """The column, which holds probabilities."""
        found, voice = self.numbers(column), self.voice()
        voice.refuse(np.isnan(found), f"{column} is empty or NaN")
        voice.refuse((found < 0) | (found > 1 + ROUNDING), f"{column} is no probability", found)
        return found

    def numbered(self, beginning: str) -> list[str]:
        """beginning + "0", "1", ... as far as they go, in order; raises where one is left out."""
        endings = [str(name).removeprefix(beginning) for name in self._frame.columns if str(name).startswith(beginning)]
        found = sorted(int(ending) for ending in endings if ending.isdigit())
        if found != list(range(len(found))):
            raise ValueError(f"{self.name}: the columns {beginning}0, {beginning}1, ... have a gap: {found}.")
        return [f"{beginning}{number}" for number in found]
