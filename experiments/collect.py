"""`python -m experiments.collect [FOLDER ...]`: makes a table (CSV, Parquet, Markdown) and figures from records."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from experiments import records

RUNS, LONG_RUNS = Path("results/runs"), Path("results/long_runs")


def collect(found: list[dict], output: Path, console: Console) -> None:
    """Write the table and the figures of the records to `output`; print the rows of the largest sample counts."""
    # Imported late: pandas and matplotlib take a second.
    from experiments import figures, tables, text

    frame = tables.table(found, records.load([LONG_RUNS]))
    output.mkdir(parents=True, exist_ok=True)
    frame.to_csv(output / "table.csv", index=False)
    frame.to_parquet(output / "table.parquet", index=False)
    (output / "table.md").write_text(text.markdown(frame))
    figures.draw(frame, output / "figures")
    console.print(text.terminal(tables.at_largest(frame), console.width))
    console.print(f"Written to {output}: table.csv, table.parquet, table.md, figures/", soft_wrap=True)
    codes = sorted(set(frame["code"].dropna()))
    if len(codes) > 1:
        console.print(f"Measured by {len(codes)} code versions (column code): {', '.join(codes)}.", soft_wrap=True)


def wide_console() -> Console:
    """A console with the terminal's width, or with the 120 columns of the table if the output is a pipe or a file."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, 120))


def main(arguments: list[str] | None = None) -> int:
    """Collect the newest record of every job below the folders. Returns 1 if there is none."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.collect", description="Make a table and figures from records."
    )
    parser.add_argument("folders", nargs="*", type=Path, default=[RUNS], help=f"where to look, by default {RUNS}")
    parser.add_argument("-o", "--output", type=Path, help="where to write, by default the first folder")
    options = parser.parse_args(arguments)
    try:
        return _main(options)
    except OSError as error:
        print(f"Cannot write {error.filename}: {error.strerror}.", file=sys.stderr)
        return 2


def _main(options: argparse.Namespace) -> int:
    from experiments import tables

    everything = records.load(options.folders)
    found = tables.newest(everything)
    # A job that failed and was measured later has a record, perhaps in another folder since the code differs.
    done = [record["config"] for record in found]
    failures = [failure for failure in records.load(options.folders, "failure.json") if failure["config"] not in done]
    console = wide_console()
    if found:
        collect(found, options.output or options.folders[0], console)
    else:
        print(f"There is no record.json below {', '.join(map(str, options.folders))}.", file=sys.stderr)
    if left_out := tables.left_out(everything, found):
        console.print(left_out, soft_wrap=True)
    for failure in failures:
        names = ", ".join(failure[part] for part in ("problem", "case", "method") if failure[part])
        console.print(f"failed: {names}: {failure['reason']}", markup=False, highlight=False, soft_wrap=True)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
