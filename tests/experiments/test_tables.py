"""The table's arithmetic, on records whose answers are known."""

import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from experiments import labels, tables, text
from experiments.collect import collect, wide_console
from tests.experiments.synthetic import record, stopping_record

ASKED_FOR = {
    "problem", "method", "num_samples", "replicates", "estimate", "standard_error", "rmse", "coverage", "coverage_low",
    "coverage_high", "rtol", "exceeded", "variance", "variance_se", "reported_std_error", "variance_ratio",
    "plain_samples", "slope", "seconds", "efficiency", "ess", "pareto_k", "status", "ok_share", "seed", "device",
    "dtype", "code", "jax", "jaxlib", "numpy", "mcengine", "python",
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
    assert at(frame, "shifted", 1024)["proposal.scale"] == 2.0
    assert pd.isna(at(frame, "plain", 1024)["proposal.scale"])
    assert len(frame) == 8


def test_override_columns_have_numbers_and_the_settings_of_records_without_overrides():
    chosen = {"proposal": "plain", "weighting": "raw", "budget": "ladder"}
    usual = record(overrides={}, choices=chosen, config={"problem": {"threshold": 5.0}, "seed": 0})
    swept = record("b", overrides={"problem.threshold": "3", "budget": "brief", "seed": "1"}, choices=chosen)
    frame = tables.table([usual, swept])
    assert frame.groupby("method")["problem.threshold"].first().to_dict() == {"plain": 5.0, "b": 3.0}
    assert frame["problem.threshold"].dtype == float
    assert frame.groupby("method")["budget"].first().to_dict() == {"plain": "ladder", "b": "brief"}


def test_records_that_differ_in_seed_or_budget_only_have_one_line_each():
    def swept(seed, most):
        overrides = {"seed": str(seed), "budget.max_samples": str(most), "budget.factor": "4", "name": "toy"}
        return record("shifted", overrides=overrides, identity=f"{seed}-{most}", seed=seed)

    frame = tables.table([swept(0, 64), swept(1, 64), swept(1, 256), record()])
    assert list(frame["method"].unique()) == [
        "shifted, max_samples 64, seed 0", "shifted, max_samples 64, seed 1", "shifted, max_samples 256, seed 1",
        "plain",
    ]  # fmt: skip
    # A setting that no record overrides still has its value, and equal overrides end in the identity.
    default = record("shifted", overrides={}, identity="default", config={"seed": 7})
    assert labels.distinct_methods([default, swept(1, 64)])[0].endswith("seed 7")
    assert labels.distinct_methods([record(identity=x) for x in "ab"]) == ["plain, job a", "plain, job b"]


def missing(method="shifted", **changes):
    """Its variance says nothing, for it never saw what matters: estimate 1.8e-19, exactly 3.7e-5."""
    wrong = record(method, kind="Probability", exact=3.7e-5, variance_at_one=1e-30, **changes)
    for row in wrong["rows"]:
        row |= {"mean": 1.8e-19, "mse": 3.7e-5**2, "covered": 0, "status": "unreliable", "ok_share": 0.0}
    return wrong


def test_a_method_that_misses_the_exact_value_has_no_gain_however_small_its_variance():
    frame = tables.table([record(kind="Probability", exact=3.7e-5), missing()])
    shifted = at(frame, "shifted", 1024)
    assert shifted["misses_exact"]
    assert np.isnan(shifted["variance_ratio"])
    assert np.isnan(shifted["efficiency"])
    assert not at(frame, "plain", 1024)["misses_exact"]
    # An estimator without variance has rounding errors only; no hits are another status.
    exact_one = record("optimal", exact=1.0, variance_at_one=1e-20)
    for row in exact_one["rows"]:
        row["mse"] = 1e-14
    assert not tables.table([exact_one, without_hits()])["misses_exact"].any()


def test_an_efficiency_of_mostly_unreliable_estimates_is_in_brackets():
    doubtful = record("doubtful", exact=None)
    for row in doubtful["rows"]:
        row["ok_share"] = 0.1
    assert text.short(tables.table([doubtful]))["efficiency"].str.fullmatch(r"\(.*\)").all()


def test_no_slope_is_fitted_if_a_count_has_no_hits():
    rare = record()
    for row in rare["rows"][::2]:
        row["variance"] = 0.0
    blind = record("blind")
    blind["rows"][0]["status"] = "no_hits"
    assert tables.table([rare, blind])["slope"].isna().all()


def test_a_count_with_a_rough_variance_pulls_the_slope_less():
    rough = record()
    rough["rows"][0]["variance"] *= 100
    exact_se = tables.table([rough])["slope"].iloc[0]
    rough["rows"][0]["variance_se"] *= 1e6
    assert tables.table([rough])["slope"].iloc[0] == pytest.approx(-1.0, abs=1e-3)
    assert exact_se < -1.3


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


def test_a_probability_is_compared_with_its_exact_variance_if_plain_sampling_has_no_hits():
    frame = tables.table([without_hits(), record("shifted", kind="Probability", exact=1e-7, variance_at_one=1e-13)])
    shifted, plain = at(frame, "shifted", 256), at(frame, "plain", 256)
    assert shifted["plain_variance_from"] == "p(1 - p)"
    assert shifted["variance_ratio"] == pytest.approx(1e-7 * (1 - 1e-7) / 1e-13)
    # No hits are not a gain, however small the variance is.
    assert np.isnan(plain["variance_ratio"])
    assert np.isnan(plain["efficiency"])
    assert np.isnan(plain["slope"])


def test_a_stored_long_run_replaces_plain_sampling_without_hits():
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


def test_cases_of_one_problem_have_their_own_reference():
    variances = {("0.1", "plain"): 4.0, ("0.1", "is"): 1.0, ("0.2", "plain"): 9.0, ("0.2", "is"): 1.0}
    records = [
        record(method, variance_at_one=variance, case=case, config={"problem": case, "seed": 0}, identity=case + method)
        for (case, method), variance in variances.items()
    ]
    frame = tables.table(records)
    ratios = frame[frame["method"] == "is"].groupby("case")["variance_ratio"].first()
    assert ratios.to_dict() == pytest.approx({"0.1": 4.0, "0.2": 9.0})


def test_the_reference_of_a_long_run_is_a_plain_one():
    blind = without_hits() | {"kind": "Expectation"}
    frame = tables.table([blind], [record("shifted", variance_at_one=1e-9, exact=1e-7)])
    assert set(frame["plain_variance_from"]) == {"unknown"}


def test_runs_to_a_tolerance_have_a_gain_but_no_slope_and_no_variance_ratio():
    frame = tables.table([record(variance_at_one=2.0), stopping_record()])
    stopped = frame[frame["method"] == "plain, to tolerance"]
    assert list(stopped["rtol"]) == [0.1, 0.01]
    assert list(stopped["exceeded"]) == [0.02, 0.02]
    assert stopped["slope"].isna().all()
    assert stopped["variance_ratio"].isna().all()
    # The reference comes from the ladder only, and its own numbers do not change.
    assert list(stopped["plain_samples"]) == pytest.approx([2 * 8192, 2 * 8192])
    ladder = frame[frame["method"] == "plain"]
    assert ladder["variance_ratio"].to_numpy() == pytest.approx(np.ones(4))
    assert ladder["slope"].to_numpy() == pytest.approx(np.full(4, -1.0))
    assert ladder[["rtol", "exceeded"]].isna().all(axis=None)
    assert set(tables.table([stopping_record()])["plain_variance_from"]) == {"unknown"}


def test_the_last_row_of_runs_to_a_tolerance_is_that_of_the_smallest_one():
    last = tables.at_largest(tables.table([record(), stopping_record()]))
    assert list(last["method"]) == ["plain", "plain, to tolerance"]
    assert last["rtol"].iloc[1] == 0.01
    shown = printed_at(160, last)
    for word in ("rtol", "0.01", "beyond", "2%"):
        assert word in shown
    assert "rtol" not in printed_at(160, tables.at_largest(tables.table([record()])))
    assert "rtol" not in text.markdown(tables.table([record()]))


def test_a_functional_has_its_own_reference_from_the_longest_plain_run():
    def of_quantile(method, first):
        made = record(method, kind="TailRisk", variance_at_one=1.0, case="tail risk", identity=f"q{method}")
        made["config"] |= {"functional": {"levels": [0.9]}}
        # N x variance of a quantile converges as N grows.
        made["rows"][0]["variance"] *= first
        return made

    frame = tables.table([record(variance_at_one=9.0), of_quantile("plain", 50.0), of_quantile("shifted", 1.0)])
    shifted = frame[frame["method"] == "shifted"]
    assert set(shifted["plain_variance_from"]) == {"longest plain run"}
    assert shifted["variance_ratio"].to_numpy() == pytest.approx(np.ones(4))
    assert frame[frame["case"] == ""]["plain_variance"].to_numpy() == pytest.approx(np.full(4, 9.0))


def test_a_record_from_before_a_choice_existed_is_the_same_job():
    old = record(finished="2025-01-01", identity="old")
    new = record(finished="2025-01-02", identity="new")
    new["config"] = old["config"] | {"controls": None, "functional": None}
    assert tables.newest([old, new]) == [new]


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


def test_words_in_a_label_are_not_read_as_numbers():
    cases = [
        record(case=f"fall {x}", config={"problem": x}, identity=x) for x in (".", "1.2.3", "-", "1e5", ".5", "2.")
    ]
    assert [r["case"].split()[1] for r in tables.newest(cases)] == [".5", "2.", "1e5", "-", ".", "1.2.3"]


def test_copies_of_a_job_are_distinguished_from_records_of_older_code():
    new = record(finished="2025-01-02", identity="new")
    everything = [new, new | {"finished": "2025-01-01"}, record(identity="old")]
    assert tables.left_out(everything, tables.newest(everything)) == (
        "Left out: 1 copies of the same jobs in other folders and 1 records that older code or other versions measured."
    )
    assert tables.left_out([new], [new]) == ""


def test_a_method_with_a_shorter_ladder_keeps_its_line():
    short = record("short")
    del short["rows"][2:]
    shown = tables.at_largest(tables.table([record(), short]))
    assert list(zip(shown["method"], shown["num_samples"], strict=True)) == [("plain", 16384), ("short", 1024)]
    printed = printed_at(120, shown)
    assert "short 1,024" in " ".join(printed.split())
    assert "plain 16,384" in " ".join(printed.split())


def test_a_table_of_two_code_versions_names_both(tmp_path):
    newer = record("shifted", versions=record()["versions"] | {"code": "d"})
    console = Console(width=120, record=True, file=io.StringIO())
    collect([record(), newer], tmp_path, console)
    assert "Measured by 2 code versions (column code): c, d." in console.export_text()
    assert set(pd.read_csv(tmp_path / "table.csv")["code"]) == {"c", "d"}


def test_no_records_is_an_error_with_a_message():
    with pytest.raises(ValueError, match="no records"):
        tables.table([])


def printed_at(width, frame):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(text.terminal(frame, width))
    return console.export_text()


def test_a_narrow_terminal_omits_columns_and_keeps_the_methods():
    frame = tables.table([without_hits(), missing("self normalised")])
    shown = printed_at(80, tables.at_largest(frame))
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    for word in ("plain", "self normalised", "gain", "unreliable (0%)", "N 16,384"):
        assert word in shown
    assert "std. error" not in shown
    assert "std. error" in printed_at(120, tables.at_largest(frame))


def test_a_pipe_is_as_wide_as_the_table(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert wide_console().width >= 120


def test_the_terminal_table_fits_in_120_columns_with_all_words():
    frame = tables.table([without_hits(), record("shifted, self normalised", kind="Probability", exact=1e-7)])
    shown = printed_at(120, tables.at_largest(frame))
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


def test_synthetic_records_can_be_written_as_json():
    json.dumps(record(), allow_nan=False)
