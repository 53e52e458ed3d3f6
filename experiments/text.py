"""The table as text: Markdown for a page, `rich` for a terminal."""

from collections.abc import Iterable

import pandas as pd
from rich.table import Table

TERMINAL = [
    "method", "rtol", "estimate", "std. error", "RMSE", "coverage", "beyond", "gain", "slope", "ESS", "k-hat",
    "status (ok)",
]  # fmt: skip
# The columns that a narrow terminal omits, first to last.
DISPENSABLE = ["std. error", "slope", "ESS", "coverage", "k-hat", "RMSE"]
METHOD_WIDTH = 24


def short(frame: pd.DataFrame) -> pd.DataFrame:
    """The main columns, as text.

    `gain` is the number of samples of plain Monte Carlo that one sample is worth, by mean squared error if the exact
    value is known: the variance alone is too small for a method that missed important samples. `gain` and `efficiency`
    are in brackets if most replicates are not ok. `rtol` and `beyond` (the share of runs with an error above their
    tolerance) exist only if some runs stopped at a tolerance; N is then the mean of their counts.
    """

    def shown(form: str, *names: str) -> list[str]:
        rows = frame[list(names)].itertuples(index=False, name=None)
        return ["" if any(pd.isna(value) for value in row) else form.format(*row) for row in rows]

    ok = frame["ok_share"]
    columns = {
        "problem": [" ".join(filter(None, row)) for row in _names(frame)],
        "method": list(frame["method"]),
        "rtol": shown("{:g}", "rtol"),
        "N": shown("{:,}", "num_samples"),
        "R": shown("{}", "replicates"),
        "estimate": shown("{:.5g}", "estimate"),
        "std. error": shown("{:.1e}", "standard_error"),
        "RMSE": shown("{:.1e}", "rmse"),
        "coverage": shown("{:.2f} [{:.2f}, {:.2f}]", "coverage", "coverage_low", "coverage_high"),
        "beyond": shown("{:.0%}", "exceeded"),
        "gain": _bracketed("{:.3g}", frame["plain_samples"] / frame["num_samples"], ok),
        "plain N": shown("{:.1e}", "plain_samples"),
        "slope": shown("{:.2f}", "slope"),
        "seconds": shown("{:.1e}", "seconds"),
        "efficiency": _bracketed("{:.1e}", frame["efficiency"], ok),
        "ESS": shown("{:,.0f}", "ess"),
        "k-hat": shown("{:.2f}", "pareto_k"),
        "status (ok)": shown("{} ({:.0%})", "status", "ok_share"),
    }
    stopping = frame["rtol"].notna().any()
    return pd.DataFrame({name: cells for name, cells in columns.items() if stopping or name not in ("rtol", "beyond")})


def _bracketed(form: str, values: Iterable, ok_share: Iterable) -> list[str]:
    shown = ["" if pd.isna(value) else form.format(value) for value in values]
    return [f"({text})" if text and ok < 0.5 else text for text, ok in zip(shown, ok_share, strict=True)]


def _names(frame: pd.DataFrame) -> Iterable[tuple[str, str, str]]:
    return frame[["problem", "case", "output"]].itertuples(index=False, name=None)


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table for each problem with all sample counts."""
    return "\n".join(f"## {problem}\n\n{_grid(short(rows))}" for problem, rows in frame.groupby("problem", sort=False))


def _grid(cells: pd.DataFrame) -> str:
    lines = [list(cells.columns), ["---"] * len(cells.columns), *cells.itertuples(index=False, name=None)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def terminal(frame: pd.DataFrame, width: int = 120) -> Table:
    """The columns that fit in `width`, with a line for each method and a heading for each problem.

    N is in the heading, or in a column if the methods of a problem have different counts.
    """
    cells = short(frame)
    same = cells.groupby("problem")["N"].nunique().max() == 1
    names = [name for name in TERMINAL if name in cells]
    columns = _fitting(cells, names if same else [names[0], "N", *names[1:]], width)
    table = Table(
        title="At the largest sample count of each method", box=None, header_style="bold", padding=(0, 1, 0, 0)
    )
    for name in columns:
        words = name in ("method", "status (ok)")
        least = min(METHOD_WIDTH, _width(cells, name)) if name == "method" else None
        table.add_column(name, justify="left" if words else "right", no_wrap=name != "method", min_width=least)
    for problem, rows in cells.groupby("problem", sort=False):
        table.add_row(f"[bold]{problem}[/bold]", f"N {rows['N'].iloc[0]}" if same else "")
        for row in rows[columns].itertuples(index=False, name=None):
            table.add_row("  " + row[0], *row[1:])
    return table


def _fitting(cells: pd.DataFrame, columns: list[str], width: int) -> list[str]:
    dispensable = iter(DISPENSABLE)
    # The second column holds the N of the headings.
    heading = len("N ") + _width(cells, "N")
    least = {"method": METHOD_WIDTH, columns[1]: max(heading, _width(cells, columns[1]))}
    while sum(least.get(name, _width(cells, name)) + 1 for name in columns) > width:
        without = next(dispensable, None)
        if without is None:
            break
        columns = [name for name in columns if name != without]
    return columns


def _width(cells: pd.DataFrame, name: str) -> int:
    # Methods are indented below their problem.
    return max(len(name), int(cells[name].str.len().max()) + 2 * (name == "method"))
