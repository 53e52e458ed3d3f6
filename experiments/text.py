"""The table as text: Markdown for a page, `rich` for a terminal of 120 columns."""

import pandas as pd
from rich.table import Table

TERMINAL = ["method", "estimate", "std. error", "RMSE", "coverage", "gain", "slope", "ESS", "k-hat", "status (ok)"]


def short(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that people read, as text.

    `gain` is how many samples of plain Monte Carlo each sample is worth, by mean squared error where the exact value is
    known: the variance alone flatters a method that has not seen what matters. In brackets where most replicates were
    not ok.
    """

    def shown(form: str, *names: str) -> list[str]:
        rows = frame[list(names)].itertuples(index=False, name=None)
        return ["" if any(pd.isna(value) for value in row) else form.format(*row) for row in rows]

    columns = {
        "problem": [" ".join(filter(None, row)) for row in _names(frame)],
        "method": list(frame["method"]),
        "N": shown("{:,}", "num_samples"),
        "R": shown("{}", "replicates"),
        "estimate": shown("{:.5g}", "estimate"),
        "std. error": shown("{:.1e}", "standard_error"),
        "RMSE": shown("{:.1e}", "rmse"),
        "coverage": shown("{:.2f} [{:.2f}, {:.2f}]", "coverage", "coverage_low", "coverage_high"),
        "gain": [
            _gain(*row)
            for row in frame[["plain_samples", "num_samples", "ok_share"]].itertuples(index=False, name=None)
        ],
        "plain N": shown("{:.1e}", "plain_samples"),
        "slope": shown("{:.2f}", "slope"),
        "seconds": shown("{:.1e}", "seconds"),
        "efficiency": shown("{:.1e}", "efficiency"),
        "ESS": shown("{:,.0f}", "ess"),
        "k-hat": shown("{:.2f}", "pareto_k"),
        "status (ok)": shown("{} ({:.0%})", "status", "ok_share"),
    }
    return pd.DataFrame(columns)


def _gain(plain_samples: float, num_samples: int, ok_share: float) -> str:
    if pd.isna(plain_samples):
        return ""
    gain = f"{plain_samples / num_samples:.3g}"
    return gain if ok_share >= 0.5 else f"({gain})"


def _names(frame: pd.DataFrame):
    return frame[["problem", "case", "output"]].itertuples(index=False, name=None)


def markdown(frame: pd.DataFrame) -> str:
    """A GitHub table for each problem, all sample counts."""
    return "\n".join(f"## {problem}\n\n{_grid(short(rows))}" for problem, rows in frame.groupby("problem", sort=False))


def _grid(cells: pd.DataFrame) -> str:
    lines = [list(cells.columns), ["---"] * len(cells.columns), *cells.itertuples(index=False, name=None)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def terminal(frame: pd.DataFrame) -> Table:
    """The columns that fit in 120, a line for each method and a heading for each problem."""
    title = "At the largest sample count of each problem"
    table = Table(title=title, box=None, header_style="bold", padding=(0, 1, 0, 0))
    for name in TERMINAL:
        words = name in ("method", "status (ok)")
        table.add_column(name, justify="left" if words else "right", no_wrap=name != "method")
    cells = short(frame)
    for problem, rows in cells.groupby("problem", sort=False):
        table.add_row(f"[bold]{problem}[/bold]", f"N {rows['N'].iloc[0]}")
        for row in rows[TERMINAL].itertuples(index=False, name=None):
            table.add_row("  " + row[0], *row[1:])
    return table
