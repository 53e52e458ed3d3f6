"""What is measured of runs that stop by themselves is what many calls of `mc.estimate` would show."""

import jax
import numpy as np
import pytest

import mcengine as mc
from experiments.stopping import Tolerances, measure_stopping
from tests.statistics import least_covered

EXPONENTIAL = mc.Expectation(lambda x: x, mc.Exponential(1.0), exact=1.0)
KEY = jax.random.key(11)


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"rtols": []}, "rtols"), ({"rtols": [0.1, 0.0]}, "rtols"), ({"rtols": [float("nan")]}, "rtols"),
     ({"rtols": 0.1}, "rtols must be a list"), ({"rtols": ["a"]}, "rtols"), ({"atol": -1.0}, "atol"),
     ({"atol": float("inf")}, "atol"), ({"replicates": 1}, "replicates"), ({"max_samples": 1e6}, "max_samples")],
)  # fmt: skip
def test_invalid_tolerances_are_refused_with_a_message(changes, word):
    with pytest.raises(ValueError, match=word):
        Tolerances(**changes)


def test_rows_are_those_of_single_runs():
    told = []
    tolerances = Tolerances(rtols=[0.02, 0.1], replicates=50)
    loose, tight = measure_stopping(KEY, EXPONENTIAL, None, tolerances, on_step=lambda *step: told.append(step))
    assert told == [("rtol = 0.1", 1, 2), ("rtol = 0.02", 2, 2)]
    assert [row["rtol"] for row in (loose, tight)] == [0.1, 0.02]
    of_rtol = jax.random.fold_in(KEY, np.float32(0.02).view(np.uint32))
    budget = mc.Tolerance(0.02, 0.0)
    runs = [mc.estimate(jax.random.fold_in(of_rtol, r), EXPONENTIAL, budget=budget) for r in range(50)]
    assert tight["num_samples"] == round(np.mean([run.num_samples for run in runs]))
    assert tight["mean"] == pytest.approx(np.mean([run.value for run in runs]), rel=1e-12)
    assert tight["covered"] == sum(bool(low <= 1.0 <= high) for low, high in (run.interval() for run in runs))
    assert tight["exceeded"] == sum(bool(abs(run.value - 1.0) > 0.02 * run.value) for run in runs)
    assert tight["covered"] >= least_covered(50)
    assert tight["replicates"] - tight["exceeded"] >= least_covered(50)
    assert tight["status"] == "ok"
    # Half-width about 3 sd / sqrt(n) is to be 0.02.
    assert 1.5e4 < tight["num_samples"] < 6e4
    assert loose["num_samples"] == 8192


def test_a_tolerance_has_the_same_runs_in_every_list():
    one = measure_stopping(KEY, EXPONENTIAL, None, Tolerances(rtols=[0.1], replicates=4))
    two = measure_stopping(KEY, EXPONENTIAL, None, Tolerances(rtols=[0.2, 0.1], replicates=4))
    assert one[0]["mean"] == two[1]["mean"] != two[0]["mean"]


def test_a_spent_budget_is_a_status_and_errors_above_the_tolerance_are_counted():
    (row,) = measure_stopping(KEY, EXPONENTIAL, None, Tolerances(rtols=[1e-3], replicates=20, max_samples=8192))
    assert row["status"] == "budget_spent"
    assert row["num_samples"] == 8192
    # The error's deviation is 0.011: ten tolerances.
    assert 15 <= row["exceeded"] <= 20
    assert row["covered"] >= least_covered(20)
    (wide,) = measure_stopping(
        KEY, EXPONENTIAL, None, Tolerances(rtols=[1e-3], atol=1.0, replicates=20, max_samples=8192)
    )
    assert (wide["exceeded"], wide["status"]) == (0, "ok")


def test_without_an_exact_value_there_is_no_coverage_and_no_count_of_errors():
    unknown = mc.Expectation(lambda x: x, mc.Exponential(1.0))
    (row,) = measure_stopping(KEY, unknown, None, Tolerances(rtols=[0.1], replicates=4))
    assert row["exceeded"] is None
    assert row["covered"] is None


def test_every_output_of_points_that_grow_has_its_row():
    rows = measure_stopping(
        KEY, EXPONENTIAL, None, Tolerances(rtols=[0.1], replicates=4), points=mc.points.Sobol(),
        functional=mc.Histogram([0.0, 1.0, 2.0]),
    )  # fmt: skip
    assert [row["output"] for row in rows] == ["[0]", "[1]"]
    assert rows[0]["mean"] == pytest.approx(1 - np.exp(-1), rel=0.01)


def test_a_functional_without_tolerance_runs_is_refused_with_the_engines_message():
    with pytest.raises(ValueError, match="TailRisk"):
        measure_stopping(KEY, EXPONENTIAL, None, Tolerances(), functional=mc.TailRisk([0.9]))
