"""Control variates: 1 - r^2 of the variance, no bias from their coefficients, right intervals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcengine as mc
from tests.statistics import assert_honest

STANDARD = mc.Normal(0.0, 1.0)
EXPONENTIAL = mc.Expectation(lambda x: jnp.exp(0.5 * x), STANDARD)
EXACT = np.exp(0.125)
LINEAR = mc.Controls(lambda x: x, 0.0)


def cosine(x):
    return jnp.cos(x[0] + 0.5 * x[1]) + 0.2 * x[2] ** 2


def four(x):
    return {"first": x, "square": x[0] ** 2}


SMOOTH = mc.Expectation(cosine, mc.Normal(np.zeros(3), 1.0))
SMOOTH_EXACT = np.exp(-0.625) + 0.2
FOUR = mc.Controls(four, {"first": np.zeros(3), "square": 1.0})


def test_the_variance_falls_to_one_minus_the_squared_correlation(key):
    # r^2 = Cov^2 / Var = (e^(1/8) / 2)^2 / (e^(1/2) - e^(1/4)).
    left = 1 - 0.25 * np.exp(0.25) / (np.exp(0.5) - np.exp(0.25))
    first, second = jax.random.split(key)
    plain = mc.estimate(first, EXPONENTIAL, budget=mc.Samples(200_000))
    controlled = mc.estimate(second, EXPONENTIAL, controls=LINEAR, budget=mc.Samples(200_000))
    assert (controlled.std_error / plain.std_error) ** 2 == pytest.approx(left, rel=0.1)


@pytest.mark.parametrize(
    ("count", "points"), [(200, mc.points.IID()), (1_024, mc.points.Sobol())], ids=["200", "16 scrambles"]
)
def test_four_controls_bias_nothing_and_intervals_cover(key, count, points):
    keys = jax.random.split(key, 400)
    runs = mc.replicate(keys, SMOOTH, points=points, controls=FOUR, budget=mc.Samples(count))
    assert_honest(runs, SMOOTH_EXACT, widest_ratio=1.3)


def test_under_importance_sampling_controls_carry_the_weights(key):
    # (x - m) 1{x > a} has mean 0 where m = phi(a) / P(X > a); outputs and controls are both far below float32's range.
    level = 20.0
    exact = stats.norm.sf(level)
    centre = np.exp(stats.norm.logpdf(level) - stats.norm.logsf(level))
    problem = mc.Probability(lambda x: x, STANDARD, level)
    control = mc.Controls(lambda x: jnp.where(x > level, x - centre, 0.0), 0.0)
    first, second = jax.random.split(key)
    plain = mc.estimate(first, problem, mc.Normal(level, 1.0), budget=mc.Samples(100_000))
    result = mc.estimate(second, problem, mc.Normal(level, 1.0), controls=control, budget=mc.Samples(100_000))
    assert abs(result.value - exact) < 4 * result.std_error
    assert result.std_error < 0.75 * plain.std_error


def test_a_constant_control_does_no_harm(key):
    useless = mc.Controls(lambda x: jnp.stack([x, jnp.ones(())]), np.asarray([0.0, 1.0]))
    result = mc.estimate(key, EXPONENTIAL, controls=useless, budget=mc.Samples(50_000))
    assert abs(result.value - EXACT) < 4 * result.std_error
    twice = mc.Controls(lambda x: jnp.stack([x, x]), np.zeros(2))
    again = mc.estimate(jax.random.key(3), EXPONENTIAL, controls=twice, budget=mc.Samples(50_000))
    assert abs(again.value - EXACT) < 4 * again.std_error


def test_in_a_trace_it_is_the_same(key):
    def run(key):
        return mc.estimate(key, SMOOTH, controls=FOUR, budget=mc.Samples(4_000))

    host, traced = run(key), jax.jit(run)(key)
    np.testing.assert_allclose(traced.value, host.value, rtol=2e-6)
    np.testing.assert_allclose(traced.std_error, host.std_error, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"controls": mc.Controls(lambda x: x, np.zeros(2))}, ValueError, "the function returns shapes"),
        ({"controls": mc.Controls(lambda x: jnp.tile(x, 17), np.zeros(17))}, ValueError, "1 to 16 controls, got 17"),
        ({"controls": LINEAR, "weighting": mc.weighting.SelfNormalised()}, ValueError, "controls need raw weights"),
        ({"controls": mc.Components()}, TypeError, "no mixture"),
    ],
)
def test_mistakes_are_named(options, error, words):
    with pytest.raises(error, match=words):
        mc.estimate(jax.random.key(0), EXPONENTIAL, budget=mc.Samples(100), **options)
