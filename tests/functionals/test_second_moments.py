"""Variances and covariances: location, several outputs, integrals, arrays, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc

STANDARD = mc.Normal(0.0, 1.0)
BUDGET = mc.Samples(8_192)


def centred(x):
    return x


def far_from_zero(x):
    return x + 50.0


def test_the_variance_does_not_depend_on_the_location(key):
    wide = mc.Normal(0.2, 1.4)
    here, there = (
        mc.estimate(key, mc.Expectation(f, STANDARD), wide, budget=BUDGET, functional=mc.Variance())
        for f in (centred, far_from_zero)
    )
    assert there.value == pytest.approx(here.value, rel=2e-3)
    assert there.std_error == pytest.approx(here.std_error, rel=0.05)


def test_every_output_has_its_variance_and_the_covariance_is_that_of_two():
    values = np.random.default_rng(0).multivariate_normal([1.0, -2.0], [[2.0, 0.6], [0.6, 1.0]], 5_000)
    found = mc.estimate_from(None, values, functional={"variance": mc.Variance(), "covariance": mc.Covariance(0, 1)})
    # The population's own moments: divided by n.
    np.testing.assert_allclose(found["variance"].value, values.var(axis=0), rtol=1e-10)
    np.testing.assert_allclose(found["covariance"].value, np.cov(values.T, ddof=0)[0, 1], rtol=1e-10)
    # The delta method: Var(s^2) = (E[(x - m)^4] - s^4) / n.
    moments = ((values - values.mean(axis=0)) ** 4).mean(axis=0) - values.var(axis=0) ** 2
    np.testing.assert_allclose(found["variance"].std_error, np.sqrt(moments / len(values)), rtol=1e-2)


def test_the_variance_of_an_integral_is_that_of_a_uniform_point(key):
    found = mc.estimate(key, mc.Integral(centred, 0.0, 2.0), budget=BUDGET, functional=mc.Variance())
    assert abs(found.value - 1.0 / 3.0) < 4 * found.std_error
    with pytest.raises(ValueError, match="infinite sides"):
        mc.estimate(key, mc.Integral(lambda x: jnp.exp(-x * x), -jnp.inf, 1.0), budget=BUDGET, functional=mc.Variance())


def test_inside_a_trace_it_is_the_same(key):
    def run(key):
        return mc.estimate(key, mc.Expectation(centred, STANDARD), budget=BUDGET, functional=mc.Variance())

    traced = jax.jit(lambda key: (run(key).value, run(key).std_error))(key)
    np.testing.assert_allclose(traced, (run(key).value, run(key).std_error), rtol=1e-4)


def test_what_is_refused(key):
    vector = mc.Expectation(lambda x: {"a": jnp.stack([x, x]), "b": x}, STANDARD)
    with pytest.raises(ValueError, match="Covariance: output 'a' must be one number"):
        mc.estimate(key, vector, budget=BUDGET, functional=mc.Covariance("a", "b"))
    with pytest.raises(ValueError, match="at least one"):
        mc.ProbabilityOfExceeding([])
    with pytest.raises(ValueError, match="must be numbers"):
        mc.ProbabilityOfExceeding([1.0, float("nan")])
    found = mc.estimate(key, mc.Expectation(centred, STANDARD), budget=BUDGET, functional=mc.Variance())
    with pytest.raises(TypeError, match="functions of means do not merge"):
        found.merge(found)
