"""Common random numbers: right values and error bars, and the gain that the closed form promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcengine as mc
from tests.statistics import assert_honest


class Call:
    """max(x - strike, 0), one compilation for each strike."""

    def __init__(self, strike):
        self.strike = strike

    def __call__(self, x):
        return jnp.maximum(x - self.strike, 0.0)


def growth(loc, scale=1.0):
    """E[exp X] = exp(loc + scale^2 / 2)."""
    return mc.Expectation(jnp.exp, mc.Normal(loc, scale), exact=np.exp(loc + 0.5 * scale**2))


def tail(threshold, loc=0.0):
    return mc.Probability(lambda x: x, mc.Normal(loc, 1.0), threshold, exact=stats.norm.sf(threshold - loc))


BUMP = 0.05


def test_the_gain_of_a_bumped_mean_is_that_of_the_closed_form(key):
    # With the same Z, f_1 = e^h f_2: Var(f_1) + Var(f_2) over Var(f_1 - f_2) is (e^2h + 1) / (e^h - 1)^2.
    result = mc.estimate(key, mc.difference(growth(BUMP), growth(0.0)), budget=mc.Samples(100_000))
    assert mc.pairing_gain(result) == pytest.approx((np.exp(2 * BUMP) + 1) / np.expm1(BUMP) ** 2, rel=1e-3)
    one_sample = np.expm1(BUMP) ** 2 * (np.exp(2.0) - np.exp(1.0))
    assert result.std_error["difference"] == pytest.approx(np.sqrt(one_sample / 100_000), rel=0.1)
    derivative = result.value["difference"] / BUMP
    # (e^h - 1)/h times the derivative exp(1/2).
    assert derivative == pytest.approx(
        np.exp(0.5) * np.expm1(BUMP) / BUMP, abs=4 * result.std_error["difference"] / BUMP
    )


# Two laws of different scale, and two functions of one law under a proposal; neither is symmetric.
UNEQUAL = mc.difference(growth(0.3, 0.5), growth(-0.2, 0.4))
STRIKES = mc.difference(mc.Expectation(Call(0.5), mc.Normal(0.0, 1.0)), mc.Expectation(Call(1.0), mc.Normal(0.0, 1.0)))
TAILS = mc.difference(tail(2.5, 0.2), tail(2.5), proposals=(mc.Normal(2.5, 1.0), mc.Normal(2.7, 1.1)))
LIMITS = mc.difference(mc.Integral(jnp.exp, 0.0, 1.1), mc.Integral(jnp.exp, 0.0, 1.0))


def call_value(strike):
    return stats.norm.pdf(strike) - strike * stats.norm.sf(strike)


@pytest.mark.parametrize(
    ("problem", "proposal", "points", "count", "exact"),
    [
        (UNEQUAL, None, mc.points.IID(), 500, UNEQUAL.exact["difference"]),
        (LIMITS, None, mc.points.Sobol(), 512, np.exp(1.1) - np.e),
        (STRIKES, mc.Normal(0.7, 1.2), mc.points.IID(), 500, call_value(0.5) - call_value(1.0)),
        (TAILS, None, mc.points.IID(), 500, TAILS.exact["difference"]),
        (TAILS, None, mc.points.Antithetic(), 500, TAILS.exact["difference"]),
    ],
    ids=["scales", "limits, Sobol", "one target, proposal", "two proposals", "two proposals, antithetic"],
)
def test_the_difference_has_an_honest_bar_of_its_own(key, problem, proposal, points, count, exact):
    runs = mc.replicate(jax.random.split(key, 400), problem, proposal, points=points, budget=mc.Samples(count))
    assert_honest(_part(runs, "difference"), exact, widest_ratio=1.3)
    np.testing.assert_allclose(
        runs.value["difference"], runs.value["first"] - runs.value["second"], rtol=1e-3, atol=1e-6
    )


class _part:
    """One output of a batch of estimates."""

    def __init__(self, runs, name):
        self.value, self.std_error, self.num_units = runs.value[name], runs.std_error[name], runs.num_units
        self.interval = lambda level: tuple(side[name] for side in runs.interval(level))


def test_unpaired_runs_spread_as_the_gain_says(key):
    count, (first_key, second_key, paired_key) = mc.Samples(500), jax.random.split(key, 3)
    first = mc.replicate(jax.random.split(first_key, 400), growth(0.3, 0.5), budget=count)
    second = mc.replicate(jax.random.split(second_key, 400), growth(-0.2, 0.4), budget=count)
    paired = mc.replicate(jax.random.split(paired_key, 400), UNEQUAL, budget=count)
    measured = np.var(first.value - second.value) / np.var(paired.value["difference"])
    assert np.median(mc.pairing_gain(paired)) == pytest.approx(measured, rel=0.25)
    assert measured > 3


def test_integrals_over_other_limits_share_uniforms(key):
    result = mc.estimate(key, LIMITS, points=mc.points.Sobol(), budget=mc.Samples(2**14))
    assert abs(result.value["difference"] - (np.exp(1.1) - np.e)) < 5 * result.std_error["difference"]
    assert result.std_error["difference"] < 1e-4
    same = mc.difference(mc.Integral(jnp.exp, 0.0, 1.0), mc.Integral(jnp.sin, 0.0, 1.0))
    assert same.coupling is None  # equal limits are one target


def test_rare_events_far_below_the_smallest_float_are_still_subtracted(key):
    problem = mc.difference(tail(20.0, 0.1), tail(20.0), proposals=(mc.Normal(20.0, 1.0), mc.Normal(20.0, 1.0)))
    result = mc.estimate(key, problem, budget=mc.Samples(100_000))
    assert problem.exact["difference"] == pytest.approx(1.76e-88, rel=0.01)
    assert abs(result.value["difference"] - problem.exact["difference"]) < 4 * result.std_error["difference"]
    assert result.std_error["difference"] < 0.02 * result.value["difference"]


def test_fewer_uniforms_share_the_first_ones(key):
    def total(dim):
        return mc.Expectation(lambda x: jnp.exp(0.3 * jnp.sum(x)), mc.Normal(jnp.zeros(dim), 1.0))

    result = mc.estimate(key, mc.difference(total(3), total(2)), budget=mc.Samples(50_000))
    exact = np.exp(0.135) - np.exp(0.09)
    assert abs(result.value["difference"] - exact) < 4 * result.std_error["difference"]
    assert mc.pairing_gain(result) > 3


def test_values_may_be_trees_and_one_law_without_a_transport_is_shared(key):
    class Walk:
        def sample(self, key):
            return jnp.cumsum(jax.random.normal(key, (3,)))

        def log_prob(self, x):
            return -0.5 * jnp.sum(jnp.diff(x, prepend=0.0) ** 2)

    def of(power):
        return mc.Expectation(lambda x: {"a": x**power, "b": jnp.max(x)}, walk)

    walk = Walk()
    result = mc.estimate(key, mc.difference(of(3), of(1)), budget=mc.Samples(1_000))
    assert result.value["difference"]["a"].shape == (3,)
    assert result.value["difference"]["b"] == 0.0
    assert mc.pairing_gain(result)["a"].shape == (3,)


def test_in_a_trace_it_is_the_same_and_differentiable(key):
    def run(loc):
        problem = mc.difference(growth_of(loc + BUMP), growth_of(loc))
        return mc.estimate(key, problem, budget=mc.Samples(4_000))

    def growth_of(loc):
        return mc.Expectation(jnp.exp, mc.Normal(loc, 1.0))

    traced, gradient = jax.jit(jax.value_and_grad(lambda loc: run(loc).value["difference"]))(0.1)
    assert float(traced) == pytest.approx(float(run(0.1).value["difference"]), rel=2e-5)
    # d/dloc of (e^h - 1) exp(loc + 1/2) is itself.
    assert float(gradient) == pytest.approx(float(traced), rel=1e-4)


def test_a_tolerance_on_the_difference_alone_is_cheap(key):
    alone = mc.difference(growth(BUMP), growth(0.0), only_difference=True)
    result = mc.estimate(key, alone, budget=mc.Tolerance(rtol=0.02, atol=0.0))
    low, high = result.interval()
    assert result.ok
    assert low <= alone.exact <= high
    assert high - low <= 2 * 0.02 * result.value * 1.001
    weighted = mc.difference(tail(4.0, 0.1), tail(4.0), [mc.Normal(4.0, 1.0)] * 2, only_difference=True)
    result = mc.estimate(key, weighted, budget=mc.Samples(20_000))
    assert abs(result.value - weighted.exact) < 4 * result.std_error


class Sampler:
    """A law of ours by half: it draws, but not through uniforms."""

    def __init__(self, loc):
        self.loc = loc

    def sample(self, key):
        return self.loc + jax.random.normal(key)

    def log_prob(self, x):
        return -0.5 * (x - self.loc) ** 2


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: mc.difference(mc.Expectation(jnp.exp, Sampler(0.0)), growth(0.0)),
            TypeError,
            "needs transports.* and Sampler is not one",
        ),
        (
            lambda: mc.difference(growth(0.0), mc.Expectation(lambda x: jnp.stack([x, x]), mc.Normal(0.0, 1.0))),
            ValueError,
            r"values have shape \(\), the second's \(2,\)",
        ),
        (lambda: mc.difference(growth(0.1), growth(0.0), proposals=mc.Normal(0.0, 1.0)), TypeError, "must be a pair"),
        (
            lambda: mc.difference(growth(0.1), growth(0.0), [mc.Normal(0.0, 1.0), mc.Normal([0.0, 0.0], 1.0)]),
            ValueError,
            r"the second proposal's samples have shape \(2,\)",
        ),
        (
            lambda: mc.estimate(
                jax.random.key(0), mc.difference(growth(0.1), growth(0.0)), mc.Normal(0.0, 2.0), budget=mc.Samples(9)
            ),
            ValueError,
            "samples have shape",
        ),
        (
            lambda: mc.estimate(
                jax.random.key(0), TAILS, weighting=mc.weighting.SelfNormalised(), budget=mc.Samples(1_000)
            ),
            ValueError,
            "one log-weight per sample",
        ),
        (
            lambda: mc.estimate(
                jax.random.key(0), TAILS, controls=mc.Controls(lambda x: x.first, 0.0), budget=mc.Samples(1_000)
            ),
            ValueError,
            "weighs each output by itself",
        ),
        (
            lambda: mc.pairing_gain(mc.estimate(jax.random.key(0), growth(0.0), budget=mc.Samples(100))),
            ValueError,
            "all three values",
        ),
    ],
)
def test_mistakes_are_named(make, error, words):
    with pytest.raises(error, match=words):
        make()
