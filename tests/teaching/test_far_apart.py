"""Target and proposal far apart: exact value, predicted variance, and the failure itself."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

import mcengine as mc
from mcengine.teaching import between, far_apart, predicted_variance
from mcengine.teaching.far_apart import normal_mean
from tests.teaching.replicates import replicates


def by_series(loc, scale, steepness, terms=400):
    """E[tanh(a X)] from tanh(y) = 1 - 2 sum_k (-1)^(k+1) exp(-2 k y), y > 0, each term a normal integral.

    The alternating sums converge like 1/k; averages of neighbouring partial sums, repeated, converge fast (Euler).
    """

    def half_line(mean):
        k = np.arange(1, terms + 1)
        # E[exp(-b X); X > 0] = exp(-mean^2/2s^2) erfcx((b s - mean/s)/sqrt 2)/2.
        b = 2 * steepness * k
        term = np.exp(-0.5 * (mean / scale) ** 2) * special.erfcx((b * scale - mean / scale) / math.sqrt(2)) / 2
        partial = np.cumsum(np.where(k % 2 == 1, 1.0, -1.0) * term)
        for _ in range(60):
            partial = (partial[1:] + partial[:-1]) / 2
        return special.ndtr(mean / scale) - 2 * partial[-1]

    return half_line(loc) - half_line(-loc)


CASES = [(-1.5, 1.0, 2.0), (0.3, 0.7, 1.0), (2.0, 3.0, 5.0)]


@pytest.mark.parametrize(("loc", "scale", "steepness"), CASES)
def test_the_exact_mean_is_that_of_the_series_and_of_quadrature(loc, scale, steepness):
    exact = float(far_apart(loc, scale, steepness).exact)
    assert exact == pytest.approx(by_series(loc, scale, steepness), rel=1e-10)
    adaptive, _ = integrate.quad(
        lambda x: math.tanh(steepness * x) * stats.norm.pdf(x, loc, scale),
        loc - 12 * scale, loc + 12 * scale, points=[0.0], epsabs=1e-13, limit=500,
    )  # fmt: skip
    assert exact == pytest.approx(adaptive, rel=1e-9)


def test_the_default_value():
    assert float(far_apart().exact) == pytest.approx(-0.828789069, abs=1e-9)


def test_normal_mean_of_known_functions():
    assert normal_mean(np.cos, 0.4, 1.3) == pytest.approx(math.cos(0.4) * math.exp(-0.5 * 1.3**2), rel=1e-13)
    assert normal_mean(np.square, 0.4, 1.3) == pytest.approx(0.4**2 + 1.3**2, rel=1e-13)


def test_predicted_variance_against_closed_forms():
    # f = x: E_p[x^2 p/q] = exp(9) ((2 loc_p - loc_q)^2 + 1) for unit scales three apart.
    problem = mc.Expectation(lambda x: x, mc.Normal(-1.5, 1.0))
    assert predicted_variance(problem, mc.Normal(1.5, 1.0)) == pytest.approx(math.exp(9) * 21.25 - 2.25, rel=1e-4)
    assert predicted_variance(problem) == pytest.approx(1.0, rel=1e-4)
    nearly = far_apart(steepness=1000.0)  # f^2 = 1 almost everywhere
    expected = math.exp(9) - float(nearly.exact) ** 2
    assert predicted_variance(nearly, mc.Normal(1.5, 1.0)) == pytest.approx(expected, rel=1e-4)


def test_an_infinite_variance_is_refused():
    with pytest.raises(ValueError, match="the variance is infinite, or these limits are too narrow"):
        predicted_variance(far_apart(), mc.Normal(0.0, 0.5))


@pytest.mark.parametrize("proposal", [None, mc.Normal(0.0, 1.8), mc.Normal(-1.0, 1.2)], ids=["plain", "wide", "near"])
def test_prediction_and_measurement_agree_where_the_proposal_reaches_the_target(proposal):
    problem = far_apart()
    estimate = mc.estimate(jax.random.key(1), problem, proposal, budget=mc.Samples(200_000))
    measured = float(estimate.std_error) ** 2 * 200_000
    assert measured == pytest.approx(predicted_variance(problem, proposal), rel=0.03)
    assert abs(estimate.value - problem.exact) < 4 * estimate.std_error


def test_far_apart_the_sign_flips_and_the_measured_variance_is_far_too_small():
    problem, proposal = far_apart(), mc.Normal(1.5, 1.0)
    estimates = replicates(2, problem, proposal, num_samples=16)
    value, std_error = np.asarray(estimates.value), np.asarray(estimates.std_error)
    assert 0.1 < np.mean(value > 0) < 0.6
    predicted = predicted_variance(problem, proposal)
    assert np.median(16 * std_error**2) < predicted / 100
    # Unbiased nevertheless: the mean of 400 runs is within 4 of its true standard errors.
    assert abs(np.mean(value) - float(problem.exact)) < 4 * math.sqrt(predicted / 16 / 400)


def test_far_apart_is_flagged():
    estimate = mc.estimate(jax.random.key(3), far_apart(), mc.Normal(1.5, 1.0), budget=mc.Samples(20_000))
    assert not estimate.ok
    assert estimate.pareto_k > 0.5
    assert estimate.ess < 200


def test_a_proposal_between_them_covers_the_target():
    problem = far_apart()
    proposal = between(problem)
    assert float(proposal.scale) == pytest.approx(math.hypot(1.0, 1.5))
    estimate = mc.estimate(jax.random.key(4), problem, proposal, budget=mc.Samples(20_000))
    assert estimate.ok
    assert predicted_variance(problem, proposal) < predicted_variance(problem, mc.Normal(1.5, 1.0)) / 1000


@pytest.mark.parametrize("changes", [{"scale": 0.0}, {"steepness": -1.0}])
def test_bad_parameters_are_refused(changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))} must be positive"):
        far_apart(**changes)


def test_between_refuses_other_targets():
    with pytest.raises(TypeError, match="must be a Normal"):
        between(mc.Expectation(jnp.tanh, mc.StudentT(3.0)))
