"""Log-log figures of variance against sample count, one per problem, as PNG and SVG."""

import math
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Okabe and Ito's palette, which is safe for colour-blind readers; plain Monte Carlo is always grey.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A800"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<"]
PLAIN = "#808080"
MAX_PANELS = 6
# Most characters of a line of notes, so that it fits its panel, and of a legend, above which the figure grows.
NOTE_WIDTH, LEGEND_WIDTH, INCHES_A_CHARACTER = 52, 28, 0.075


def draw(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """One figure for each problem of the table; a panel for each of the first six cases and outputs."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for problem, rows in frame.groupby("problem", sort=False):
        figure = _figure(str(problem), rows)
        for suffix in ("png", "svg"):
            paths.append(folder / f"{problem}.{suffix}")
            # Without a date and random ids the same table gives the same file.
            with matplotlib.rc_context({"svg.hashsalt": str(problem), "svg.fonttype": "none"}):
                figure.savefig(paths[-1], dpi=150, metadata={"Date": None} if suffix == "svg" else None)
        plt.close(figure)
    return paths


def _figure(problem: str, rows: pd.DataFrame) -> Figure:
    panels = list(rows.groupby(["case", "output"], sort=False))
    more, panels = len(panels) - MAX_PANELS, panels[:MAX_PANELS]
    methods = list(dict.fromkeys(rows["method"]))
    across = min(len(panels), 2 if len(panels) <= 4 else 3)
    down = math.ceil(len(panels) / across)
    size = (7.6 if across == 1 else 3.0 + 3.9 * across, 4.6 if down == 1 else 0.9 + 3.3 * down)
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, sharex=True, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, ((case, output), panel) in zip(axes.flat, panels, strict=False):
        _panel(axis, panel, methods)
        axis.set_title(" ".join(x for x in (case, output) if x), fontsize=10)
    title = problem.replace("_", " ") + ": variance of an estimate against its sample count"
    if more > 0:
        title += f" (+ {more} more in the table)"
    figure.suptitle(title, x=0.02, horizontalalignment="left", fontsize=12)
    of_mean = ", or the mean N of runs to a tolerance" if rows["rtol"].notna().any() else ""
    figure.supxlabel(f"samples N of one estimate{of_mean}", fontsize=10)
    figure.supylabel("variance (square of the estimate's unit)", fontsize=10)
    handles = {label: h for axis in axes.flat for h, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    hollow = Line2D([], [], marker="o", linestyle="", color=PLAIN, markerfacecolor="white")
    handles["hollow: mostly not ok,\nor misses the exact value"] = hollow
    longest = max(len(line) for label in handles for line in label.split("\n"))
    figure.set_figwidth(size[0] + INCHES_A_CHARACTER * max(0, longest - LEGEND_WIDTH))
    figure.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=9, frameon=False)
    return figure


def _panel(axis: Axes, panel: pd.DataFrame, methods: list[str]) -> None:
    counts = np.array(sorted(panel["num_samples"].unique()), float)
    for method, rows in panel.groupby("method", sort=False):
        _line(axis, rows.sort_values(by="num_samples"), str(method), methods)
    reference = panel["plain_variance"].iloc[0]
    if reference > 0:
        source = panel["plain_variance_from"].iloc[0]
        label = "plain, pooled over the ladder" if source == "plain run" else f"plain, by {source}"
        axis.plot(counts, reference / counts, color=PLAIN, linestyle="--", linewidth=1.2, label=label, zorder=1)
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts if panel["rtol"].isna().all() else _powers_of_four(counts))
    axis.grid(True, which="major", color="#E5E5E5", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9)
    seen = panel.loc[(panel["variance"] > 0) & np.isfinite(panel["variance"])]
    if seen.empty:
        axis.text(0.5, 0.5, "no hits at any N", transform=axis.transAxes, ha="center", color=PLAIN)
        return
    axis.set_yscale("log")
    low, high = _limits(seen, reference / counts)
    _guide(axis, low, counts)
    _notes(axis, seen, low / 10.0, high * 3.0)


def _powers_of_four(counts: np.ndarray) -> np.ndarray:
    """The powers of 4 around the counts: counts of runs that stop at a tolerance are not round numbers."""
    ends = np.log2(counts[[0, -1]]) / 2.0
    return 4.0 ** np.arange(math.floor(ends[0]), math.ceil(ends[1]) + 1)


def _notes(axis: Axes, seen: pd.DataFrame, bottom: float, top: float) -> None:
    """Set the axis to `bottom` ... `top`; name the methods with points outside of it, or that miss the exact value."""
    largest = {str(name): rows["variance"].max() for name, rows in seen.groupby("method", sort=False)}
    wrong = {str(name) for name, rows in seen.groupby("method", sort=False) if rows["misses_exact"].any()}
    smallest = {str(name): rows["variance"].min() for name, rows in seen.groupby("method", sort=False)}
    below = [name for name, variance in largest.items() if variance < bottom]
    partly = [name for name, variance in smallest.items() if variance < bottom and name not in below]
    above = [name for name, variance in largest.items() if variance > top]
    lines = _listed("misses the exact value: ", [name for name in largest if name in wrong and name not in below])
    lines += _listed("points below the axis: ", partly)
    lines += _listed("below the axis, important samples missed: ", below)
    # Space for the notes, so that they cover neither the points nor the dotted line.
    axis.set_ylim(bottom * (bottom / top) ** (0.07 * len(lines)), top)
    style = {"transform": axis.transAxes, "ha": "right", "fontsize": 8, "color": "#404040"}
    axis.text(0.98, 0.02, "\n".join(lines), va="bottom", **style)
    axis.text(0.98, 0.98, "\n".join(_listed("points above the axis: ", above)), va="top", **style)


def _listed(words: str, names: list[str]) -> list[str]:
    return textwrap.wrap(words + ", ".join(names), NOTE_WIDTH) if names else []


def style_of(index: int) -> tuple[str, str, str]:
    """(colour, marker, line) of line `index` of a figure; the second use of a colour has another marker and dashes."""
    again, number = divmod(index, len(COLOURS))
    return COLOURS[number], MARKERS[(number + 3 * again) % len(MARKERS)], "--" if again else "-"


def _line(axis: Axes, rows: pd.DataFrame, method: str, methods: list[str]) -> None:
    others = [name for name in methods if name != "plain"]
    index = others.index(method) if method in others else 0
    colour, marker, line = (PLAIN, "o", "-") if method == "plain" else style_of(index)
    axis.plot([], [], color=colour, marker=marker, linestyle=line, markersize=5, linewidth=1.4, label=method)
    # NaN interrupts the line at counts without variance.
    x, y = rows["num_samples"].to_numpy(float), rows["variance"].where(rows["variance"] > 0).to_numpy(float)
    # The lower arm must not reach 0 on a log axis.
    spread = np.vstack([np.minimum(rows["variance_se"], 0.9 * y), rows["variance_se"]])
    axis.errorbar(x, y, yerr=spread, color=colour, linestyle=line, linewidth=1.4, elinewidth=0.8, zorder=2)
    trusted = _trusted(rows)
    for mask, face in ((trusted, colour), (~trusted, "white")):
        style = {"linestyle": "", "marker": marker, "markersize": 5, "color": colour, "markerfacecolor": face}
        axis.plot(x[mask], y[mask], zorder=3, **style)


def _trusted(rows: pd.DataFrame) -> np.ndarray:
    return (rows["ok_share"].to_numpy(float) >= 0.5) & ~rows["misses_exact"].to_numpy(bool)


def _limits(seen: pd.DataFrame, reference: np.ndarray) -> tuple[float, float]:
    """The range of the trusted variances, and of the others up to a factor of a hundred beyond.

    A proposal that misses the event may have a variance of 1e-36, which would compress all others into a line.
    """
    variance = seen["variance"].to_numpy(float)
    trusted = variance[_trusted(seen)]
    anchors = np.concatenate([trusted, reference[reference > 0]])
    if not len(anchors):
        return variance.min(), variance.max()
    low, high = anchors.min() / 100.0, anchors.max() * 100.0
    near = np.concatenate([variance[(variance > low) & (variance < high)], anchors])
    return near.min(), near.max()


def _guide(axis: Axes, low: float, counts: np.ndarray) -> None:
    """A dotted line of slope -1 in the lower left, below the other lines."""
    span = counts[: max(2, (len(counts) + 1) // 2)]
    height = low * span[-1] / span / 4.0
    axis.plot(span, height, color="#404040", linestyle=":", linewidth=1.2)
    axis.annotate("slope -1", (span[0], height[0]), xytext=(8, 1), textcoords="offset points", fontsize=8)
