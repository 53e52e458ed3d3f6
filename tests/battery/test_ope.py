"""Off-policy evaluation on 400 logs each: errors against references, honest intervals, flags where they belong."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.ope.repeats import digits_rows, mdp_rows, summary
from tests.statistics import MIN_COVERED, least_covered

pytestmark = pytest.mark.battery
RUNS, SIZE = 400, 500
REFERENCE = json.loads((Path(__file__).parents[1] / "data" / "tabular_mdp_rmse.json").read_text())
CASES = {
    "five steps": lambda: mdp_rows(RUNS, SIZE, horizon=5, seed=1),
    "ten steps, a wrong model": lambda: mdp_rows(RUNS, SIZE, horizon=10, seed=2, model="shifted"),
    "twenty steps": lambda: mdp_rows(RUNS, SIZE, horizon=20, seed=3),
    "one step": lambda: mdp_rows(RUNS, SIZE, horizon=1, seed=4),
    "digits, few": lambda: digits_rows(RUNS, 400),
    "digits, many": lambda: digits_rows(RUNS, 12_000),
}


@pytest.fixture(scope="module")
def rows_with_exact_model():
    return mdp_rows(RUNS, SIZE, horizon=20, seed=5, model="exact")


def errors(rows, name):
    of = rows[rows.estimator == name]
    return (of.value - of.exact).to_numpy()


@pytest.mark.parametrize("name", ["IS", "PDIS", "DR"])
def test_estimates_are_unbiased(rows_with_exact_model, name):
    error = errors(rows_with_exact_model, name)
    assert abs(error.mean()) < 3 * error.std(ddof=1) / np.sqrt(RUNS)


@pytest.mark.parametrize(("worse", "better"), [("IS", "PDIS"), ("PDIS", "DR"), ("WIS", "WPDIS"), ("WPDIS", "WDR")])
def test_each_refinement_is_clearly_better(rows_with_exact_model, worse, better):
    difference = errors(rows_with_exact_model, worse) ** 2 - errors(rows_with_exact_model, better) ** 2
    assert difference.mean() > 2 * difference.std(ddof=1) / np.sqrt(RUNS)


@pytest.mark.parametrize("name", ["IS", "WIS", "PDIS", "WPDIS", "DR", "WDR"])
def test_mean_square_errors_are_those_of_the_reference(rows_with_exact_model, name):
    rmse = np.sqrt(np.mean(errors(rows_with_exact_model, name) ** 2))
    assert rmse == pytest.approx(REFERENCE["rmse_500_trajectories"][name], rel=0.15)


@pytest.mark.parametrize("name", CASES)
def test_intervals_cover_or_are_flagged(name):
    for row in summary(CASES[name]()).itertuples():
        assert row.silent <= 0.01, f"{row.estimator}: far off with status ok"
        of_ok = round(row.ok * RUNS)
        if row.ok > 0.5:
            assert row.coverage_ok * of_ok >= least_covered(of_ok), f"{row.estimator}: {row.coverage_ok} of those ok"
        # Weights of few values have no k-hat and are judged by their status alone.
        if row.median_k < 0.3 and row.ok > 0.5:
            assert row.coverage * RUNS >= MIN_COVERED[RUNS], f"{row.estimator}: k-hat {row.median_k:.2f}"


@pytest.mark.parametrize("horizon", [1, 20])
def test_on_policy_data_are_not_flagged(horizon):
    for row in summary(mdp_rows(RUNS, 200, horizon=horizon, seed=6, on_policy=True)).itertuples():
        assert row.ok >= 0.98, f"{row.estimator}: {1 - row.ok:.1%} flagged"
