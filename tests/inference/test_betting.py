"""Intervals by betting: they hold at every look and are shorter than empirical Bernstein's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

import mcengine as mc
from mcengine.inference.betting import betting_interval, stakes
from mcengine.inference.confidence_sequences import bernstein_width
from tests.statistics import covered

LAWS = {
    "Bernoulli(.01)": (lambda rng, shape: (rng.random(shape) < 0.01).astype(float), 0.01),
    "Beta(1, 5)": (lambda rng, shape: rng.beta(1.0, 5.0, shape), 1.0 / 6.0),
    "mostly 0": (lambda rng, shape: np.where(rng.random(shape) < 0.05, rng.random(shape), 0.0), 0.025),
    "mostly 1": (lambda rng, shape: 1.0 - (rng.random(shape) < 0.02), 0.98),
}
COUNTS = (100, 300, 1_000, 2_000)


@pytest.mark.parametrize("name", LAWS)
def test_intervals_hold_at_all_looks_together(name):
    draw, mean = LAWS[name]
    x = draw(np.random.default_rng(7), (COUNTS[-1], 400))
    missed = np.zeros(400, bool)
    for count in COUNTS:
        low, high = betting_interval(x[:count], np.ones(count), 0.95)
        missed |= (mean < low) | (mean > high)
    assert missed.sum() <= 36


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("name", LAWS)
def test_intervals_for_one_look_are_shorter_than_bernsteins(name, size):
    draw, mean = LAWS[name]
    x = draw(np.random.default_rng(8), (2_000, 400))
    batches = x.reshape(-1, size, 400).mean(axis=1)
    low, high = betting_interval(batches, np.full(len(batches), size), 0.95, 2_000)
    assert covered(low, high, mean) >= 364
    bernstein = 2.0 * bernstein_width(x.var(axis=0, ddof=1), 2_000, 1.0, 0.95)
    assert np.median((high - low) / bernstein) < (0.8 if size == 1 else 0.95)


def test_the_width_tends_to_what_the_paper_says():
    # sqrt(n) width / 2 -> sd sqrt(2 log(2 / alpha)), to 3 % at n = 20,000.
    x = (np.random.default_rng(1).random((20_000, 8)) < 0.5).astype(float)
    low, high = betting_interval(x, np.ones(20_000), 0.95, 20_000)
    limit = 0.5 * np.sqrt(2.0 * np.log(40.0))
    assert np.median(np.sqrt(20_000) * (high - low) / 2.0) == pytest.approx(limit, rel=0.03)


def test_the_interval_is_where_the_capital_says():
    x = np.random.default_rng(2).beta(2.0, 6.0, (300, 1))
    low, high = betting_interval(x, np.ones(300), 0.9, 300)
    grid = np.linspace(0.0, 1.0, 4_001)[1:-1]
    bets = stakes(x, np.ones(300), 0.9, 300)
    more = np.sum(np.log1p(np.minimum(bets, 0.5 / grid) * (x - grid)), axis=0)
    less = np.sum(np.log1p(-np.minimum(bets, 0.5 / (1.0 - grid)) * (x - grid)), axis=0)
    left = grid[(more < np.log(20.0)) & (less < np.log(20.0))]
    assert low[0] == pytest.approx(left.min(), abs=4e-4)
    assert high[0] == pytest.approx(left.max(), abs=4e-4)
    assert np.all(np.diff(more) <= 1e-12)
    assert np.all(np.diff(less) >= -1e-12)


def test_stakes_do_not_see_what_they_are_put_on():
    x = np.random.default_rng(3).random((50, 1))
    other = x.copy()
    other[20:] = 1.0 - other[20:]
    for count in (None, 50):
        first, second = (stakes(values, np.ones(50), 0.95, count) for values in (x, other))
        np.testing.assert_array_equal(first[:21], second[:21])
        assert np.any(first[21:] != second[21:])


def test_values_at_the_bounds_leave_an_interval():
    for value in (0.0, 1.0):
        low, high = betting_interval(np.full((500, 1), value), np.ones(500), 0.95, 500)
        assert low[0] <= value <= high[0]
        assert high[0] - low[0] < 0.05


STANDARD = mc.Normal(0.0, 1.0)
EVENT = mc.Probability(lambda x: x, STANDARD, jnp.asarray([1.0, 1.5]))
PROPOSAL = mc.defensive(STANDARD, mc.Normal(1.5, 1.0), share=0.5)


def until(finite_sample, seed=0, problem=EVENT, proposal=PROPOSAL, **options):
    budget = mc.Tolerance(rtol=0.05, finite_sample=finite_sample)
    return mc.estimate(jax.random.key(seed), problem, proposal, budget=budget, **options)


def test_a_run_by_betting_stops_earlier_and_is_right():
    betting, bernstein = until("betting"), until("bernstein")
    low, high = betting.interval()
    assert np.all((low < ndtr([-1.0, -1.5])) & (ndtr([-1.0, -1.5]) < high))
    assert np.all(high - low <= 2 * 0.05 * betting.value)
    assert betting.num_samples < bernstein.num_samples
    assert betting.ok


def test_batches_hold_whole_units_and_grow():
    result = until("betting", problem=mc.Probability(lambda x: x, STANDARD, 1.0), points=mc.points.Sobol(16))
    sequence = result.spec.sequence
    assert np.min(sequence.sizes) == 16
    assert np.sum(sequence.sizes) == result.num_samples
    mean = np.sum(sequence.x[:, 0] * sequence.sizes) / np.sum(sequence.sizes) * sequence.largest
    assert mean == pytest.approx(result.value, rel=1e-5)


def test_functionals_share_the_bets():
    results = until("betting", functional={"p": mc.Mean(), "h": mc.Histogram([0.0, 1.0, 2.0])})
    low, high = results["h"].interval()
    assert np.all((low < ndtr([1.0, 2.0]) - ndtr([0.0, 1.0])) & (ndtr([1.0, 2.0]) - ndtr([0.0, 1.0]) < high))
    assert results["p"].interval()[0].shape == (2,)


def test_arrays_of_bounded_values():
    values = (np.random.default_rng(5).random(2_000) < 0.01) * 2.0
    by_betting = mc.estimate_from(None, values, finite_sample="betting", largest=2.0).interval()
    by_bernstein = mc.estimate_from(None, values, finite_sample="bernstein", largest=2.0).interval()
    assert by_betting[0] < 0.02 < by_betting[1]
    assert by_betting[1] - by_betting[0] < 0.6 * (by_bernstein[1] - by_bernstein[0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mc.Tolerance(rtol=0.1, finite_sample="bets"), "finite_sample must be one of"),
        (lambda: until("betting", points=mc.points.Sobol()), "points without a size grow"),
        (lambda: mc.estimate_from(None, np.ones(9), finite_sample="betting"), "needs 0 <= w f <= largest"),
        (lambda: mc.estimate_from(None, np.ones(9), finite_sample="betting", largest=0.5), "needs 0 <= w f"),
        (lambda: mc.estimate_from(None, np.full(9, np.nan), finite_sample="betting", largest=1.0), "needs 0 <= w f"),
        (lambda: mc.estimate_from(None, np.ones(9), finite_sample="odd", largest=1.0), "must be one of"),
        (
            lambda: mc.estimate_from(
                np.zeros(9),
                np.ones(9),
                finite_sample=True,
                largest=1.0,
                weighting=mc.weighting.SelfNormalised(),
            ),
            "needs raw weights",
        ),
    ],
)
def test_mistakes_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("method", ["betting", "bernstein"])
def test_no_side_lies_beyond_what_bounds_the_values(method):
    values = np.r_[np.ones(990), np.zeros(10)]
    for x in (values, 1.0 - values):
        low, high = mc.estimate_from(None, 3.0 * x, finite_sample=method, largest=3.0).interval()
        assert 0.0 <= low < 3.0 * x.mean() < high <= 3.0
