"""Quantiles and expected shortfalls from weighted losses, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import mcengine as mc
from mcengine.inference.tail_risk import tail_risk
from tests.statistics import least_covered

LEVELS = (0.99, 0.999)
LOSS = mc.Expectation(lambda x: x, mc.Normal(0.0, 1.0))
QUANTILE = norm.ppf(LEVELS)
SHORTFALL = norm.pdf(QUANTILE) / (1 - np.asarray(LEVELS))


def run(seed, proposal=mc.Normal(3.0, 1.0), num_samples=4_096, levels=LEVELS, **options):
    functional = mc.TailRisk(levels)
    budget = mc.Samples(num_samples)
    return mc.estimate(jax.random.key(seed), LOSS, proposal, budget=budget, functional=functional, **options)


def made_conditional():
    problem = mc.Probability(lambda x: x[0] + 2.0 * x[1], mc.Normal(jnp.zeros(2), jnp.ones(2)), 6.0)
    return mc.conditional(problem, 1)


def of(problem, functional=mc.TailRisk([0.9]), num_samples=1_000, **options):
    return mc.estimate(jax.random.key(0), problem, budget=mc.Samples(num_samples), functional=functional, **options)


@pytest.mark.battery
@pytest.mark.parametrize(
    ("proposal", "options"),
    [
        (mc.Normal(3.0, 1.0), {}),
        (mc.Normal(2.0, 1.5), {"weighting": mc.weighting.SelfNormalised()}),
        (mc.Normal(3.0, 1.0), {"points": mc.points.Sobol()}),
    ],
    ids=["shifted", "self-normalised", "sobol"],
)
def test_intervals_of_both_figures_cover(proposal, options):
    covered = np.zeros((2, 2))
    for seed in range(400):
        low, high = run(seed, proposal, **options).interval()
        covered[0] += (low["quantile"] <= QUANTILE) & (high["quantile"] >= QUANTILE)
        covered[1] += (low["shortfall"] <= SHORTFALL) & (high["shortfall"] >= SHORTFALL)
    assert covered.min() >= 364


def test_errors_have_the_right_size_and_intervals_cover():
    runs = [run(seed) for seed in range(100)]
    for name, exact in (("quantile", QUANTILE), ("shortfall", SHORTFALL)):
        sides = [r.interval() for r in runs]
        covered = sum((low[name] <= exact) & (exact <= high[name]) for low, high in sides)
        assert covered.min() >= least_covered(100)
    for name, exact in (("quantile", QUANTILE), ("shortfall", SHORTFALL)):
        values = np.asarray([r.value[name] for r in runs])
        errors = np.median([r.std_error[name] for r in runs], axis=0)
        # A sample quantile is biased by less than half an error.
        np.testing.assert_allclose(values.mean(axis=0), exact, atol=0.5 * errors.max())
        np.testing.assert_allclose(values.std(axis=0), errors, rtol=0.3)


def test_discrete_losses_and_their_atoms():
    dice = mc.Expectation(lambda x: jnp.asarray(x, float), mc.Categorical([0.9, 0.06, 0.04]))
    functional = mc.TailRisk([0.5, 0.95, 0.97])
    result = mc.estimate(jax.random.key(1), dice, budget=mc.Samples(100_000), functional=functional)
    np.testing.assert_array_equal(result.value["quantile"], [0.0, 1.0, 2.0])
    # Beyond .5: (.06 + 2 x .04) / .5; beyond .95: 1 + .04 / .05; the atom at 2 is all there is beyond .97.
    np.testing.assert_allclose(result.value["shortfall"], [0.28, 1.8, 2.0], rtol=0.02)
    assert result.ok


def test_plain_weights_give_the_empirical_quantile():
    losses = np.random.default_rng(0).permutation(np.arange(1.0, 1_001.0))
    values, _, _, _ = tail_risk(None, losses, (0.9, 0.995), unit_size=1, self_normalised=False)
    # P(L > 900) = .1 and P(L > 995) = .005.
    np.testing.assert_array_equal(values["quantile"], [900.0, 995.0])
    np.testing.assert_allclose(values["shortfall"], [950.5, 998.0])


def test_points_in_units_narrow_the_shortfall():
    plain, sobol = run(3, num_samples=2**14), run(3, num_samples=2**14, points=mc.points.Sobol())
    assert sobol.num_units == 16
    assert np.all(sobol.std_error["shortfall"] < 0.5 * plain.std_error["shortfall"])
    np.testing.assert_allclose(sobol.value["shortfall"], SHORTFALL, rtol=2e-3)


def test_a_level_beyond_the_samples_is_open_above():
    result = run(0, proposal=None, num_samples=500, levels=[0.9999])
    assert result.interval()[1]["quantile"][0] == np.inf
    assert not result.ok
    assert result.to_dict()["quantile_high"] == [None]


def test_a_shortfall_beyond_the_samples_has_no_error_bar():
    result = run(0, proposal=None, num_samples=1_000, levels=[0.9, 0.9999])
    assert np.isfinite(result.std_error["shortfall"][0])
    assert np.isnan(result.std_error["shortfall"][1])
    low, high = result.interval()
    assert (low["shortfall"][1], high["shortfall"][1]) == (-np.inf, np.inf)
    # One seed's largest loss is no bound on the mean beyond it: all of 100 intervals hold, or are open.
    runs = [run(seed, proposal=None, num_samples=1_000, levels=[0.9999]).interval() for seed in range(100)]
    truth = norm.pdf(norm.ppf(0.9999)) / 1e-4
    assert sum(low["shortfall"][0] <= truth <= high["shortfall"][0] for low, high in runs) == 100


def test_few_units_are_flagged_and_one_has_no_error_bar():
    one, two = (run(0, num_samples=n, levels=[0.9], points=mc.points.Sobol(1024)) for n in (1024, 2048))
    assert one.status == two.status == mc.Status.FEW_UNITS
    assert all(np.isnan(error[0]) for error in one.std_error.values())
    for side, end in zip(one.interval(), (-np.inf, np.inf), strict=True):
        assert [float(x[0]) for x in side.values()] == [end, end]
    assert np.isfinite(two.std_error["shortfall"][0])


@pytest.mark.parametrize("proposal", [None, mc.Uniform(0.0, 0.05)])
def test_an_integral_is_the_law_of_a_uniform_point(proposal):
    # The box has volume 1/20; the .9 quantile and the mean beyond it do not.
    result = of(mc.Integral(lambda x: x, 0.0, 0.05), proposal=proposal, num_samples=10_000)
    low, high = result.interval()
    assert result.ok
    assert low["quantile"][0] < 0.045 < high["quantile"][0]
    assert low["shortfall"][0] < 0.0475 < high["shortfall"][0]
    assert high["shortfall"][0] - low["shortfall"][0] < 1e-3


def test_the_result_reads_and_serialises():
    import json

    result = run(0)
    assert "0.999: quantile 3." in str(result)
    assert "status: ok" in str(result)
    assert json.loads(json.dumps(result.to_dict()))["levels"] == [0.99, 0.999]


def test_non_finite_losses_are_counted():
    bad = mc.Expectation(lambda x: jnp.where(x > 1.0, jnp.nan, x), mc.Normal(0.0, 1.0))
    result = mc.estimate(jax.random.key(0), bad, budget=mc.Samples(1_000), functional=mc.TailRisk([0.9]))
    assert result.status == mc.Status.NON_FINITE
    assert 100 < result.num_nonfinite < 220


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mc.TailRisk([1.0]), "levels must lie strictly between 0 and 1"),
        (lambda: mc.TailRisk([]), "levels must lie strictly between 0 and 1"),
        (lambda: run(0, controls=mc.Controls(lambda x: x, 0.0)), "no controls"),
        (lambda: run(0, weighting=mc.weighting.Truncated()), "raw or self-normalised"),
        (lambda: run(0).interval(0.0), "level must lie strictly"),
        (lambda: of(mc.Integral(lambda x: x, 0.0, np.inf)), "infinite sides"),
        (lambda: of(made_conditional()), "Give the functional the Probability itself"),
        (lambda: of(made_conditional(), mc.Histogram([0.0, 1.0])), "Give the functional the Probability itself"),
        (lambda: mc.Histogram([1.0]), "at least two increasing numbers"),
        (lambda: mc.Histogram([1.0, 1.0]), "at least two increasing numbers"),
    ],
)
def test_mistakes_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_histogram_bins_are_probabilities(key):
    edges = np.linspace(-3.0, 3.0, 7)
    result = mc.estimate(key, LOSS, mc.Normal(0.0, 1.5), budget=mc.Samples(50_000), functional=mc.Histogram(edges))
    exact = np.diff(norm.cdf(edges))
    assert np.all(np.abs(result.value - exact) < 4.5 * result.std_error)
    density = mc.estimate(
        jax.random.key(1), LOSS, budget=mc.Samples(50_000), functional=mc.Histogram(edges / 2, density=True)
    )
    np.testing.assert_allclose(np.sum(density.value) * 0.5, norm.cdf(1.5) - norm.cdf(-1.5), atol=0.01)
