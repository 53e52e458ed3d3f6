"""Conditional Monte Carlo: exact values, less variance, smooth integrands, and boundaries that are looked at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import mcengine as mc
from mcengine.finance import conditional_index_fall, index_fall
from tests.statistics import assert_honest

PAIR = mc.Normal(np.asarray([0.0, 0.5]), np.asarray([1.0, 0.7]))


def total(target=PAIR, threshold=2.0):
    return mc.Probability(jnp.sum, target, threshold)


def exact_total(threshold):
    return stats.norm.sf((threshold - 0.5) / np.sqrt(1.49))


def left_of(y, threshold):
    return threshold - jnp.sum(y)


def both(problem, *arguments, **options):
    return problem, mc.conditional(problem, *arguments, **options)


MIXED = mc.Product([mc.Exponential(2.0), mc.Normal(np.zeros(2), np.asarray([1.0, 0.3])), mc.StudentT(4.0, 0.2, 0.5)])


def uneven(x):
    # Falls in x_1, rises in the others, and not by straight lines.
    return x[0] ** 2 - jnp.exp(0.5 * x[1]) + 0.5 * x[2] + x[3]


# Made when they are needed: each compiles its probes.
CASES = {
    "last of a sum": lambda: both(total()),
    "first of a sum, boundary known": lambda: both(total(), 0, left_of),
    "falling, inside a product": lambda: both(mc.Probability(uneven, MIXED, 0.5), 1),
    "scalar part of a product": lambda: both(mc.Probability(uneven, MIXED, 0.5), 0),
    "either way": lambda: both(mc.Probability(lambda x: x[0] * x[1], PAIR, 0.8), 0),
    "levels": lambda: both(total(threshold=[1.0, 3.0])),
    "beside a truncated part": lambda: both(
        mc.Probability(jnp.sum, mc.Product([mc.Truncated(PAIR, -1.0, [1.5, 2.0]), mc.Normal([0.5], 0.4)]), 2.0)
    ),
}


# The others go the ways of these.
SLOW = ("first of a sum, boundary known", "scalar part of a product", "levels")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.battery) if case in SLOW else case for case in CASES], ids=str
)
def test_it_agrees_with_the_indicator_with_less_variance(key, case):
    problem, smooth = CASES[case]()
    first, second = jax.random.split(key)
    plain = mc.estimate(first, problem, budget=mc.Samples(100_000))
    result = mc.estimate(second, smooth, budget=mc.Samples(50_000))
    error = np.hypot(plain.std_error, result.std_error)
    assert np.all(np.abs(result.value - plain.value) < 4 * error)
    assert result.ok
    # Rao and Blackwell, of one sample; 2 % for the noise of both variances.
    assert np.all(50_000 * result.std_error**2 < 1.02 * 100_000 * plain.std_error**2)


def test_the_boundary_that_is_searched_is_the_one_that_is_known():
    known, searched = mc.conditional(total(), 0, left_of), mc.conditional(total(), 0)
    y = jnp.linspace(-9.0, 9.0, 37)[:, None]
    of = [jax.vmap(problem.integrand)(y) for problem in (known, searched)]
    np.testing.assert_allclose(of[1], of[0], rtol=2e-5)
    np.testing.assert_allclose(of[0], stats.norm.sf(2.0 - y[:, 0]), rtol=1e-4)


@pytest.mark.parametrize(
    ("proposal", "points", "count"),
    [
        (None, mc.points.IID(), 500),
        (mc.Normal(np.asarray([1.0]), 1.0), mc.points.IID(), 500),
        pytest.param(None, mc.points.Stratified(), 512, marks=pytest.mark.battery),
    ],
    ids=["plain", "proposal on the rest", "stratified"],
)
def test_intervals_cover(key, proposal, points, count):
    _, smooth = CASES["last of a sum"]()
    runs = mc.replicate(jax.random.split(key, 400), smooth, proposal, points=points, budget=mc.Samples(count))
    assert_honest(runs, exact_total(2.0), widest_ratio=1.3)


@pytest.mark.battery
def test_a_rare_sum_gains_a_hundredfold(key):
    # E[sf(6 - Y)^2] by quadrature: the variance that the closed form promises.
    smooth = mc.conditional(total(mc.Normal(np.zeros(2), 1.0), 6.0))
    p = stats.norm.sf(6.0 / np.sqrt(2.0))
    second_moment = integrate.quad(lambda y: stats.norm.pdf(y) * stats.norm.sf(6.0 - y) ** 2, -10, 16)[0]
    gain = p * (1 - p) / (second_moment - p**2)
    assert gain > 80
    result = mc.estimate(key, smooth, mc.Normal(np.asarray([3.0]), 1.0), budget=mc.Samples(50_000))
    assert abs(result.value - p) < 4 * result.std_error
    square = mc.Expectation(lambda y: smooth.integrand(y) ** 2, smooth.target)
    measured = mc.estimate(key, square, mc.Normal(np.asarray([5.0]), 1.2), budget=mc.Samples(50_000))
    assert p * (1 - p) / (measured.value - p**2) == pytest.approx(gain, rel=0.03)


@pytest.mark.battery
def test_smoothing_lets_sobol_points_gain(key):
    problem = mc.Probability(lambda x: x[0] + 0.7 * x[1] - 0.4 * x[2], mc.Normal(np.zeros(3), 1.0), 1.0)
    smooth = mc.conditional(problem, 0, lambda y, t: t - 0.7 * y[0] + 0.4 * y[1])
    p = stats.norm.sf(1.0 / np.sqrt(1.65))
    keys, budget = jax.random.split(key, 30), mc.Samples(2**13)
    variances = {}
    for name, of in (("indicator", problem), ("smooth", smooth)):
        runs = mc.replicate(keys, of, points=mc.points.Sobol(), budget=budget)
        assert abs(np.mean(runs.value) - p) < 5 * np.std(runs.value) / np.sqrt(30)
        independent = mc.replicate(keys, of, budget=budget)
        variances[name] = np.var(independent.value) / np.var(runs.value)
    assert variances["smooth"] > 20 * variances["indicator"]


@pytest.mark.parametrize("boundary", [None, left_of], ids=["searched", "known"])
def test_a_pathwise_gradient_is_that_of_the_closed_form(key, boundary):
    @jax.jit
    def value(loc, threshold):
        target = mc.Normal(jnp.stack([loc, jnp.asarray(0.5)]), jnp.asarray([1.0, 0.7]))
        problem = mc.conditional(mc.Probability(jnp.sum, target, threshold), 0, boundary)
        return mc.estimate(key, problem, budget=mc.Samples(20_000)).value

    gradient = jax.grad(value, (0, 1))(0.2, 2.0)
    exact = stats.norm.pdf(1.3 / np.sqrt(1.49)) / np.sqrt(1.49)
    np.testing.assert_allclose(gradient, [exact, -exact], rtol=0.02)


def test_the_gradient_runs_through_a_curved_score(key):
    @jax.jit
    def value(strength):
        problem = mc.conditional(mc.Probability(Curved(strength), PAIR, 2.0), 1)
        return mc.estimate(key, problem, budget=mc.Samples(20_000)).value

    step = 0.05
    difference = (float(value(0.8 + step)) - float(value(0.8 - step))) / (2 * step)
    assert float(jax.grad(value)(0.8)) == pytest.approx(difference, rel=0.01)


class Curved:
    """exp(x_0 / 2) + strength (x_1 + x_1^3 / 4)."""

    def __init__(self, strength):
        self.strength = strength

    def __call__(self, x):
        return jnp.exp(0.5 * x[0]) + self.strength * (x[1] + 0.25 * x[1] ** 3)


def test_always_never_and_nan():
    saturating = mc.conditional(mc.Probability(lambda x: jnp.tanh(x[0]) + x[1], PAIR, 1.0), 0)
    found = jax.vmap(saturating.integrand)(jnp.asarray([[2.5], [-0.5], [1.0], [jnp.nan]]))
    np.testing.assert_allclose(found, [1.0, 0.0, 0.5, np.nan], rtol=1e-5)


@pytest.mark.battery  # slow
def test_the_last_day_of_an_index_in_closed_form(key):
    problem, smooth = index_fall(0.1, 5), conditional_index_fall(0.1, 5)
    assert smooth.exact == problem.exact
    runs = mc.replicate(jax.random.split(key, 32), smooth, budget=mc.Samples(20_000))
    p = float(problem.exact)
    assert abs(np.mean(runs.value) - p) < 4 * np.std(runs.value) / np.sqrt(32)
    assert np.mean(runs.std_error**2) < 0.7 * p * (1 - p) / 20_000


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: mc.conditional(mc.Expectation(jnp.sum, PAIR)), TypeError, "must be a Probability, got Expectation"),
        (lambda: mc.conditional(total(mc.Normal(0.0, 1.0))), ValueError, "a vector of at least 2 numbers"),
        (lambda: mc.conditional(total(), 2), ValueError, "no coordinate 2 among 2"),
        (
            lambda: mc.conditional(total(mc.MultivariateNormal(np.zeros(2), np.eye(2)))),
            TypeError,
            "not a distribution of independent coordinates",
        ),
        (
            lambda: mc.conditional(total(mc.Product([mc.Normal(0.0, 1.0), mc.Poisson(2.0)]))),
            TypeError,
            "Poisson has no log_cdf",
        ),
        (
            lambda: mc.conditional(mc.Probability(lambda x: jnp.sum(x**2), PAIR, 1.0)),
            ValueError,
            "It is not monotone there",
        ),
        (lambda: mc.conditional(total(), 0, lambda y, t: t + y[0]), ValueError, "The boundary is wrong"),
        (lambda: mc.conditional(total(), 0, left_of, above=False), ValueError, "see `above`"),
        (lambda: mc.conditional(mc.Probability(lambda x: x, PAIR, 1.0)), ValueError, "must be a scalar"),
    ],
)
def test_mistakes_are_named(make, error, words):
    with pytest.raises(error, match=words):
        make()
