"""The reference of every gain: the variance of one sample of plain Monte Carlo."""

import json
from typing import Any

import numpy as np

Record = dict[str, Any]


def plain_variances(records: list[Record], long_runs: list[Record]) -> dict[tuple[str, str], tuple[float, str]]:
    """Variance of one sample of plain Monte Carlo and its source, by case (see `case_key`) and output.

    - "p(1 - p)" for a probability with an exact value, which needs no plain run with hits;
    - "plain run": N x variance, pooled over the plain records of the case, if any of them has hits;
    - "longest plain run": for a functional other than the mean the same at the largest N only, since N x variance of a
      quantile or a ratio converges as N grows;
    - "long run": the same from stored long runs of plain sampling;
    - "estimated p" for a probability with none of these: p(1 - p) at the estimate with the smallest relative error.
    """
    found: dict[tuple[str, str], tuple[float, str]] = {}
    for source, group in (("long run", long_runs), ("plain run", records)):
        plain = [record for record in group if is_plain(record)]
        for key, rows in _by_output([record for record in plain if _is_of_means(record)]).items():
            pooled = _pooled(rows)
            if pooled > 0:
                found[key] = pooled, source
    for key, rows in _by_output([r for r in records if is_plain(r) and not _is_of_means(r)]).items():
        longest = max(row["num_samples"] for row in rows)
        pooled = _pooled([row for row in rows if row["num_samples"] == longest])
        if pooled > 0:
            found[key] = pooled, "longest plain run"
    for key, rows in _by_output([r for r in records if r["kind"] == "Probability"]).items():
        p = rows[0]["exact"]
        if p is not None:
            found[key] = p * (1.0 - p), "p(1 - p)"
        elif key not in found and (p := _best_estimate(rows)) is not None:
            found[key] = p * (1.0 - p), "estimated p"
    return found


def case_key(record: Record) -> str:
    """A key that is equal for records of the same problem, its numbers, functional and dtype."""
    config = record["config"]
    return json.dumps([config["problem"], config.get("functional"), record["dtype"]], sort_keys=True)


def is_plain(record: Record) -> bool:
    """Whether the record is of plain Monte Carlo: no proposal, independent points, raw weights, given counts."""
    return record["method"] == "plain"


def _is_of_means(record: Record) -> bool:
    return record["config"].get("functional") is None


def _by_output(records: list[Record]) -> dict[tuple[str, str], list[Record]]:
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        for row in record["rows"]:
            groups.setdefault((case_key(record), row["output"]), []).append(row)
    return groups


def _pooled(rows: list[Record]) -> float:
    known = [row for row in rows if row["variance"] is not None]
    if not known:
        return 0.0
    each = [row["num_samples"] * row["variance"] for row in known]
    return float(np.average(each, weights=[row["replicates"] - 1.0 for row in known]))


def _best_estimate(rows: list[Record]) -> float | None:
    hit = [row for row in rows if row["mean"] and row["variance"]]
    if not hit:
        return None
    return min(hit, key=lambda row: row["variance"] / row["replicates"] / row["mean"] ** 2)["mean"]
