"""A status warns before the error bar fails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

import mcengine as mc
from mcengine.inference.status import Status
from tests.statistics import MIN_COVERED, covered, least_covered

STANDARD = mc.Normal(0.0, 1.0)
SQUARE = mc.Expectation(lambda x: x * x, STANDARD)
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


def test_one_unit_has_no_error_bar(key):
    problem = mc.Probability(lambda x: x, STANDARD, 3.0)
    unit = mc.points.Sobol(1024)
    result = mc.estimate(key, problem, mc.Normal(3.0, 1.0), budget=mc.Samples(1024), points=unit)
    assert result.status == Status.FEW_UNITS
    assert np.isnan(result.std_error)
    assert result.interval() == (0.0, 1.0)
    for single in (mc.estimate(key, SQUARE, budget=mc.Samples(1)), mc.estimate_from(None, [1.0])):
        assert np.isnan(single.std_error)
        assert single.interval() == (-np.inf, np.inf)
        assert not single.ok


@pytest.mark.parametrize("points", [mc.points.Sobol(), mc.points.Lattice(), mc.points.Stratified()])
def test_units_that_are_equal_by_chance_are_no_proof(key, points):
    # 64 points a unit hit 10 times, each of 16 units alike, in one run of 14; the truth is 10.15.
    problem = mc.Probability(lambda x: x, STANDARD, 1.0)
    runs = mc.replicate(jax.random.split(key, 400), problem, budget=mc.Samples(1024), points=points)
    tied = np.isnan(runs.std_error)
    assert np.sum(tied) >= 10
    assert np.min(runs.std_error[~tied]) > 0
    np.testing.assert_array_equal(runs.status_code[tied], Status.FEW_UNITS)
    assert covered(*runs.interval(), ndtr(-1.0)) >= MIN_COVERED[400]


@pytest.mark.parametrize("points", [mc.points.IID(), mc.points.Sobol()])
def test_what_is_constant_keeps_its_small_error(key, points):
    ones = mc.Expectation(lambda x: jnp.ones(()), STANDARD)
    result = mc.estimate(key, ones, budget=mc.Samples(1024), points=points)
    assert (result.value, result.std_error, result.status) == (1.0, 0.0, Status.ROUNDING)
    hits = mc.Expectation(lambda x: jnp.where(x > 1.0, 1.0, 0.0), STANDARD)
    known = mc.Controls(lambda x: jnp.where(x > 1.0, 1.0, 0.0), ndtr(-1.0))
    result = mc.estimate(key, hits, budget=mc.Samples(2**14), points=points, controls=known)
    assert result.value == pytest.approx(ndtr(-1.0), rel=1e-5)
    assert result.status == Status.ROUNDING


def test_nothing_but_hits_of_dependent_points_bound_the_rest(key):
    likely = mc.Probability(lambda x: x, STANDARD, -6.0)
    result = mc.estimate(key, likely, budget=mc.Samples(1024), points=mc.points.Sobol())
    assert np.isnan(result.std_error)
    assert result.status == Status.FEW_HITS
    assert result.interval() == pytest.approx((1 + np.log(0.05) / 1024, 1.0))


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


def test_a_crowd_at_a_second_maximum_is_no_heavy_tail(key):
    # w f is bounded in both; k-hat has a median of 1.4 and of 3.
    keys, proposal = jax.random.split(key, 400), mc.Normal(0.5, 1.2)
    square = mc.replicate(keys, SQUARE, proposal, budget=mc.Samples(200))
    assert np.median(square.pareto_k) > 1.0
    assert np.mean(square.status_code == Status.UNRELIABLE) < 0.35
    trusted = square.status_code < Status.HEAVY_TAIL
    assert covered(*(side[trusted] for side in square.interval()), 1.0) >= least_covered(np.sum(trusted))
    two = mc.Expectation(lambda x: jnp.stack([x + 1.0, x + 2.0]), STANDARD)
    ratio = mc.replicate(keys, two, proposal, budget=mc.Samples(10_000), functional=mc.Ratio(0, 1))
    assert np.median(ratio.pareto_k) > 2.0
    np.testing.assert_array_equal(ratio.status_code, Status.OK)
    again = jax.jit(lambda k: mc.estimate(k, two, proposal, budget=mc.Samples(10_000), functional=mc.Ratio(0, 1)))
    assert int(again(keys[0]).status_code) == Status.OK


@pytest.mark.parametrize("constant", [0.0, 1.0, 100.0])
def test_a_heavy_tail_on_a_constant_is_flagged_all_the_same(key, constant):
    # All of |w f| lies within a factor of two of its largest.
    problem = mc.Expectation(lambda x: constant + 0.01 * x, mc.StudentT(1.5, 0.0, 1.0))
    runs = mc.replicate(jax.random.split(key, 400), problem, budget=mc.Samples(10_000))
    assert np.mean(runs.status_code >= Status.HEAVY_TAIL) >= 0.95


@pytest.mark.parametrize(
    ("constant", "status"), [(1.0, Status.OK), (0.985, Status.HEAVY_TAIL), (0.5, Status.OK), (3.0, Status.OK)]
)
def test_a_mean_weight_a_little_below_1_is_a_sign_of_large_weights_that_have_not_come(constant, status):
    # Of index 0.35, with standard error 0.010; half and three are no accident but an unnormalised target.
    w = (1 - 0.35) * ((np.arange(4_096) + 0.5) / 4_096) ** -0.35
    values = np.random.default_rng(0).standard_normal(4_096)
    result = mc.estimate_from(np.log(constant * w), values, weighting=mc.weighting.SelfNormalised())
    assert 0.3 < result.pareto_k < 0.4
    assert result.status is status
    many = mc.estimate_from(np.log(constant * w), np.tile(values[:, None], 40), weighting=mc.weighting.SelfNormalised())
    assert np.all(many.status_code == status)
    # The denominator of a ratio is no mean weight.
    pairs = np.stack([values, np.ones(4_096)], axis=-1)
    assert mc.estimate_from(np.log(constant * w), pairs, functional=mc.Ratio(0, 1)).status is Status.OK


def test_light_weights_may_have_any_mean():
    # Weights spread evenly over [0, 2], 1.7 standard errors short of 1, and values of index 0.35.
    shuffled = np.random.default_rng(1).permutation(4_096)
    w, values = 0.985 * (np.arange(4_096) + 0.5) / 2_048, ((shuffled + 0.5) / 4_096) ** -0.35
    result = mc.estimate_from(np.log(w), values, weighting=mc.weighting.SelfNormalised())
    assert result.pareto_k > 0.25
    assert result.status is Status.OK
