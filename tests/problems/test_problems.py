"""Problems: what they refuse, in whose name, and which gradients along their numbers exist."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc

STANDARD = mc.Normal(0.0, 1.0)
BUDGET = mc.Samples(4_096)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mc.Probability(lambda x: x, STANDARD, np.nan), "Probability: the threshold is NaN.*threshold=nan"),
        (lambda: mc.Probability(lambda x: x, STANDARD, [1.0, np.nan]), r"the threshold is NaN.*\[ 1\. nan\]"),
        (lambda: mc.Integral(lambda x: x, 1.0, 0.0), "Integral: limits are upside down: lower=1.0"),
        (lambda: mc.Integral(lambda x: x, [0.0, 1.0], [1.0, 1.0]), "Integral: lower and upper are equal"),
        (lambda: mc.Integral(lambda x: x, np.nan, 1.0), "Integral: a limit is NaN"),
        (lambda: mc.Integral(lambda x: x, [0.0], 1.0), r"Integral: .* same shape, got \(1,\) and \(\)"),
        (lambda: mc.Box(1.0, 0.0), "Box: limits are upside down"),
    ],
)
def test_a_problem_refuses_bad_numbers_in_its_own_name(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_infinite_thresholds_are_thresholds():
    problem = mc.Probability(lambda x: x, STANDARD, [-jnp.inf, jnp.inf])
    np.testing.assert_array_equal(problem.integrand(jnp.asarray(0.0)), [1.0, 0.0])


def test_a_score_that_does_not_fit_the_threshold_is_refused(key):
    vector = mc.Normal(jnp.zeros(3), 1.0)
    with pytest.raises(ValueError, match=r"Probability: the score .* threshold's shape \(\), got shape \(3,\)"):
        mc.estimate(key, mc.Probability(lambda x: x, vector, 1.0), budget=BUDGET)
    with pytest.raises(ValueError, match=r"threshold's shape \(2,\), got shape \(3,\)"):
        mc.Probability(lambda x: x, vector, [1.0, 2.0]).integrand(jnp.zeros(3))
    per_level = mc.Probability(lambda x: x, vector, [-1.0, 0.0, 1.0]).integrand(jnp.zeros(3))
    np.testing.assert_array_equal(per_level, [1.0, 1.0, 0.0])


def integral_of_square(key, upper, proposal=None):
    problem = mc.Integral(lambda x: x**2, 0.0, upper)
    return mc.estimate(key, problem, proposal, budget=BUDGET).value


def test_the_gradient_along_a_limit_is_the_integrand_there_without_a_proposal(key):
    slope = jax.jit(jax.grad(integral_of_square, argnums=1))(key, 2.0)
    assert float(slope) == pytest.approx(4.0, abs=0.2)

    def tail(lower):
        return mc.estimate(key, mc.Integral(lambda x: jnp.exp(-x), lower, jnp.inf), budget=BUDGET).value

    assert float(jax.grad(tail)(0.5)) == pytest.approx(-np.exp(-0.5), abs=0.05)


def test_the_gradient_along_a_limit_raises_with_a_proposal(key):
    proposals = [mc.Uniform(0.0, 5.0), lambda upper: jax.lax.stop_gradient(mc.Box(0.0, upper))]
    for proposal in proposals:

        def value(upper, proposal=proposal):
            return integral_of_square(key, upper, proposal(upper) if callable(proposal) else proposal)

        with pytest.raises(ValueError, match="pathwise form: give no proposal"):
            jax.grad(value)(2.0)


def test_other_gradients_of_an_integral_live_with_a_proposal(key):
    def value(factor):
        problem = mc.Integral(lambda x: factor * x**2, 0.0, 2.0)
        return mc.estimate(key, problem, mc.Uniform(0.0, 5.0), budget=BUDGET).value

    assert float(jax.grad(value)(3.0)) == pytest.approx(8 / 3, abs=0.3)


class OnlyDensity:
    """A target known up to a constant, from which nobody can draw."""

    def log_prob(self, x):
        return -0.5 * (x - 1.0) ** 2


def test_a_target_known_by_its_density_alone_is_a_target():
    target = OnlyDensity()
    assert mc.Expectation(lambda x: x, target).target is target
    assert mc.Probability(lambda x: x, target, 0.0).target is target
    with pytest.raises(TypeError, match="float is not a distribution: it has no method log_prob"):
        mc.Expectation(lambda x: x, 1.0)
    with pytest.raises(TypeError, match="OnlyDensity is not a distribution: it has no method sample"):
        mc.as_distribution(target)
