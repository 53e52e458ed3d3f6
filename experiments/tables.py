"""The table of variance against sample count: a pandas frame from records."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.labels import distinct_methods, setting
from experiments.records import choices_made
from experiments.reference import case_key, is_plain, plain_variances
from mcengine.inference.diagnostics import efficiency, variance_ratio
from mcengine.inference.intervals import binomial_interval

NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?,?")
# Largest ratio of mean squared error to variance; above it the bias exceeds three standard deviations of an estimate.
MISSES = 10.0
# Overrides that are in other columns, or that only place a record.
NOT_COLUMNS = {"problem", "name", "folder", "seed"}
# Names in a record's rows that differ from the column's name.
RENAMED = {"mean": "estimate", "mean_std_error": "reported_std_error"}
COLUMNS = [
    "output", "rtol", "num_samples", "replicates", "estimate", "standard_error", "exact", "misses_exact", "rmse",
    "coverage", "coverage_low", "coverage_high", "exceeded", "variance", "variance_se", "reported_std_error",
    "variance_ratio", "plain_samples", "plain_variance", "plain_variance_from", "slope", "slope_se", "seconds",
    "compile_seconds", "efficiency", "ess", "pareto_k", "max_weight_share", "num_hits", "num_nonfinite", "status",
    "ok_share", "seed", "device", "dtype", "code", "jax", "jaxlib", "numpy", "mcengine", "python",
]  # fmt: skip
VERSIONS = ("code", "jax", "jaxlib", "numpy", "mcengine", "python")


def table(records: list[dict[str, Any]], long_runs: Sequence[dict[str, Any]] = ()) -> pd.DataFrame:
    """One row per job, sample count and output of the integrand; a column for every override in addition to `COLUMNS`.

    - `case`: the problem's overridden numbers, and the functional unless it is the mean; `method`: the proposal unless
      plain, every other option that is not the default, and the seed, budget or other overrides that distinguish
      records of the same name;
    - `estimate`: the mean over `replicates` R independent estimates from `num_samples` N samples each;
      `standard_error`: the error of that mean; `variance`: the variance of one estimate, with its error `variance_se`;
      `reported_std_error`: the mean of the standard errors that the estimates report;
    - `rmse` and `coverage` (of the 95 % intervals, with Clopper and Pearson's interval for R trials) if the exact value
      is known; `misses_exact`: the mean squared error is more than ten times the variance;
    - `variance_ratio`: plain Monte Carlo's variance at the same N over this variance; `plain_samples`: the samples that
      plain Monte Carlo needs for this mean squared error (without an exact value: for this variance); both from
      `plain_variance`, the variance of one sample, whose source is `plain_variance_from` (see `plain_variances`);
    - `slope` of log variance against log N, one per method, by weighted least squares; empty if some count has no hits
      or no variance;
    - `seconds` of one estimate: N samples at the speed of the ladder's largest count, compiled, while all workers are
      busy; `compile_seconds`: the first call, shorter if the process or the cache had compiled the same code before;
      `efficiency`: 1 / (variance x seconds);
    - `variance_ratio` and `efficiency` are empty if the method misses the exact value or has no hits, since a small
      variance about a wrong value is not a gain;
    - runs that stop at a tolerance have one row per `rtol` (empty otherwise): `num_samples` and `seconds` are means,
      `coverage` is that of intervals that are valid at every interim look, and `exceeded` is the share of runs with an
      error above their tolerance. `variance_ratio` and `slope` are empty, since they need a given N; `plain_samples`
      over the mean N is the gain of these runs;
    - `ess`, `max_weight_share`, `num_hits`: means over the replicates; `pareto_k`: the median k-hat, empty if there is
      none; `num_nonfinite`: the total; `status`: the most common one; `ok_share`: the share of replicates with status
      ok.
    """
    methods = distinct_methods(records)
    rows = [row for record, method in zip(records, methods, strict=True) for row in _rows(record, method)]
    if not rows:
        raise ValueError("There are no records to make a table from.")
    # Records of given counts do not have the columns of runs that stop at a tolerance.
    frame = pd.DataFrame(rows).reindex(columns=list(dict.fromkeys([*(name for row in rows for name in row), *NUMBERS])))
    frame[NUMBERS] = frame[NUMBERS].apply(pd.to_numeric)
    known = plain_variances(records, list(long_runs))
    plain = [known.get(key, (np.nan, "unknown")) for key in zip(frame["_case"], frame["output"], strict=True)]
    frame["plain_variance"], frame["plain_variance_from"] = zip(*plain, strict=True)
    _derive(frame)
    slopes = frame.groupby(LINE, sort=False)[SLOPE_NEEDS].apply(_slope)
    frame = frame.join(slopes, on=LINE)
    overrides = _override_columns(records, list(frame["_record"]))
    return pd.concat([frame[["problem", "case", "method"]], overrides, frame[COLUMNS]], axis=1)


# The columns that identify one line of a figure.
LINE = ["problem", "case", "method", "output"]
SLOPE_NEEDS = ["num_samples", "replicates", "variance", "variance_se", "status", "rtol"]


NUMBERS = [
    "num_samples", "replicates", "estimate", "exact", "variance", "variance_se", "reported_std_error", "mse", "covered",
    "seconds", "compile_seconds", "ess", "pareto_k", "max_weight_share", "num_hits", "num_nonfinite", "ok_share",
    "rtol", "exceeded",
]  # fmt: skip


def _rows(record: dict[str, Any], method: str) -> list[dict[str, Any]]:
    shared = {name: record[name] for name in ("problem", "case", "seed", "device", "dtype")} | {"method": method}
    shared |= {name: record["versions"].get(name) for name in VERSIONS}
    shared |= {"_case": case_key(record), "_record": record["identity"]}
    return [shared | {RENAMED.get(name) or name: row[name] for name in row} for row in record["rows"]]


def _override_columns(records: list[dict[str, Any]], identities: list[str]) -> pd.DataFrame:
    """A column for every override of any record, with the settings of all records; numbers as numbers."""
    by_identity = {record["identity"]: record for record in records}
    names = sorted({name for record in records for name in record["overrides"]} - NOT_COLUMNS)
    columns = {name: _numbers_if_all([setting(by_identity[job], name) for job in identities]) for name in names}
    return pd.DataFrame(columns, index=range(len(identities)))


def _numbers_if_all(values: list[Any]) -> Any:
    try:
        return pd.to_numeric(pd.Series(values))
    except (ValueError, TypeError):
        return [None if value is None else str(value) for value in values]


def _derive(frame: pd.DataFrame) -> None:
    frame["standard_error"] = np.sqrt(frame["variance"] / frame["replicates"])
    frame["rmse"] = np.sqrt(frame["mse"])
    frame["coverage"] = frame["covered"] / frame["replicates"]
    frame["exceeded"] = frame["exceeded"] / frame["replicates"]
    low, high = binomial_interval(frame["covered"].to_numpy(float), frame["replicates"].to_numpy(), 0.95)
    # Without an exact value there is no coverage and no interval of it.
    frame["coverage_low"], frame["coverage_high"] = (np.where(frame["covered"].isna(), np.nan, x) for x in (low, high))
    plain = frame["plain_variance"]
    with np.errstate(divide="ignore", invalid="ignore"):
        frame["variance_ratio"] = variance_ratio(
            (plain / frame["num_samples"]).to_numpy(), frame["variance"].to_numpy()
        )
        frame["plain_samples"] = plain / frame["mse"].where(frame["mse"].notna(), frame["variance"])
        frame["efficiency"] = efficiency(frame["variance"].to_numpy(), frame["seconds"].to_numpy())
    # If no replicate has hits, a variance of 0 is not a gain.
    blind = (frame["variance"] == 0) & (frame["status"] == "no_hits")
    # An estimator without variance has rounding errors only, and these are not a miss.
    rounding = (16.0 * frame["dtype"].map(lambda dtype: np.finfo(dtype).eps) * frame["exact"]) ** 2
    frame["misses_exact"] = (frame["mse"] > np.fmax(MISSES * frame["variance"], rounding)) & ~blind
    frame.loc[blind, "plain_samples"] = np.nan
    frame.loc[blind | frame["misses_exact"], ["variance_ratio", "efficiency"]] = np.nan
    frame.loc[frame["rtol"].notna(), "variance_ratio"] = np.nan


def _slope(group: pd.DataFrame) -> pd.Series:
    """Weighted least squares of log variance on log N; NaN if a count has no hits or no variance, or runs stopped."""
    count, replicates, variance, error = (np.asarray(group[name], float) for name in SLOPE_NEEDS[:4])
    blind = (group["status"] == "no_hits").any() or not np.all((variance > 0) & np.isfinite(variance))
    if len(group) < 2 or blind or group["rtol"].notna().any():
        return pd.Series({"slope": np.nan, "slope_se": np.nan})
    # The error of log variance from its fourth moment, at least a normal's, since few replicates underestimate it.
    relative = np.fmax(error / variance, np.sqrt(2.0 / (replicates - 1.0)))
    x, y, weight = np.log(count), np.log(variance), relative**-2.0
    x = x - np.average(x, weights=weight)
    spread = np.sum(weight * x * x)
    return pd.Series({"slope": np.sum(weight * x * y) / spread, "slope_se": spread**-0.5})


def newest(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last record of each job, in reading order. The others are copies, or were measured by other versions."""
    latest: dict[str, dict[str, Any]] = {}
    for record in sorted(records, key=lambda record: record["finished"]):
        latest[json.dumps([choices_made(record["config"]), record["device"], record["dtype"]], sort_keys=True)] = record
    return sorted(latest.values(), key=_reading_order)


def _reading_order(record: dict[str, Any]) -> tuple:
    def natural(text: str) -> list[tuple[float, str]]:
        # Numbers by size, words by letters.
        return [(float(word.rstrip(",")), "") if NUMBER.fullmatch(word) else (np.inf, word) for word in text.split()]

    rest = natural(" ".join(record["overrides"].values()))
    return record["problem"], natural(record["case"]), not is_plain(record), natural(record["method"]), rest


def left_out(records: list[dict[str, Any]], kept: list[dict[str, Any]]) -> str:
    """A sentence about the records that `newest` dropped: copies of kept jobs, and records of other versions."""
    identities = {record["identity"] for record in kept}
    dropped = Counter("copy" if record["identity"] in identities else "older" for record in records)
    copies, older = dropped["copy"] - len(kept), dropped["older"]
    parts = [f"{copies} copies of the same jobs in other folders"] * (copies > 0)
    parts += [f"{older} records that older code or other versions measured"] * (older > 0)
    return f"Left out: {' and '.join(parts)}." if parts else ""


def at_largest(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the largest sample count, or of the smallest tolerance, of each record and output."""
    lines = frame.groupby(LINE)
    largest = frame["num_samples"] == lines["num_samples"].transform("max")
    # Two tolerances may stop at the same count.
    return frame.loc[largest.where(frame["rtol"].isna(), frame["rtol"] == lines["rtol"].transform("min"))]
