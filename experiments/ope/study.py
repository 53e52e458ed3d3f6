"""`python -m experiments.ope.study`: estimators against data size, to results/ope/."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from experiments.figures import style_of
from experiments.ope.repeats import digits_rows, mdp_rows, open_bandit_rows, summary
from experiments.ope.report import markdown_table

OUTPUT = Path("results/ope")
# Sizes, and how rows of so many logs of one size are made.
STUDIES: dict[str, tuple[list[int], Callable[[int, int], pd.DataFrame]]] = {
    "mdp": ([100, 300, 1_000, 3_000], lambda logs, size: mdp_rows(logs, size, seed=size)),
    "mdp_two_loggers": (
        [100, 300, 1_000, 3_000],
        lambda logs, size: mdp_rows(logs, size, seed=size, loggers=("behaviour", "halfway")),
    ),
    "mdp_on_policy": ([100, 300, 1_000], lambda logs, size: mdp_rows(logs, size, seed=size, loggers=("target",))),
    "digits": ([400, 1_500, 6_000], lambda logs, size: digits_rows(logs, size, seed=1)),
    "open_bandit_men": ([1_000, 3_000, 10_000], lambda logs, size: open_bandit_rows(logs, size, "men")),
    "open_bandit_women": ([1_000, 3_000, 10_000], lambda logs, size: open_bandit_rows(logs, size, "women")),
}
TITLES = {
    "mdp": "MDP of 20 steps (trajectories)", "mdp_two_loggers": "the same, half of them by a nearer policy",
    "mdp_on_policy": "the same, all by the target policy", "digits": "digits as a bandit (images)",
    "open_bandit_men": "Open Bandit, men (rounds)", "open_bandit_women": "Open Bandit, women (rounds)",
}  # fmt: skip
COLUMNS = {
    "study": "", "size": "{:,}", "estimator": "", "rmse": "{:.3g}", "bias": "{:+.2g}", "median_error_bar": "{:.3g}",
    "coverage": "{:.2f}", "median_k": "{:.2f}", "ok": "{:.0%}", "coverage_ok": "{:.2f}", "silent": "{:.1%}",
}  # fmt: skip

PAGE = """\
# Off-policy evaluation against data size

Made by `python -m experiments.ope.study` from {logs} logs of each size with fixed seeds.

- `mdp`: trajectories of 20 steps in an MDP with five states, two actions and a target policy of known value.
- `mdp_two_loggers`: half of the trajectories come from a policy halfway to the target; weights have the mean density of
  both loggers in the denominator.
- `mdp_on_policy`: all trajectories come from the target policy.
- `digits`: a contextual bandit; images are contexts, and a classifier chooses the action.
- `open_bandit_*`: rounds drawn with replacement from the `bts` log of 10,000 rounds. The reference value is the click
  rate of the `random` log, whose own standard error is .0006.

![rmse](rmse.svg)

- `rmse`, `bias`: errors against the exact or reference value; `median_error_bar`, `median_k`: medians over the logs.
- `coverage`: share of 95 % intervals that contain the value; `coverage_ok`: the same among logs with status ok.
- `ok`: share of logs with status ok; `silent`: share with status ok and an error above four standard errors.

{table}"""


def measure(num_logs: int) -> pd.DataFrame:
    """A row for each study, size and estimator."""
    found = []
    for study, (sizes, rows) in STUDIES.items():
        for size in sizes:
            started = time.perf_counter()
            of_size = summary(rows(num_logs, size))
            found.append(of_size.assign(study=study, size=size))
            print(f"{study}, {size:,}: {num_logs} logs, {time.perf_counter() - started:.0f} s", flush=True)
    return pd.concat(found, ignore_index=True)


def draw(frame: pd.DataFrame, path: Path) -> None:
    """Root mean square error against data size, a panel for each study; hollow where most logs are flagged."""
    estimators = list(dict.fromkeys(frame["estimator"]))
    studies = list(dict.fromkeys(frame["study"]))
    num_rows = -(-len(studies) // 2)
    figure, axes = plt.subplots(num_rows, 2, figsize=(11.0, 3.7 * num_rows), layout="constrained", squeeze=False)
    for axis in axes.flat[len(studies) :]:
        axis.remove()
    for axis, study in zip(axes.flat, studies, strict=False):
        for name, rows in frame[frame["study"] == study].groupby("estimator", sort=False):
            colour, marker, dashes = style_of(estimators.index(str(name)))
            line = {"color": colour, "linestyle": dashes, "linewidth": 1.2}
            axis.loglog(rows["size"], rows["rmse"], alpha=0.8, **line)
            face = [colour if ok > 0.5 else "white" for ok in rows["ok"]]
            axis.scatter(rows["size"], rows["rmse"], marker=marker, c=face, edgecolors=colour, zorder=3)
            axis.plot([], [], marker=marker, label=name, **line)
        axis.set_title(TITLES[study])
        axis.set_xlabel("data size")
        axis.set_ylabel("root mean square error")
        axis.set_xticks(sizes := sorted(frame.loc[frame["study"] == study, "size"].unique()), [f"{n:,}" for n in sizes])
        axis.xaxis.set_minor_formatter("")
        axis.legend(fontsize=7, ncols=2)
    figure.suptitle("Off-policy estimators against data size (hollow: flagged in more than half of the logs)")
    for suffix in ("png", "svg"):
        with matplotlib.rc_context({"svg.hashsalt": "ope", "svg.fonttype": "none"}):
            figure.savefig(
                path.with_suffix(f".{suffix}"), dpi=150, metadata={"Date": None} if suffix == "svg" else None
            )
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Measure, then write the page, table.csv and the figure."""
    parser = argparse.ArgumentParser(prog="python -m experiments.ope.study", description=__doc__)
    parser.add_argument("--logs", type=int, default=100, help="logs of each size (default 100)")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"by default {OUTPUT}")
    options = parser.parse_args(arguments)
    if options.logs < 2:
        parser.error(f"--logs must be at least 2, got {options.logs}")
    frame = measure(options.logs)
    options.output.mkdir(parents=True, exist_ok=True)
    frame[[*COLUMNS, *(name for name in frame if name not in COLUMNS)]].to_csv(
        options.output / "table.csv", index=False, float_format="%.6g"
    )
    tables = markdown_table(frame.replace({np.inf: np.nan}), COLUMNS)
    (options.output / "README.md").write_text(PAGE.format(logs=options.logs, table=tables))
    draw(frame, options.output / "rmse")
    print(f"Written to {options.output}: README.md, table.csv, rmse.png, rmse.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
