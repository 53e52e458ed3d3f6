"""Columns of a CSV or Parquet file, or of a pandas table, as arrays; errors name the column and the row."""

import difflib
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from mcengine.rl.ope.checks import ROUNDING, Validator

Contents = TypeVar("Contents")


@runtime_checkable
class DataFrame(Protocol):
    """The part of `pandas.DataFrame` that is used here; pandas is imported only when a table is read."""

    @property
    def columns(self) -> Any: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: str, /) -> Any: ...


# A file of a log or target, or a table that was read already.
Source = str | os.PathLike[str] | DataFrame


def contents(read: Callable[[], Contents], name: str) -> Contents:
    """The result of `read`; a `ValueError` with the file's name if the contents of the file are damaged."""
    try:
        return read()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: it is not text in UTF-8 ({error}).") from error
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"{name}: {error}") from error
    except OSError as error:
        # Errors of the file system have a number; those of gzip and Parquet about damaged contents do not.
        if error.errno is None:
            raise ValueError(f"{name}: {error}") from error
        raise


class Table:
    """The columns of a file, or of a pandas table, by name. Errors count the first row of data as row 1.

    **Arguments:**

    - `source`: a .csv, .csv.gz or .parquet file, or a pandas table.
    - `what`: "log" or "target", for errors.
    - `names`: columns of a CSV file that hold names, so that 7 and 007 differ.

    **Raises:** `ValueError` for a file without rows, with damaged contents, or of another kind; `OSError` for one that
    cannot be opened.
    """

    def __init__(self, source: Source, what: str, names: tuple[str, ...] = ()):
        import pandas as pd  # takes half a second, which only reading files needs

        if isinstance(source, str | os.PathLike):
            path = Path(source)
            if path.suffix != ".parquet" and not path.name.endswith((".csv", ".csv.gz")):
                raise ValueError(f"{path}: a {what} is a .csv, .csv.gz or .parquet file.")
            self.name = path.name
            if path.suffix == ".parquet":
                frame = contents(lambda: pd.read_parquet(path), self.name)
            else:
                # Names as text: as float64 7 and 007 would be equal, and so would neighbours above 2^53.
                frame = contents(lambda: pd.read_csv(path, dtype=dict.fromkeys(names, "str")), self.name)
        elif isinstance(source, pd.DataFrame):
            self.name, frame = what, source
        else:
            raise TypeError(f"A {what} is a file or a pandas table, got {type(source).__name__}.")
        if not len(frame):
            raise ValueError(f"{self.name}: there are no rows.")
        self._frame = frame

    def __len__(self) -> int:
        return len(self._frame)

    def __contains__(self, column: str) -> bool:
        return column in self._frame.columns

    def validator(self, rows: Int[np.ndarray, "*shape"] | None = None) -> Validator:
        """Checks whose errors name an entry by its row in the file.

        **Arguments:** `rows`, for an array that is laid out differently, the row of each of its entries. An index may
        have further axes, such as the step of a round or a feature.
        """
        rows = np.arange(len(self)) if rows is None else rows
        return Validator(self.name, lambda index: f"row {int(np.ravel(rows[index[: rows.ndim]])[0]) + 1}")

    def numbers(self, column: str) -> Float[np.ndarray, " rows"]:
        """The column in float64; an empty cell is NaN. Raises for a missing column and for text."""
        import pandas as pd

        cells = self._cells(column)
        found = np.asarray(pd.to_numeric(cells, errors="coerce"), np.float64)
        words = np.isnan(found) & cells.notna().to_numpy()
        if np.any(words):
            first = int(np.argmax(words))
            raise ValueError(f"{self.name}: {column} is not a number in row {first + 1}: {cells.iloc[first]!r}.")
        return found

    def finite(self, column: str) -> Float[np.ndarray, " rows"]:
        """The column in float64. Raises for empty cells, NaN and infinities."""
        found = self.numbers(column)
        self.validator().raise_where(~np.isfinite(found), f"{column} is empty, NaN or infinite", found)
        return found

    def whole_numbers(self, column: str) -> Int[np.ndarray, " rows"]:
        """The column as whole numbers."""
        import pandas as pd

        cells = self._cells(column)
        # Not by way of float64, which does not distinguish whole numbers above 2^53.
        exact = pd.api.types.is_integer_dtype(cells.dtype) and not cells.hasnans
        return self.validator().whole_numbers(column, cells.to_numpy(np.int64) if exact else self.numbers(column))

    def groups(self, column: str) -> Int[np.ndarray, " rows"]:
        """The number of each row's name, 0, 1, ... in the order of first occurrence."""
        import pandas as pd

        cells = self._cells(column)
        found, validator = pd.factorize(cells)[0], self.validator()
        validator.raise_where(found < 0, f"{column} is empty or NaN")
        if pd.api.types.is_float_dtype(cells.dtype):
            validator.check_exact(column, self.numbers(column))
        return found

    def probabilities(self, column: str) -> Float[np.ndarray, " rows"]:
        """The column, which holds probabilities."""
        found, validator = self.numbers(column), self.validator()
        validator.raise_where(np.isnan(found), f"{column} is empty or NaN")
        validator.raise_where((found < 0) | (found > 1 + ROUNDING), f"{column} is not a probability", found)
        return found

    def _cells(self, column: str) -> Any:
        """The column as a pandas series; raises if there is none, or if there are two."""
        known = [str(name) for name in self._frame.columns]
        if column not in self:
            near = difflib.get_close_matches(column, known, n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(known[:20])}."
            raise ValueError(f"{self.name}: there is no column {column!r}. {hint}")
        # pandas renames a second column of a CSV file to name.1.
        if known.count(column) > 1 or f"{column}.1" in known:
            raise ValueError(f"{self.name}: the column {column!r} occurs twice (or one is called '{column}.1').")
        return self._frame[column]

    def numbered(self, beginning: str) -> list[str]:
        """The columns beginning + "0", "1", ... in order; raises if one is missing."""
        endings = [str(name).removeprefix(beginning) for name in self._frame.columns if str(name).startswith(beginning)]
        found = sorted(int(ending) for ending in endings if ending.isdigit())
        if found != list(range(len(found))):
            raise ValueError(f"{self.name}: the columns {beginning}0, {beginning}1, ... have a gap: {found}.")
        return [f"{beginning}{number}" for number in found]
