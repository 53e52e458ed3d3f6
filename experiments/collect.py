"""`python -m experiments.collect [FOLDER ...]`: from records to a table (CSV, Parquet, Markdown) and figures."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from experiments import records

RUNS, LONG_RUNS = Path("results/runs"), Path("results/long_runs")


def collect(found: list[dict], output: Path, console: Console) -> None:
    """Write the table and the figures of the records to `output`, and show the rows at the largest sample counts."""
    # pandas and matplotlib: a second that only those wait for who make tables.
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
        console.print(f"Measured by {len(codes)} states of the code (column code): {', '.join(codes)}.", soft_wrap=True)


def wide_console() -> Console:
    """A terminal's own width; a pipe or a file, which has none, gets the 120 columns that the table wants."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, 120))


def main(arguments: list[str] | None = None) -> int:
    """Collect the newest record of every job below the folders; 1 if there are none."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.collect", description="Records to a table (CSV, Parquet, Markdown) and figures."
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
    # A failure that was mended has a record by now, perhaps in another folder: the code was another.
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
