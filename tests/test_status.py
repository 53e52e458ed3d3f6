"""A status warns before the error bar fails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

import mcengine as mc
from mcengine.diagnostics import Status

STANDARD = mc.Normal(0.0, 1.0)
TAIL = mc.Probability(lambda x: x, STANDARD, 6.0)


def test_ladder_of_known_tail_indices(key):
    # Target N(0, 1), proposal N(0, s^2): k = 1 - s^2. f = 1 makes w f = w.
    problem = mc.Expectation(lambda x: jnp.ones(()), STANDARD)
    flagged, keys = {}, jax.random.split(key, 200)
    for k in (0.19, 0.84):
        runs = mc.replicate(keys, problem, mc.Normal(0.0, np.sqrt(1 - k)), budget=mc.Samples(10_000))
        flagged[k] = np.mean(runs.status_code != Status.OK)
    assert flagged[0.84] >= 0.95
    assert flagged[0.19] <= 0.02


def test_no_hits_bound_a_probability_by_the_rule_of_three(key):
    result = mc.estimate(key, TAIL, budget=mc.Samples(1_000))
    assert result.value == 0.0
    assert np.isnan(result.std_error)
    assert result.status == Status.NO_HITS
    low, high = result.interval()
    assert low == 0.0
    assert high == pytest.approx(-np.log(0.05) / 1_000)
    assert result.upper_bound == pytest.approx(high)


def test_no_hits_under_a_defensive_share_have_the_bound_of_the_share(key):
    proposal = mc.defensive(STANDARD, mc.Normal(-3.0, 0.5), share=0.2)
    result = mc.estimate(key, TAIL, proposal, budget=mc.Samples(1_000))
    assert result.status == Status.NO_HITS
    assert result.interval()[1] == pytest.approx(-np.log(0.05) / 200)


def test_no_hits_without_a_bound_on_the_weights_say_nothing(key):
    result = mc.estimate(key, TAIL, mc.Normal(-3.0, 0.5), budget=mc.Samples(1_000))
    assert result.status == Status.NO_HITS
    assert np.isnan(result.upper_bound)
    assert result.interval() == (0.0, 1.0)
    general = mc.Expectation(lambda x: jnp.where(x > 9.0, x, 0.0), STANDARD)
    assert mc.estimate(key, general, budget=mc.Samples(100)).interval() == (-np.inf, np.inf)


def test_few_hits_are_flagged(key):
    result = mc.estimate(key, mc.Probability(lambda x: x, STANDARD, 3.0), budget=mc.Samples(2_000))
    assert 0 < result.num_hits < 10
    assert result.status == Status.FEW_HITS


def test_a_proposal_far_from_the_target_is_flagged(key):
    # p = N(-1.5, 1), q = N(1.5, 1): log w has standard deviation 3.
    problem = mc.Expectation(lambda x: jnp.tanh(2 * x), mc.Normal(-1.5, 1.0))
    runs = mc.replicate(jax.random.split(key, 200), problem, mc.Normal(1.5, 1.0), budget=mc.Samples(1_000))
    assert np.mean(runs.status_code != Status.OK) > 0.95


def test_non_finite_values_are_counted_and_flagged(key):
    problem = mc.Expectation(lambda x: jnp.where(x > 2.0, jnp.nan, x**2), STANDARD)
    result = mc.estimate(key, problem, budget=mc.Samples(10_000))
    assert result.status == Status.NON_FINITE
    assert result.num_nonfinite == pytest.approx(10_000 * 0.02275, rel=0.2)
    assert np.isfinite(result.value)


def test_rounding_is_flagged_where_the_variance_vanishes(key):
    # The perfect proposal: w f is constant.
    problem = mc.Expectation(lambda x: jnp.exp(x), mc.Normal(0.0, 1.0))
    result = mc.estimate(key, problem, mc.Normal(1.0, 1.0), budget=mc.Samples(10_000))
    assert result.value == pytest.approx(np.exp(0.5), rel=1e-5)
    assert result.status == Status.ROUNDING


def test_one_logged_row_that_rules_is_flagged():
    # As in the Open Bandit `women` log: one row has most of the weight, and k-hat alone would not see it.
    rng = np.random.default_rng(0)
    log_w, values = np.zeros(10_000), (rng.random(10_000) < 0.005).astype(float)
    log_w[np.flatnonzero(values)[0]] = np.log(200.0)
    assert mc.estimate_from(log_w, values).status == Status.DOMINATED


def test_few_units_are_flagged():
    assert mc.estimate_from(None, np.arange(1.0, 6.0)).status != Status.OK


def test_a_good_run_is_not_flagged(key):
    problem = mc.Probability(lambda x: x, STANDARD, 3.0)
    runs = mc.replicate(jax.random.split(key, 400), problem, mc.Normal(3.0, 1.0), budget=mc.Samples(1_000))
    assert np.mean(runs.status_code != Status.OK) <= 0.02


def test_every_status_says_what_to_do():
    for status in Status:
        assert len(status.sentence) > 2
        assert status.sentence.endswith(".")


def test_a_tail_index_of_one_is_hardly_ever_taken_for_a_light_tail(key):
    # Uniform target under a narrow normal: w f grows like 1/q, and estimates without a far sample are far off.
    problem = mc.Integral(lambda x: jnp.exp(-50.0 * (x - 0.6) ** 2) + 0.1, 0.0, 1.0)
    exact = np.sqrt(np.pi / 50) * (ndtr(4.0) - ndtr(-6.0)) + 0.1
    for count, child in zip((1_000, 4_096), jax.random.split(key), strict=True):
        runs = mc.replicate(jax.random.split(child, 400), problem, mc.Normal(0.6, 0.1), budget=mc.Samples(count))
        far = np.abs(runs.value - exact) > 4 * runs.std_error
        assert far.mean() > 0.2
        assert np.mean(far & (runs.status_code == Status.OK)) <= 0.01


def test_light_tails_are_hardly_ever_flagged(key):
    problem = mc.Expectation(lambda x: x, STANDARD)
    for count, child in zip((256, 1_000, 10_000), jax.random.split(key, 3), strict=True):
        runs = mc.replicate(jax.random.split(child, 400), problem, budget=mc.Samples(count))
        assert np.mean(runs.status_code != Status.OK) <= 0.02
