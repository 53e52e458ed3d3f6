"""`python -m experiments.policies [STUDY ...]`: tables and figures of all studies in results/policies/."""

import argparse
import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

from experiments.policies import (
    batch_reuse,
    critics,
    divergence_and_distance,
    score_and_pathwise,
    token_and_sequence,
    variance_ladder,
)

RESULTS = Path(__file__).resolve().parent.parent.parent / "results" / "policies"
STUDIES = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        variance_ladder, critics, divergence_and_distance, score_and_pathwise, token_and_sequence, batch_reuse
    )
}  # fmt: skip


def page(name: str, folder: Path) -> str:
    """Run a study, write its CSV and figure, and return its section of the page."""
    module = STUDIES[name]
    frame = module.run()
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / f"{name}.csv", index=False)
    figure, axis = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
    module.draw(axis, frame)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(name.replace("_", " "), loc="left")
    # No date and no random ids, so that the same table gives the same file.
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{name}.png", dpi=150)
    plt.close(figure)
    said = (module.__doc__ or "").strip()
    return f"## {name.replace('_', ' ')}\n\n{said}\n\n![{name}]({name}.svg)\n\n{as_markdown(frame)}\n"


def as_markdown(frame: pd.DataFrame) -> str:
    """The table, numbers to four digits."""
    rows = [[f"{x:.4g}" if isinstance(x, float) else str(x) for x in row] for row in frame.itertuples(index=False)]
    lines = [list(frame.columns), ["---"] * len(frame.columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> int:
    """Run the named studies, by default all; the page is written only if all were run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", choices=[[], *STUDIES], help="by default all")
    parser.add_argument("--folder", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    parts = []
    for name in arguments.studies or STUDIES:
        start = time.perf_counter()
        parts.append(page(name, arguments.folder))
        print(f"{parts[-1]}\n{name}: {time.perf_counter() - start:.0f} s\n", flush=True)
    if not arguments.studies:
        header = "# Policies\n\nMade by `python -m experiments.policies`; seeds are fixed, float32, CPU.\n\n"
        (arguments.folder / "README.md").write_text(header + "\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
