"""Runs that stop when they are precise enough: their intervals hold although they were looked at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

import mcengine as mc
from mcengine.inference import confidence_sequences
from tests.statistics import covered, least_covered

STANDARD = mc.Normal(0.0, 1.0)
TAIL = mc.Probability(lambda x: x, STANDARD, 3.0)
SHIFTED = mc.Normal(3.0, 1.0)
EXACT = ndtr(-3.0)


def test_a_relative_tolerance_is_kept_and_nothing_is_wasted(key):
    result = mc.estimate(key, TAIL, SHIFTED, budget=mc.Tolerance(rtol=0.02, max_samples=10**7))
    low, high = result.interval()
    assert result.ok
    assert high - low <= 2 * 0.02 * result.value
    assert low < EXACT < high
    # Fewer looks would have stopped at most a third earlier.
    assert high - low > 1.2 * 0.02 * result.value


def test_intervals_cover_although_the_run_stopped_where_it_looked_good():
    # Weights with a heavy tail, stopped at 10 %: the usual interval covers .86 to .92 there.
    problem = mc.Expectation(lambda x: x, mc.LogNormal(0.0, 2.0))
    budget = mc.Tolerance(rtol=0.1, atol=0.0, max_samples=10**7)
    runs = [mc.estimate(jax.random.key(seed), problem, budget=budget) for seed in range(60)]
    covered = sum(low <= np.exp(2.0) <= high for low, high in (run.interval() for run in runs))
    assert covered >= 55


def test_sobol_points_stop_earlier_and_are_right():
    problem = mc.Expectation(
        lambda x: jnp.cos(jnp.sqrt(jnp.sum(x * x))) * np.float32(np.pi**2.5), mc.Normal(np.zeros(5), 0.5**0.5)
    )
    budget = mc.Tolerance(rtol=0.01, atol=0.0)
    runs = [mc.estimate(jax.random.key(s), problem, points=mc.points.Sobol(), budget=budget) for s in range(12)]
    assert all(run.value == pytest.approx(1.1353239910125, rel=0.01) for run in runs)
    plain = mc.estimate(jax.random.key(0), problem, budget=budget)
    assert 4 * np.median([run.num_samples for run in runs]) < plain.num_samples
    assert {int(run.num_units) for run in runs} == {8}


def test_growing_units_are_prefixes_of_the_same_scrambles():
    problem = mc.Integral(lambda x: x[0] * x[1] ** 2, np.zeros(2), np.ones(2))
    grown = mc.estimate(
        jax.random.key(2), problem, points=mc.points.Sobol(), budget=mc.Tolerance(atol=1e-12, max_samples=8 * 2**13),
    )  # fmt: skip
    whole = mc.estimate(jax.random.key(2), problem, points=mc.points.Sobol(2**13), budget=mc.Samples(8 * 2**13))
    assert grown.status == mc.Status.BUDGET_SPENT
    assert grown.num_samples == whole.num_samples
    assert grown.value == pytest.approx(whole.value, rel=1e-6)
    assert grown.std_error == pytest.approx(whole.std_error, rel=0.05)


def test_a_finite_sample_interval_needs_no_asymptotics(key):
    problem = mc.Probability(lambda x: x, STANDARD, 1.0)
    proposal = mc.defensive(STANDARD, mc.Normal(1.0, 1.0), share=0.5)
    result = mc.estimate(key, problem, proposal, budget=mc.Tolerance(rtol=0.05, finite_sample=True))
    low, high = result.interval()
    assert low < ndtr(-1.0) < high
    assert high - low <= 2 * 0.05 * result.value
    again = mc.estimate(jax.random.key(5), problem, proposal, budget=mc.Tolerance(rtol=0.05))
    assert again.num_samples < result.num_samples


def test_a_likely_event_is_not_certain_where_no_miss_was_seen():
    # 8,192 samples, a miss in every fourth run.
    likely, truth = mc.Probability(lambda x: x, STANDARD, -4.0), ndtr(4.0)
    runs = [mc.estimate(jax.random.key(i), likely, budget=mc.Tolerance(rtol=0.01)) for i in range(100)]
    assert sum(np.isnan(run.std_error) for run in runs) > 50
    low, high = map(np.asarray, zip(*(run.interval() for run in runs), strict=True))
    assert covered(low, high, truth) >= least_covered(100)
    assert np.max(high - low) <= 0.02
    assert {run.status for run in runs} == {mc.Status.FEW_HITS}


def test_scrambles_that_are_equal_by_chance_do_not_stop_a_run():
    # 2,048 points hit 324.9 times on average: at the first look all 8 scrambles have 325 in half of the runs.
    event, truth = mc.Probability(lambda x: x, STANDARD, 1.0), ndtr(-1.0)
    budget, points = mc.Tolerance(rtol=0.01), mc.points.Sobol()
    runs = [mc.estimate(jax.random.key(i), event, budget=budget, points=points) for i in range(100)]
    low, high = map(np.asarray, zip(*(run.interval() for run in runs), strict=True))
    assert covered(low, high, truth) >= least_covered(100)
    assert np.min(high - low) > 0
    assert max(run.num_samples for run in runs) <= 2**20


def test_an_event_that_never_comes_stops_at_an_absolute_tolerance(key):
    rare = mc.Probability(lambda x: x, STANDARD, 9.0)
    result = mc.estimate(key, rare, budget=mc.Tolerance(atol=0.01))
    low, high = result.interval()
    assert result.num_samples < 10**5
    assert (low, high) == (0.0, pytest.approx(-np.log(0.025) / result.num_samples))
    assert result.status == mc.Status.NO_HITS


def test_a_spent_budget_says_so(key):
    result = mc.estimate(key, TAIL, SHIFTED, budget=mc.Tolerance(rtol=1e-5, max_samples=50_000))
    assert result.status == mc.Status.BUDGET_SPENT
    assert result.num_samples <= 50_000
    with pytest.raises(ValueError, match="stopped by a tolerance"):
        result.merge(mc.estimate(jax.random.key(9), TAIL, SHIFTED, budget=mc.Samples(1_000)))


@pytest.mark.parametrize("points", [mc.points.IID(), mc.points.Sobol(), mc.points.Antithetic()])
def test_the_limit_of_samples_is_kept(key, points):
    problem = mc.Expectation(jnp.exp, mc.Normal(0.0, 1.0))
    for most in (16, 100, 5_000, 20_000):
        budget = mc.Tolerance(atol=1e-9, max_samples=most)
        result = mc.estimate(jax.random.clone(key), problem, points=points, budget=budget)
        assert most / 2 <= result.num_samples <= most
        assert result.status >= mc.Status.BUDGET_SPENT


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mc.Tolerance(), "give rtol or atol above 0"),
        (lambda: mc.Tolerance(rtol=-0.1), "rtol must be finite and at least 0, got -0.1"),
        (lambda: mc.Tolerance(rtol=0.1, max_samples=0), "max_samples must be positive, got 0"),
        (lambda: mc.Tolerance(rtol=0.1, level=1.0), "level must lie strictly between"),
        (
            lambda: run_plain(mc.Tolerance(atol=0.1, max_samples=5), points=mc.points.Sobol()),
            "less than one sample for each of 8 units",
        ),
        (lambda: run_plain(mc.Tolerance(rtol=0.1)), "give atol besides rtol"),
        (lambda: run_plain(mc.Tolerance(atol=0.1, finite_sample=True)), "finite_sample needs a bound on w f"),
    ],
)
def test_mistakes_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def run_plain(budget, **options):
    return mc.estimate(jax.random.key(0), mc.Expectation(lambda x: x, STANDARD), budget=budget, **options)


def test_the_sequence_is_wider_than_the_usual_interval_and_shrinks():
    n = np.asarray([1e4, 1e5, 1e6, 1e7])
    width = confidence_sequences.asymptotic_width(
        1 / np.sqrt(n), n, confidence_sequences.mixture_variance(8_192, 0.95), 0.95
    )
    ratio = width * np.sqrt(n) / 1.96
    assert np.all((ratio > 1.3) & (ratio < 2.6))
    assert np.all(np.diff(width) < 0)
    assert sum(1 - confidence_sequences.level_of_look(0.95, k) for k in range(1, 10_000)) < 0.05


def test_the_sequence_covers_at_all_looks_together():
    # 2,000 walks of normal steps, looked at from 256 to 2^15 steps: at most 5 % ever leave.
    steps = np.random.default_rng(3).standard_normal((2_000, 2**15)).astype(np.float32)
    n = np.unique(np.geomspace(256, 2**15, 40).astype(int))
    means = np.cumsum(steps, axis=1, dtype=np.float64)[:, n - 1] / n
    width = confidence_sequences.asymptotic_width(
        1 / np.sqrt(n), n, confidence_sequences.mixture_variance(256, 0.95), 0.95
    )
    assert np.mean(np.any(np.abs(means) > width, axis=1)) < 0.05
    usual = 1.96 / np.sqrt(n)
    assert np.mean(np.any(np.abs(means) > usual, axis=1)) > 0.2


@pytest.mark.parametrize("shrinks", [2**-0.5, 0.5, 2**-1.5], ids=["independent points", "n^-1", "n^-3/2"])
def test_growing_units_cover_where_the_run_stops(shrinks):
    # 20,000 runs of 8 normal units whose means shrink at every doubling; the right look is one of 12.
    rng, num_looks = np.random.default_rng(5), 12
    means = [rng.standard_normal((20_000, 8))]
    for _ in range(num_looks - 1):
        # Half of the longer unit is the shorter one, so these correlate as much as the error shrinks.
        new = np.sqrt(1 - shrinks**2) * shrinks ** len(means) * rng.standard_normal((20_000, 8))
        means.append(shrinks**2 * means[-1] + new)
    errors = np.abs(np.mean(means, axis=-1))
    width = confidence_sequences.FewUnits().half_width(np.std(means, axis=-1, ddof=1) / np.sqrt(8), 8, np.nan, 0.95)
    for part in (0.0, 0.5):
        asked = np.median(width[num_looks // 2]) * shrinks**part
        stops = np.argmax(width <= asked, axis=0)
        assert np.all(np.take_along_axis(width, stops[None], 0) <= asked)
        missed = np.take_along_axis(errors > width, stops[None], 0)
        assert 0.03 < np.mean(missed) < 0.05
