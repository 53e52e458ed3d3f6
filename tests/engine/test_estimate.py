"""`estimate` against closed forms, and the promises that hold whatever is estimated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

import mcengine as mc
from tests.compilations import compilations
from tests.statistics import assert_honest

STANDARD = mc.Normal(0.0, 1.0)
SHIFTED = mc.Normal(3.0, 1.0)
TAIL = mc.Probability(lambda x: x, STANDARD, 3.0)
EXACT_TAIL = ndtr(-3.0)


@pytest.mark.parametrize("num_samples", [1, 2, 1_000, 2**18, 300_000])
def test_exactly_the_budget_is_drawn(key, num_samples):
    assert mc.estimate(key, TAIL, SHIFTED, budget=mc.Samples(num_samples)).num_samples == num_samples


def test_intervals_of_the_tail_are_honest(key):
    runs = mc.replicate(jax.random.split(key, 400), TAIL, SHIFTED, budget=mc.Samples(1_000))
    assert_honest(runs, EXACT_TAIL, widest_ratio=1.2)


def test_intervals_of_a_skewed_target_under_a_skewed_proposal_are_honest(key):
    problem = mc.Expectation(lambda x: jnp.log1p(x), mc.Exponential(1.5))
    grid = np.linspace(0.0, 40.0, 400_001)
    exact = np.trapezoid(np.log1p(grid) * 1.5 * np.exp(-1.5 * grid), grid)
    runs = mc.replicate(jax.random.split(key, 400), problem, mc.Exponential(1.0), budget=mc.Samples(500))
    assert_honest(runs, exact, widest_ratio=1.2)


def test_a_self_normalised_mean_of_an_unnormalised_target_is_honest(key):
    class Unnormalised(mc.Normal):
        def log_prob(self, x):
            return super().log_prob(x) + 3.7

    problem = mc.Expectation(lambda x: x + 0.2 * x**2, Unnormalised(0.4, 1.0))
    exact = 0.4 + 0.2 * (1.0 + 0.4**2)
    runs = mc.replicate(
        jax.random.split(key, 400),
        problem,
        mc.Normal(0.0, 1.3),
        budget=mc.Samples(2_000),
        weighting=mc.weighting.SelfNormalised(),
    )
    assert_honest(runs, exact, widest_ratio=1.2)


def test_the_plain_interval_of_a_rare_probability_covers_with_few_hits(key):
    # n p = 0.5, 1, 2: the Wald interval covers 39, 63, 86 %.
    keys = jax.random.split(key, 400)
    for count in (370, 741, 1_482):
        runs = mc.replicate(keys, TAIL, budget=mc.Samples(count))
        low, high = runs.interval()
        assert np.sum((low <= EXACT_TAIL) & (high >= EXACT_TAIL)) >= 364


def test_several_thresholds_share_their_samples(key):
    problem = mc.Probability(lambda x: x, STANDARD, [1.0, 2.0, 3.0])
    result = mc.estimate(key, problem, mc.Normal(2.0, 1.5), budget=mc.Samples(100_000))
    z = (result.value - ndtr(-np.asarray([1.0, 2.0, 3.0]))) / result.std_error
    assert np.abs(z).max() < 4.0
    assert np.all(np.diff(result.value) < 0)


def test_values_may_be_pytrees(key):
    problem = mc.Expectation(lambda x: {"mean": x, "moments": jnp.stack([x**2, x**4])}, STANDARD)
    result = mc.estimate(key, problem, mc.Normal(0.3, 1.3), budget=mc.Samples(50_000))
    assert set(result.value) == {"mean", "moments"}
    assert result.value["moments"].shape == (2,)
    z = (result.value["moments"] - [1.0, 3.0]) / result.std_error["moments"]
    assert np.abs(z).max() < 4.0
    low, high = result.interval()
    assert np.all(low["moments"] < high["moments"])


def test_integrals_with_finite_and_infinite_limits(key):
    cases = [
        (lambda x: jnp.exp(-(x[0] ** 2)), [0.0], [2.0], 0.5 * np.sqrt(np.pi) * (2 * ndtr(2 * np.sqrt(2)) - 1)),
        (lambda x: jnp.exp(-(x**2)), -np.inf, np.inf, np.sqrt(np.pi)),
        (lambda x: x * jnp.exp(-x), 0.0, np.inf, 1.0),
        (lambda x: jnp.exp(x), -np.inf, 1.0, np.e),
        (lambda x: jnp.exp(-x[0] - x[1] ** 2), [0.0, -np.inf], [1.0, np.inf], (1 - np.exp(-1)) * np.sqrt(np.pi)),
    ]
    keys = jax.random.split(key, 64)
    for integrand, lower, upper, exact in cases:
        runs = mc.replicate(keys, mc.Integral(integrand, lower, upper), budget=mc.Samples(4_096))
        error = runs.value.mean() - exact
        assert abs(error) < 4 * runs.value.std() / 8.0
        assert runs.value.std() < 0.1 * exact


def test_progress_reaches_the_budget(key):
    seen = []
    execution = mc.Execution(
        block_size=1_024, blocks_per_call=4, threads=1, progress=lambda done, total: seen.append((done, total))
    )
    mc.estimate(key, TAIL, SHIFTED, budget=mc.Samples(10_000), execution=execution)
    assert seen == [(1_024, 10_000), (5_120, 10_000), (9_216, 10_000), (10_000, 10_000)]


def test_merging_two_keys_equals_the_pooled_mean(key):
    first, second = jax.random.split(key)
    a = mc.estimate(first, TAIL, SHIFTED, budget=mc.Samples(10_000))
    b = mc.estimate(second, TAIL, SHIFTED, budget=mc.Samples(30_000))
    both = a.merge(b)
    assert both.num_samples == 40_000
    assert both.value == pytest.approx((a.value + 3 * b.value) / 4, rel=1e-12)
    assert both.std_error < min(a.std_error, b.std_error)


def test_two_words_reach_where_one_cannot(key):
    words = mc.estimate(key, TAIL, SHIFTED, budget=mc.Samples(50_000), points=mc.points.IID(words=2))
    assert abs(words.value - EXACT_TAIL) < 4 * words.std_error


def test_weightings_agree_where_nothing_is_truncated(key):
    wide = mc.Normal(0.5, 2.0)  # w is at most 2.3
    problem = mc.Expectation(lambda x: x**2, STANDARD)
    raw = mc.estimate(key, problem, wide, budget=mc.Samples(20_000))
    for weighting in (mc.weighting.Truncated(), mc.weighting.Truncated(50.0), mc.weighting.Clipped(0.0, 50.0)):
        other = mc.estimate(key, problem, wide, budget=mc.Samples(20_000), weighting=weighting)
        assert other.value == pytest.approx(raw.value, rel=1e-6)
        assert other.bias_seen == pytest.approx(0.0, abs=1e-8)


def test_truncation_reports_the_bias_it_makes(key):
    problem = mc.Expectation(lambda x: x**2, STANDARD)
    wide = mc.Normal(0.5, 2.0)
    raw = mc.estimate(key, problem, wide, budget=mc.Samples(200_000))
    cut = mc.estimate(key, problem, wide, budget=mc.Samples(200_000), weighting=mc.weighting.Truncated(1.0))
    assert cut.value + -cut.bias_seen == pytest.approx(raw.value, rel=1e-5)
    assert cut.status == mc.Status.BIASED


def test_pareto_smoothing_lowers_the_error_of_heavy_weights(key):
    problem = mc.Expectation(lambda x: jnp.ones(()), STANDARD)
    narrow = mc.Normal(0.0, 0.6)  # k = 1 - 0.36 = 0.64
    keys = jax.random.split(key, 200)
    raw = mc.replicate(keys, problem, narrow, budget=mc.Samples(2_000))
    smooth = mc.replicate(keys, problem, narrow, budget=mc.Samples(2_000), weighting=mc.weighting.ParetoSmoothed())
    assert np.sqrt(np.mean((smooth.value - 1) ** 2)) < np.sqrt(np.mean((raw.value - 1) ** 2))


def test_logged_samples_give_what_estimate_gives(key):
    x = SHIFTED.loc + jax.random.normal(key, (5_000,))
    log_w = np.asarray(jax.vmap(STANDARD.log_prob)(x) - jax.vmap(SHIFTED.log_prob)(x), np.float64)
    f = np.asarray(x >= 3.0, np.float64)
    result = mc.estimate_from(log_w, f)
    y = np.exp(log_w) * f
    assert result.value == pytest.approx(y.mean(), rel=1e-12)
    assert result.std_error == pytest.approx(y.std(ddof=1) / np.sqrt(5_000), rel=1e-10)
    assert result.ess == pytest.approx(y.sum() ** 2 / (y**2).sum(), rel=1e-10)
    ratio = mc.estimate_from(log_w, f, weighting=mc.weighting.SelfNormalised())
    w = np.exp(log_w)
    assert ratio.value == pytest.approx(y.sum() / w.sum(), rel=1e-12)
    residual = y - ratio.value * w
    assert ratio.std_error == pytest.approx(residual.std(ddof=1) / np.sqrt(5_000) / w.mean(), rel=1e-8)


def test_logged_samples_reach_1e_minus_268():
    result = mc.estimate_from(np.asarray([-617.0, -618.0, -619.0] * 20), np.ones(60))
    assert np.log(result.value) == pytest.approx(-617.0 + np.log((1 + np.exp(-1) + np.exp(-2)) / 3), rel=1e-12)


def test_the_result_reads_and_serialises(key):
    import json

    result = mc.estimate(key, TAIL, SHIFTED, budget=mc.Samples(10_000))
    text = str(result)
    for word in ("95 % interval", "10,000 samples", "ESS", "k-hat", "status: ok"):
        assert word in text
    restored = json.loads(json.dumps(result.to_dict()))
    assert restored["value"] == result.value
    assert restored["status"] == "ok"


def test_new_numbers_compile_nothing(key):
    def run(threshold, loc, seed):
        problem = mc.Probability(score, mc.Normal(0.0, 1.0), threshold, exact=ndtr(-threshold))
        mc.estimate(jax.random.key(seed), problem, mc.Normal(loc, 1.0), budget=mc.Samples(2_000))

    def score(x):
        return x

    run(3.0, 3.0, 0)
    with compilations() as names:
        for threshold, loc, seed in ((3.5, 3.0, 0), (3.0, 4, 0), (4, 4.5, 17)):
            run(threshold, loc, seed)
    assert names == []


def test_every_level_has_its_own_binomial_interval(key):
    levels = np.linspace(0.0, 3.0, 20)
    low, high = mc.estimate(key, mc.Probability(lambda x: x, STANDARD, levels), budget=mc.Samples(10_000)).interval(
        0.9999
    )
    assert np.all((low <= ndtr(-levels)) & (ndtr(-levels) <= high))


@pytest.mark.parametrize("size", [1e-30, 3e-20, 1e18])
def test_an_integrand_of_any_size_has_its_error_bar(key, size):
    result = mc.estimate(key, mc.Expectation(lambda x: size * (1 + x), STANDARD), budget=mc.Samples(10_000))
    assert result.std_error == pytest.approx(0.01 * size, rel=0.05)
    assert result.ok


def test_what_underflows_in_a_trace_is_flagged(key):
    result = jax.jit(
        lambda k: mc.estimate(
            k, mc.Probability(lambda x: x, STANDARD, 15.0), mc.Normal(15.0, 1.0), budget=mc.Samples(5_000)
        )
    )(key)
    assert result.value == 0.0
    assert int(result.status_code) == mc.Status.ROUNDING


def test_values_beyond_the_largest_float_are_flagged():
    result = mc.estimate_from(np.full(100, 800.0), np.arange(100.0))
    assert result.status == mc.Status.NON_FINITE


def test_truncated_weights_under_a_ratio_report_their_bias(key):
    # Truncation at 1 flattens all weights here, and the ratio becomes the proposal's own probability.
    problem = mc.Probability(lambda x: jnp.abs(x), STANDARD, 2.0)
    weighting = mc.weighting.SelfNormalised(of=mc.weighting.Truncated(1.0))
    result = mc.estimate(key, problem, mc.Normal(0.0, 1.2), budget=mc.Samples(100_000), weighting=weighting)
    assert result.status == mc.Status.BIASED
    assert abs(result.value - result.bias_seen - 2 * ndtr(-2.0)) < 5 * result.std_error
    whole = mc.Expectation(lambda x: jnp.ones(()), STANDARD)
    one = mc.estimate(key, whole, mc.Normal(0.0, 1.2), budget=mc.Samples(10_000), weighting=weighting)
    assert (one.value, one.bias_seen) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-6))


def test_nothing_but_hits_says_so(key):
    result = mc.estimate(key, mc.Probability(lambda x: x, STANDARD, -6.0), budget=mc.Samples(1_000))
    assert result.status == mc.Status.FEW_HITS
    assert np.isnan(result.std_error)
    low, high = result.interval()
    assert (low, high) == (pytest.approx(0.025 ** (1 / 1_000)), 1.0)


def test_merging_is_refused_where_it_would_lie(key):
    plain = mc.estimate(key, TAIL, budget=mc.Samples(1_000))
    with pytest.raises(ValueError, match="the same samples"):
        plain.merge(plain)
    other = mc.estimate(key, mc.Expectation(lambda x: (x, x), STANDARD), budget=mc.Samples(100))
    with pytest.raises(ValueError, match="not of the same problem"):
        plain.merge(other)


def test_plain_and_weighted_samples_merge_without_the_binomial_interval(key):
    first, second = jax.random.split(key)
    both = mc.estimate(first, TAIL, budget=mc.Samples(100_000)).merge(
        mc.estimate(second, TAIL, SHIFTED, budget=mc.Samples(100_000))
    )
    low, high = both.interval()
    assert low < both.value < high < 2 * both.value
