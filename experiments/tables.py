"""The variance-against-sample-count table: records in, a pandas frame out."""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.reference import case_key, is_plain, plain_variances
from mcengine import diagnostics

NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?,?")
# Overrides that have a column of their own anyway, or that say only where a record lies.
NOT_COLUMNS = {"problem", "name", "folder", "seed"}
# Names in a record's rows, where they differ from the column's.
RENAMED = {"mean": "estimate", "mean_std_error": "reported_std_error"}
COLUMNS = [
    "output", "num_samples", "replicates", "estimate", "standard_error", "exact", "rmse", "coverage", "coverage_low",
    "coverage_high", "variance", "variance_se", "reported_std_error", "variance_ratio", "plain_samples",
    "plain_variance", "plain_variance_from", "slope", "slope_se", "seconds", "compile_seconds", "efficiency", "ess",
    "pareto_k", "max_weight_share", "num_hits", "num_nonfinite", "status", "ok_share", "seed", "device", "dtype", "jax",
    "mcengine", "python",
]  # fmt: skip


def table(records: list[dict[str, Any]], long_runs: Sequence[dict[str, Any]] = ()) -> pd.DataFrame:
    """One row per job, sample count and output of the integrand; a column for every override besides `COLUMNS`.

    - `case`: the problem's numbers that were overridden; `method`: the proposal and all that is not the default;
    - `estimate`, the mean over `replicates` R independent estimates from `num_samples` N samples each;
      `standard_error`, the error of that mean; `variance`, that of a single estimate, with its own error
      `variance_se`; `reported_std_error`, what the estimates said of themselves, on average;
    - `rmse` and `coverage` (of the 95 % intervals, with Clopper and Pearson's interval for R trials) where the exact
      value is known;
    - `variance_ratio`, plain Monte Carlo's variance at the same N over this one's; `plain_samples`, the samples that
      plain Monte Carlo needs for this mean squared error (this variance, without an exact value); both from
      `plain_variance`, that of one sample, which comes from `plain_variance_from`: see `plain_variances`;
    - `slope` of log variance against log N, one for each method, by least squares weighted with R - 1;
    - `seconds` of one estimate, compiled, while all workers are busy; `efficiency`, 1 / (variance x seconds);
    - `ess`, `max_weight_share`, `num_hits`: means over the replicates; `pareto_k`, the median k-hat, empty where there
      is none; `num_nonfinite`, the total; `status`, the most common one, and `ok_share`, how many were ok.
    """
    rows = [row for record in records for row in _rows(record)]
    if not rows:
        raise ValueError("There are no records to make a table from.")
    frame = pd.DataFrame(rows)
    frame[NUMBERS] = frame[NUMBERS].apply(pd.to_numeric)
    known = plain_variances(records, list(long_runs))
    plain = [known.get(key, (np.nan, "unknown")) for key in zip(frame["_case"], frame["output"], strict=True)]
    frame["plain_variance"], frame["plain_variance_from"] = zip(*plain, strict=True)
    _derive(frame)
    slopes = frame.groupby(["_record", "output"], sort=False)[["num_samples", "replicates", "variance"]].apply(_slope)
    frame = frame.join(slopes, on=["_record", "output"])
    overrides = sorted({name for record in records for name in _override_columns(record)})
    return frame.loc[:, ["problem", "case", "method", *overrides, *COLUMNS]]


NUMBERS = [
    "num_samples", "replicates", "estimate", "exact", "variance", "variance_se", "reported_std_error", "mse", "covered",
    "seconds", "compile_seconds", "ess", "pareto_k", "max_weight_share", "num_hits", "num_nonfinite", "ok_share",
]  # fmt: skip


def _rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    shared = {name: record[name] for name in ("problem", "case", "method", "seed", "device", "dtype")}
    shared |= _override_columns(record) | {name: record["versions"][name] for name in ("jax", "mcengine", "python")}
    shared |= {"_case": case_key(record), "_record": record["identity"]}
    return [shared | {RENAMED.get(name) or name: row[name] for name in row} for row in record["rows"]]


def _override_columns(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record["overrides"].items() if name not in NOT_COLUMNS}


def _derive(frame: pd.DataFrame) -> None:
    frame["standard_error"] = np.sqrt(frame["variance"] / frame["replicates"])
    frame["rmse"] = np.sqrt(frame["mse"])
    frame["coverage"] = frame["covered"] / frame["replicates"]
    low, high = diagnostics.binomial_interval(frame["covered"], frame["replicates"], 0.95)
    # Without an exact value there is no coverage, hence no interval for it.
    frame["coverage_low"], frame["coverage_high"] = (np.where(frame["covered"].isna(), np.nan, x) for x in (low, high))
    plain = frame["plain_variance"]
    with np.errstate(divide="ignore", invalid="ignore"):
        frame["variance_ratio"] = diagnostics.variance_ratio(plain / frame["num_samples"], frame["variance"])
        frame["plain_samples"] = plain / frame["mse"].where(frame["mse"].notna(), frame["variance"])
        frame["efficiency"] = diagnostics.efficiency(frame["variance"], frame["seconds"])
    # No replicate hit anything: a variance of 0 is then not a gain.
    blind = (frame["variance"] == 0) & (frame["status"] == "no_hits")
    frame.loc[blind, ["variance_ratio", "plain_samples", "efficiency"]] = np.nan


def _slope(group: pd.DataFrame) -> pd.Series:
    """Weighted least squares; log of a sample variance has variance 2 / (R - 1) for normal estimates."""
    count, replicates, variance = (np.asarray(group[name], float) for name in group)
    usable = (variance > 0) & np.isfinite(variance)
    if usable.sum() < 2:
        return pd.Series({"slope": np.nan, "slope_se": np.nan})
    x, y, weight = np.log(count[usable]), np.log(variance[usable]), 0.5 * (replicates[usable] - 1.0)
    x = x - np.average(x, weights=weight)
    spread = np.sum(weight * x * x)
    return pd.Series({"slope": np.sum(weight * x * y) / spread, "slope_se": spread**-0.5})


def newest(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last record of each job, in reading order; earlier ones were measured by other versions of the code."""
    latest: dict[str, dict[str, Any]] = {}
    for record in sorted(records, key=lambda record: record["finished"]):
        latest[json.dumps([record["config"], record["device"], record["dtype"]], sort_keys=True)] = record
    return sorted(latest.values(), key=_reading_order)


def _reading_order(record: dict[str, Any]) -> tuple:
    def natural(text: str) -> list[tuple[float, str]]:
        # Numbers by size, words by letters.
        return [(float(word.rstrip(",")), "") if NUMBER.fullmatch(word) else (np.inf, word) for word in text.split()]

    return record["problem"], natural(record["case"]), not is_plain(record), natural(record["method"])


def at_largest(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of each problem's largest sample count."""
    return frame.loc[frame["num_samples"] == frame.groupby("problem")["num_samples"].transform("max")]
