"""What is measured of an estimator is what many calls of `mc.estimate` would show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import mcengine as mc
from experiments.measure import Ladder, measure, observe, output_labels, summarise
from mcengine.problems.exact_distributions import ExactNormal
from tests.statistics import least_covered


def square(x):
    return x * x


SQUARE = mc.Expectation(square, mc.Normal(1.0, 1.0), exact=2.0)
WIDE = mc.Normal(1.0, 2.0)
KEY = jax.random.key(7)


def test_the_ladder_has_powers_of_four_and_its_numbers_of_replicates():
    steps = Ladder().steps()
    assert [n for n, _ in steps] == [2**8, 2**10, 2**12, 2**14, 2**16, 2**18, 2**20]
    assert [r for _, r in steps] == [400, 400, 400, 256, 64, 16, 16]


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"max_samples": 0}, "max_samples"), ({"factor": 1}, "factor"), ({"min_samples": 10, "max_samples": 5}, "below"),
     ({"replicates": 1}, "2 replicates"), ({"max_samples": "abc"}, "max_samples must be a whole number, got 'abc'"),
     ({"max_samples": 1024.5}, "max_samples must be a whole"), ({"factor": 2.5}, "factor must be a whole")],
)  # fmt: skip
def test_an_invalid_ladder_is_refused_with_a_message(changes, word):
    with pytest.raises(ValueError, match=word):
        Ladder(**changes)


def test_rows_have_the_statistics_of_the_estimator():
    # Plain sampling of X^2, X ~ N(1, 1): variance per sample E X^4 - 4 = 10 - 4.
    told = []
    ladder = Ladder(min_samples=256, max_samples=4096, factor=4)
    rows = measure(KEY, SQUARE, None, ladder, on_step=lambda *step: told.append(step))
    assert told == [("N = 2^8", 1, 3), ("N = 2^10", 2, 3), ("N = 2^12", 3, 3)]
    assert [row["num_samples"] for row in rows] == [256, 1024, 4096]
    for row in rows:
        n, replicates = row["num_samples"], row["replicates"]
        assert replicates == 400
        assert row["exact"] == 2.0
        assert abs(row["mean"] - 2.0) < 4 * np.sqrt(6.0 / n / replicates)
        assert abs(row["variance"] - 6.0 / n) < 4 * row["variance_se"]
        assert row["variance_se"] == pytest.approx(row["variance"] * np.sqrt(2 / 399), rel=0.4)
        assert row["mse"] == pytest.approx(row["variance"], rel=0.05)
        assert row["covered"] >= 364
        assert row["mean_std_error"] == pytest.approx(np.sqrt(6.0 / n), rel=0.1)
        assert row["status"] == "ok"


def test_replicates_are_independent_between_counts_and_keys_and_repeat():
    ladder = Ladder(min_samples=256, max_samples=1024, replicates=16)
    first, again = (measure(KEY, SQUARE, WIDE, ladder) for _ in range(2))
    other = measure(jax.random.key(8), SQUARE, WIDE, ladder)
    assert [row["mean"] for row in first] == [row["mean"] for row in again]
    assert len({row["mean"] for row in first + other}) == 4
    # A longer ladder repeats the counts that it shares with a shorter one.
    short = measure(KEY, SQUARE, WIDE, Ladder(min_samples=256, max_samples=256, replicates=16))
    assert short[0]["mean"] == first[0]["mean"]


# Antithetic points keep the variance of Z^2, 2 of 6 by pairs; Sobol points have almost no variance.
@pytest.mark.parametrize(("points", "left"), [(mc.points.Sobol(), 0.05), (mc.points.Antithetic(), 0.8)])
def test_points_in_units_use_the_same_ladder(points, left):
    # 16 units of 16 points at the smallest count.
    ladder = Ladder(min_samples=256, max_samples=1024, replicates=400)
    rows = measure(KEY, SQUARE, None, ladder, points=points)
    for row in rows:
        assert abs(row["mean"] - 2.0) < 4 * np.sqrt(row["variance"] / 400)
        assert row["covered"] >= 364
        assert row["mean_std_error"] == pytest.approx(np.sqrt(row["variance"]), rel=0.15)
    assert rows[1]["variance"] < left * 6.0 / 1024


def test_heuristics_reach_the_engine_and_are_refused_without_a_mixture():
    ladder, power = Ladder(min_samples=256, max_samples=256), mc.mis.Power()
    mixed = mc.mixture([mc.Normal(0.0, 1.0), mc.Normal(3.0, 1.0)])
    balance, other = (measure(KEY, SQUARE, mixed, ladder, mis=mis)[0] for mis in (None, power))
    assert balance["mean"] != other["mean"]
    assert other["covered"] >= 364
    with pytest.raises(TypeError, match="mis combines the components of a mixture"):
        measure(KEY, SQUARE, WIDE, ladder, mis=power)


def test_every_output_has_its_row():
    def both(x):
        return {"mean": x, "powers": jnp.stack([x * x, x * x * x])}

    problem = mc.Expectation(both, mc.Normal(1.0, 1.0), exact={"mean": 1.0, "powers": np.array([2.0, 4.0])})
    rows = measure(KEY, problem, None, Ladder(min_samples=1024, max_samples=1024))
    assert [row["output"] for row in rows] == ["mean", "powers[0]", "powers[1]"]
    assert [row["exact"] for row in rows] == [1.0, 2.0, 4.0]
    assert all(row["covered"] >= 364 for row in rows)


def test_labels_of_a_scalar_are_empty():
    assert output_labels(np.zeros(5)) == [""]


def test_no_hits_and_non_finite_values_are_reported():
    never = mc.Probability(lambda x: x, mc.Normal(), 30.0, exact=4.9e-198)
    row = measure(KEY, never, None, Ladder(min_samples=256, max_samples=256))[0]
    assert (row["mean"], row["variance"], row["status"], row["ok_share"]) == (0.0, 0.0, "no_hits", 0.0)
    # [0, 3/n] covers.
    assert row["covered"] == 400
    broken = mc.Expectation(lambda x: jnp.where(x > 0, jnp.nan, x), mc.Normal())
    row = measure(KEY, broken, None, Ladder(min_samples=256, max_samples=256))[0]
    assert row["status"] == "non_finite"
    assert row["num_nonfinite"] > 400 * 64
    assert row["covered"] is None


def test_a_proposal_of_another_shape_is_refused_with_a_message():
    with pytest.raises(ValueError, match="shape"):
        measure(KEY, SQUARE, mc.Normal(jnp.zeros(2), 1.0), Ladder())


def test_summaries_take_estimates_of_any_source():
    many = mc.replicate(jax.random.split(KEY, 8), SQUARE, WIDE, budget=mc.Samples(256))
    assert [row["replicates"] for row in summarise(observe(many), None)] == [8]


def test_controls_reach_the_engine_and_reduce_the_variance_as_expected():
    # X^2 = 2 (X - 1) + (X - 1)^2 + 1: the control removes the linear part, 4 of 6.
    ladder, linear = Ladder(min_samples=1024, max_samples=1024), mc.Controls(lambda x: x, 1.0)
    (row,) = measure(KEY, SQUARE, None, ladder, controls=linear)
    assert row["variance"] == pytest.approx(2.0 / 1024, rel=0.25)
    assert row["mse"] == pytest.approx(row["variance"], rel=0.05)
    assert row["covered"] >= 364


LOSS = mc.Expectation(lambda x: x, mc.Normal(1.0, 2.0), exact=1.0, exact_law=ExactNormal(1.0, 2.0))


def test_quantiles_and_shortfalls_have_a_row_each_with_its_exact_value_and_its_levels_diagnostics():
    ladder, levels = Ladder(min_samples=4096, max_samples=4096, replicates=100), [0.9, 0.99]
    rows = measure(KEY, LOSS, None, ladder, functional=mc.TailRisk(levels))
    assert [row["output"] for row in rows] == ["quantile[0]", "quantile[1]", "shortfall[0]", "shortfall[1]"]
    expected = [*norm.ppf(levels, 1.0, 2.0), *(1.0 + 2.0 * norm.pdf(norm.ppf(levels)) / (1 - np.asarray(levels)))]
    assert [row["exact"] for row in rows] == pytest.approx(expected)
    for row in rows:
        assert abs(row["mean"] - row["exact"]) < 0.03
        assert row["covered"] >= least_covered(100)
        assert row["mean_std_error"] == pytest.approx(np.sqrt(row["variance"]), rel=0.3)
    assert [row["num_hits"] for row in rows] == pytest.approx([410, 41, 410, 41], rel=0.02)


def test_bins_and_ratios_have_the_exact_values_that_follow_from_the_problems():
    ladder = Ladder(min_samples=4096, max_samples=4096, replicates=100)
    rows = measure(KEY, LOSS, None, ladder, functional=mc.Histogram([-1.0, 2.0, 5.0]))
    assert [row["exact"] for row in rows] == pytest.approx(np.diff(norm.cdf([-1.0, 2.0, 5.0], 1.0, 2.0)))
    (ratio,) = measure(KEY, BOTH, None, ladder, functional=mc.Ratio("square", "one"))
    assert ratio["exact"] == pytest.approx(2.0)
    for row in [*rows, ratio]:
        assert row["covered"] >= least_covered(100)


BOTH = mc.Expectation(lambda x: {"one": x, "square": x * x}, mc.Normal(1.0, 1.0), exact={"one": 1.0, "square": 2.0})


def test_a_quantile_beyond_the_total_weight_is_nan_without_a_warning():
    # The weights of samples so far below the target have a sum near 0.
    ladder = Ladder(min_samples=256, max_samples=256, replicates=8)
    rows = measure(KEY, LOSS, mc.Normal(-9.0, 2.0), ladder, functional=mc.TailRisk([0.5]))
    assert rows[0]["output"] == "quantile[0]"
    assert np.isnan(rows[0]["variance"])
