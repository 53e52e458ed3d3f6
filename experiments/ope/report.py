"""Estimates as rows: for the terminal, for files, and for Markdown."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.table import Table

from mcengine.inference.estimate import Estimate

SHOWN = {
    "estimator": "", "value": "{:.6g}", "std_error": "{:.2g}", "low": "{:.6g}", "high": "{:.6g}", "ess": "{:,.0f}",
    "pareto_k": "{:.2f}", "max_weight_share": "{:.2g}", "bias_seen": "{:.2g}", "status": "",
}  # fmt: skip
HEADINGS = {
    "std_error": "+-", "low": "95 % from", "high": "to", "ess": "ESS", "pareto_k": "k-hat",
    "max_weight_share": "largest share", "bias_seen": "bias seen",
}  # fmt: skip


def as_frame(estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    """One row per estimator, with all numbers of its estimate."""
    rows = [{"estimator": name, **estimate.to_dict()} for name, estimate in estimates.items()]
    return pd.DataFrame(rows).drop(columns=["upper_bound", "skewness", "sentence", "seconds"])


def words(name: str, value: Any) -> str:
    """The text of a cell; empty for None and NaN."""
    if value is None or value != value:
        return ""
    return SHOWN[name].format(value) if SHOWN[name] else str(value)


def terminal_table(frame: pd.DataFrame) -> Table:
    """The columns of `SHOWN` as a table for the terminal."""
    table = Table(box=None, pad_edge=False)
    for name in SHOWN:
        table.add_column(HEADINGS.get(name, name), justify="left" if not SHOWN[name] else "right")
    for row in frame.to_dict("records"):
        table.add_row(*(words(name, row[name]) for name in SHOWN))
    return table


def markdown_table(frame: pd.DataFrame, columns: dict[str, str]) -> str:
    """`columns` of the frame, each with its format ("" for text), as a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "| " + " | ".join("---" for _ in columns) + " |"]
    for row in frame.to_dict("records"):
        cells = ["" if row[c] != row[c] else f.format(row[c]) if f else str(row[c]) for c, f in columns.items()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
