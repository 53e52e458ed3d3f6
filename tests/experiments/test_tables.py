"""The table's arithmetic, on records whose answers are known."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from experiments import tables, text
from tests.experiments.synthetic import record

ASKED_FOR = {
    "problem", "method", "num_samples", "replicates", "estimate", "standard_error", "rmse", "coverage", "coverage_low",
    "coverage_high", "variance", "variance_se", "reported_std_error", "variance_ratio", "plain_samples", "slope",
    "seconds", "efficiency", "ess", "pareto_k", "status", "ok_share", "seed", "device", "dtype", "jax", "mcengine",
    "python",
}  # fmt: skip


def at(frame, method, num_samples):
    found = frame[(frame["method"] == method) & (frame["num_samples"] == num_samples)]
    assert len(found) == 1
    return found.iloc[0]


def test_every_column_is_there_with_one_for_each_override():
    swept = record("shifted", overrides={"proposal": "toy/shifted", "proposal.scale": "2.0", "name": "x"})
    frame = tables.table([record(), swept])
    assert set(frame.columns) >= ASKED_FOR | {"proposal", "proposal.scale"}
    assert "name" not in frame.columns
    assert at(frame, "shifted", 1024)["proposal.scale"] == "2.0"
    assert pd.isna(at(frame, "plain", 1024)["proposal.scale"])
    assert len(frame) == 8


def test_ratio_samples_errors_and_efficiency_are_those_of_the_definitions():
    frame = tables.table([record(variance_at_one=2.0), record("shifted", variance_at_one=0.25)])
    shifted = at(frame, "shifted", 4096)
    assert shifted["plain_variance_from"] == "plain run"
    assert shifted["variance_ratio"] == pytest.approx(8.0)
    assert shifted["plain_samples"] == pytest.approx(8.0 * 4096)
    assert shifted["rmse"] == pytest.approx(math.sqrt(0.25 / 4096))
    assert shifted["standard_error"] == pytest.approx(math.sqrt(0.25 / 4096 / 400))
    assert shifted["efficiency"] == pytest.approx(1.0 / (0.25 / 4096 * 4096e-6))
    assert at(frame, "plain", 4096)["variance_ratio"] == pytest.approx(1.0)


def test_coverage_has_the_interval_of_its_own_binomial():
    covered = at(tables.table([record()]), "plain", 1024)
    expected = stats.binomtest(380, 400).proportion_ci(0.95, method="exact")
    assert covered["coverage"] == pytest.approx(0.95)
    assert (covered["coverage_low"], covered["coverage_high"]) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("slope", [-1.0, -2.5, 0.5])
def test_slope_is_that_of_the_variance(slope):
    frame = tables.table([record("sobol", slope=slope)])
    assert frame["slope"].to_numpy() == pytest.approx(np.full(4, slope))


def test_slope_weighs_counts_by_their_replicates_and_its_error_is_the_spread_seen():
    rng = np.random.default_rng(0)
    fits = []
    for _ in range(100):
        noisy = record()
        for row in noisy["rows"]:
            row["variance"] *= rng.chisquare(row["replicates"] - 1) / (row["replicates"] - 1)
        fits.append(tables.table([noisy]).iloc[0][["slope", "slope_se"]].to_numpy(float))
    slopes, errors = np.array(fits).T
    assert abs(slopes.mean() + 1.0) < 4 * slopes.std() / math.sqrt(100)
    assert errors[0] == pytest.approx(slopes.std(), rel=0.25)


def without_hits(method="plain", **changes):
    blind = record(method, kind="Probability", exact=1e-7, **changes)
    for row in blind["rows"]:
        row |= {"variance": 0.0, "mean": 0.0, "status": "no_hits", "ok_share": 0.0, "ess": 0.0}
    return blind


def test_a_probability_is_compared_with_its_exact_variance_where_plain_sampling_sees_nothing():
    frame = tables.table([without_hits(), record("shifted", kind="Probability", exact=1e-7, variance_at_one=1e-13)])
    shifted, plain = at(frame, "shifted", 256), at(frame, "plain", 256)
    assert shifted["plain_variance_from"] == "p(1 - p)"
    assert shifted["variance_ratio"] == pytest.approx(1e-7 * (1 - 1e-7) / 1e-13)
    # Seeing nothing is no gain, however small its variance looks.
    assert np.isnan(plain["variance_ratio"])
    assert np.isnan(plain["efficiency"])
    assert np.isnan(plain["slope"])


def test_a_stored_long_run_stands_in_for_plain_sampling_without_hits():
    blind = without_hits() | {"kind": "Expectation"}
    long_run = record(variance_at_one=3.0, exact=1e-7)
    frame = tables.table([blind, record("shifted", exact=1e-7, variance_at_one=1.0)], [long_run])
    assert at(frame, "shifted", 256)["plain_variance_from"] == "long run"
    assert at(frame, "shifted", 256)["variance_ratio"] == pytest.approx(3.0)


def test_a_probability_without_exact_value_uses_the_best_estimate_of_it():
    blind = without_hits()
    for row in blind["rows"]:
        row |= {"exact": None, "mse": None, "covered": None}
    frame = tables.table([blind, record("shifted", kind="Probability", exact=None, variance_at_one=0.01)])
    shifted = at(frame, "shifted", 256)
    assert shifted["plain_variance_from"] == "estimated p"
    assert shifted["variance_ratio"] == pytest.approx(0.3 * 0.7 / 0.01)
    assert np.isnan(shifted["coverage"])
    assert np.isnan(shifted["coverage_low"])
    assert np.isnan(shifted["rmse"])


def test_cases_of_one_problem_have_their_own_yardstick():
    variances = {("0.1", "plain"): 4.0, ("0.1", "is"): 1.0, ("0.2", "plain"): 9.0, ("0.2", "is"): 1.0}
    records = [
        record(method, variance_at_one=variance, case=case, config={"problem": case, "seed": 0}, identity=case + method)
        for (case, method), variance in variances.items()
    ]
    frame = tables.table(records)
    ratios = frame[frame["method"] == "is"].groupby("case")["variance_ratio"].first()
    assert ratios.to_dict() == pytest.approx({"0.1": 4.0, "0.2": 9.0})


def test_each_output_has_its_rows():
    vector = record()
    vector["rows"] = [row | {"output": f"[{i}]", "exact": float(i)} for row in vector["rows"] for i in range(3)]
    frame = tables.table([vector])
    assert len(frame) == 12
    assert list(frame["output"].unique()) == ["[0]", "[1]", "[2]"]


def test_newest_record_of_a_job_wins_and_cases_are_ordered_by_number():
    old, new = record(finished="2025-01-01"), record(finished="2025-01-02")
    cases = [record(case=f"fall {x}", config={"problem": x}, identity=str(x)) for x in (10, 5)]
    assert tables.newest([new, old]) == [new]
    assert [r["case"] for r in tables.newest(cases)] == ["fall 5", "fall 10"]


def test_no_records_is_an_error_in_words():
    with pytest.raises(ValueError, match="no records"):
        tables.table([])


def test_the_terminal_table_fits_in_120_columns_without_losing_a_word():
    frame = tables.table([without_hits(), record("shifted, self normalised", kind="Probability", exact=1e-7)])
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(text.terminal(tables.at_largest(frame)))
        shown = console.export_text()
    assert "…" not in shown
    assert "no_hits (0%)" in shown
    assert "ok (100%)" in shown
    assert max(map(len, shown.splitlines())) <= 120


def test_markdown_has_a_section_for_each_problem_and_a_line_for_each_row():
    lines = text.markdown(tables.table([record(), record(problem="other")])).splitlines()
    assert [line for line in lines if line.startswith("##")] == ["## toy", "## other"]
    assert sum(line.startswith("| toy") for line in lines) == 4


def test_the_table_survives_csv_and_parquet(tmp_path):
    frame = tables.table([without_hits(), record("shifted", exact=1e-7)])
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    assert len(pd.read_csv(tmp_path / "t.csv")) == len(frame)
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "t.parquet"), frame.reset_index(drop=True), check_dtype=False
    )


def test_synthetic_records_are_what_json_can_hold():
    json.dumps(record(), allow_nan=False)
