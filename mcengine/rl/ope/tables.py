"""Columns of a CSV or Parquet file as arrays of numbers; what is wrong is said with its column and row."""

import difflib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mcengine.rl.ope.checks import ROUNDING, Voice


def contents(read: Callable[[], Any], name: str) -> Any:
    """What `read` returns; `ValueError` with the file's name where not the file but what is in it is at fault."""
    try:
        return read()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: it is no text in UTF-8 ({error}).") from error
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"{name}: {error}") from error
    except OSError as error:
        # The file system's have a number; gzip and Parquet say without one what is wrong in a file.
        if error.errno is None:
            raise ValueError(f"{name}: {error}") from error
        raise


class Table:
    """The columns of a file, or of a pandas table, by name. The first row of data is row 1.

    **Arguments:** `what` it is, a log or a target; `names`, columns of a CSV file that are names and so no numbers,
    whatever they look like.

    **Raises:** `ValueError` for a file without rows, with contents that are not what its name says, or of another kind
    than .csv, .csv.gz and .parquet; `OSError` where it cannot be opened.
    """

    def __init__(self, source: Any, what: str, names: tuple[str, ...] = ()):
        import pandas as pd  # half a second, which only those wait for who read files

        if isinstance(source, pd.DataFrame):
            self.name, frame = what, source
        else:
            path = Path(source)
            if path.suffix != ".parquet" and not path.name.endswith((".csv", ".csv.gz")):
                raise ValueError(f"{path}: a {what} is a .csv, .csv.gz or .parquet file.")
            self.name = path.name
            if path.suffix == ".parquet":
                frame = contents(lambda: pd.read_parquet(path), self.name)
            else:
                # As text, since 7 and 007 are two names, and float64 would make one of those above 2^53.
                frame = contents(lambda: pd.read_csv(path, dtype=dict.fromkeys(names, "str")), self.name)
        if not len(frame):
            raise ValueError(f"{self.name}: there are no rows.")
        self._frame = frame

    def __len__(self) -> int:
        return len(self._frame)

    def __contains__(self, column: str) -> bool:
        return column in self._frame.columns

    def voice(self, rows: Int[np.ndarray, "*shape"] | None = None) -> Voice:
        """Names the entry at an index by its row; `rows` are those of an array laid out otherwise.

        An index may go on behind the row: to the one step of a round, or to a feature.
        """
        rows = np.arange(len(self)) if rows is None else rows
        return Voice(self.name, lambda index: f"row {int(np.ravel(rows[index[: rows.ndim]])[0]) + 1}")

    def numbers(self, column: str) -> Float[np.ndarray, " rows"]:
        """The column in float64; an empty cell is NaN. Raises for a missing column and for words."""
        import pandas as pd

        cells = self._cells(column)
        found = np.asarray(pd.to_numeric(cells, errors="coerce"), np.float64)
        words = np.isnan(found) & cells.notna().to_numpy()
        if np.any(words):
            first = int(np.argmax(words))
            raise ValueError(f"{self.name}: {column} is no number in row {first + 1}: {cells.iloc[first]!r}.")
        return found

    def finite(self, column: str) -> Float[np.ndarray, " rows"]:
        """The column in float64, without gaps."""
        found = self.numbers(column)
        self.voice().refuse(~np.isfinite(found), f"{column} is empty, NaN or infinite", found)
        return found

    def whole(self, column: str) -> Int[np.ndarray, " rows"]:
        """The column as whole numbers."""
        import pandas as pd

        cells = self._cells(column)
        # Not by way of float64, in which those above 2^53 are not told apart.
        exact = pd.api.types.is_integer_dtype(cells.dtype) and not cells.hasnans
        return self.voice().whole(column, cells.to_numpy(np.int64) if exact else self.numbers(column))

    def groups(self, column: str) -> Int[np.ndarray, " rows"]:
        """Of every row the number, from 0, of its name in the column, in the order in which names come first."""
        import pandas as pd

        cells = self._cells(column)
        found, voice = pd.factorize(cells)[0], self.voice()
        voice.refuse(found < 0, f"{column} is empty or NaN")
        if pd.api.types.is_float_dtype(cells.dtype):
            voice.check_exact(column, self.numbers(column))
        return found

    def probabilities(self, column: str) -> Float[np.ndarray, " rows"]:
        """The column, which holds probabilities."""
        found, voice = self.numbers(column), self.voice()
        voice.refuse(np.isnan(found), f"{column} is empty or NaN")
        voice.refuse((found < 0) | (found > 1 + ROUNDING), f"{column} is no probability", found)
        return found

    def _cells(self, column: str) -> Any:
        """The column; raises where there is none, or two."""
        known = [str(name) for name in self._frame.columns]
        if column not in self:
            near = difflib.get_close_matches(column, known, n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(known[:20])}."
            raise ValueError(f"{self.name}: there is no column {column!r}. {hint}")
        # That is what pandas makes of a second one in a CSV file.
        if known.count(column) > 1 or f"{column}.1" in known:
            raise ValueError(f"{self.name}: the column {column!r} comes twice (or one is called '{column}.1').")
        return self._frame[column]

    def numbered(self, beginning: str) -> list[str]:
        """beginning + "0", "1", ... as far as they go, in order; raises where one is left out."""
        endings = [str(name).removeprefix(beginning) for name in self._frame.columns if str(name).startswith(beginning)]
        found = sorted(int(ending) for ending in endings if ending.isdigit())
        if found != list(range(len(found))):
            raise ValueError(f"{self.name}: the columns {beginning}0, {beginning}1, ... have a gap: {found}.")
        return [f"{beginning}{number}" for number in found]
