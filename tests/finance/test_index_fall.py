"""The fall of an index: model, exact values and proposals, as estimators."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcengine as mc
from mcengine.finance import fitted_model, index_fall, inflated, shifted
from mcengine.finance.proposals import OneBigJump, _log_sum_over_pairs, one_big_jump
from tests.compilations import compilations
from tests.statistics import assert_honest

FALLS = (0.1, 0.2, 0.3, 0.5)
NUM_SAMPLES = 2**17


def test_one_day_is_the_student_t_itself():
    fit = fitted_model()
    for fall in FALLS:
        exact = stats.t.cdf(math.log1p(-fall), fit.df, fit.loc, fit.scale)
        assert float(index_fall(fall, days=1).exact) == pytest.approx(exact, rel=1e-6)


def test_exact_values_of_the_default():
    # By the contour integral (test_student_sum) at the fit of test_student_fit.
    exact = [float(index_fall(fall).exact) for fall in FALLS]
    np.testing.assert_allclose(exact, [9.229075e-3, 8.645275e-4, 2.272250e-4, 3.684108e-5], rtol=1e-5)


def test_the_event_is_a_fall_of_the_price():
    problem = index_fall(0.2, days=3)
    just = math.log(0.8) / 3
    for returns, hit in (([just * 1.001] * 3, 1.0), ([just * 0.999] * 3, 0.0), ([-3 * just, 0.0, 0.0], 0.0)):
        assert float(problem.integrand(jnp.asarray(returns))) == hit


def run(problem, proposal, seed=4):
    # One budget for all tests, so that each proposal is compiled once.
    return mc.estimate(jax.random.key(seed), problem, proposal, budget=mc.Samples(NUM_SAMPLES))


@pytest.mark.parametrize(
    "build", [lambda problem: None, inflated, one_big_jump], ids=["plain", "inflated", "one big jump"]
)
@pytest.mark.parametrize("fall", [0.05, 0.1, 0.2])
def test_estimates_agree_with_the_exact_value(build, fall):
    problem = index_fall(fall)
    estimate = run(problem, build(problem), seed=1)
    assert abs(estimate.value - problem.exact) < 4 * estimate.std_error


@pytest.mark.battery
def test_one_big_jump_is_honest_at_small_sample_counts():
    problem = index_fall(0.5)
    proposal = one_big_jump(problem)

    @jax.jit
    def replicate(keys):
        return jax.vmap(lambda key: mc.estimate(key, problem, proposal, budget=mc.Samples(4096)))(keys)

    estimates = replicate(jax.random.split(jax.random.key(2), 400))
    assert_honest(estimates, float(problem.exact), widest_ratio=1.15)


def variance_ratio(problem, proposal):
    p = float(problem.exact)
    return p * (1 - p) / (NUM_SAMPLES * float(run(problem, proposal).std_error) ** 2)


def test_one_big_jump_gains_about_one_over_the_probability():
    for fall, least in ((0.1, 5), (0.2, 250), (0.3, 1500), (0.5, 10_000)):
        problem = index_fall(fall)
        assert variance_ratio(problem, one_big_jump(problem)) > least


def test_pairs_of_jumps_reduce_the_largest_weights():
    problem = index_fall(0.3)
    without, with_pairs = run(problem, one_big_jump(problem, pair_share=0.0)), run(problem, one_big_jump(problem))
    assert with_pairs.pareto_k < without.pareto_k - 0.15
    assert with_pairs.ok


def test_a_single_day_has_no_pairs():
    problem = index_fall(0.1, days=1)
    estimate = mc.estimate(jax.random.key(3), problem, one_big_jump(problem), budget=mc.Samples(4096))
    assert abs(estimate.value - problem.exact) < 4 * estimate.std_error
    assert estimate.num_nonfinite == 0


@pytest.mark.parametrize("a", [[0.3, -2.0, 1.0, 0.9], [60.0, -20.0, -21.0], [1.0, 1.0]])
def test_the_sum_over_pairs_does_not_cancel(a):
    direct = sum(math.exp(x + y) for i, x in enumerate(a) for y in a[:i])
    assert float(_log_sum_over_pairs(jnp.asarray(a))) == pytest.approx(math.log(direct), rel=1e-6)


def test_the_default_inflation_gains_a_little_and_doubling_loses():
    problem = index_fall(0.1)
    assert 1.1 < variance_ratio(problem, inflated(problem)) < 2
    assert variance_ratio(problem, inflated(problem, 2.0)) < 0.8


def test_the_shifted_proposal_fails_on_heavy_tails_and_is_flagged():
    problem = index_fall(0.3)
    estimate = run(problem, shifted(problem))
    assert estimate.value < 0.1 * problem.exact
    assert not estimate.ok
    assert estimate.pareto_k > 0.7


def test_the_shifted_path_just_reaches_the_threshold():
    problem = index_fall(0.3)
    assert float(problem.score(shifted(problem).loc)) == pytest.approx(float(problem.threshold), rel=1e-5)
    np.testing.assert_allclose(shifted(problem, -0.01).loc, problem.target.loc - 0.01, rtol=1e-5)


JUMPS = OneBigJump(
    mc.StudentT(3.0, jnp.asarray([0.1, -0.2, 0.3]), 0.5),
    jump_loc=[-4.0, -1.5], jump_scale=[2.0, 1.2], weights=[0.2, 0.5, 0.3],
)  # fmt: skip


@pytest.fixture(scope="module")
def drawn():
    """Samples; log q as `forward` and as `log_prob` return it; log p of the target."""

    @jax.jit
    def draw(v):
        x, log_q = JUMPS.forward(v)
        return x, log_q, JUMPS.log_prob(x), JUMPS.target.log_prob(x)

    assert JUMPS.num_uniforms == 7
    v = jax.random.uniform(jax.random.key(8), (50_000, 7), minval=-0.5, maxval=0.5)
    return [np.asarray(part, np.float64) for part in jax.vmap(draw)(v)]


def test_one_big_jump_has_the_density_of_its_mixture(drawn):
    x, log_q, log_prob, _ = drawn
    np.testing.assert_array_equal(log_q, log_prob)
    each = stats.t.pdf(x, 3, [0.1, -0.2, 0.3], 0.5)
    alone, paired = (stats.t.pdf(x, 3, loc, scale) for loc, scale in ((-4.0, 2.0), (-1.5, 1.2)))
    one = sum(np.where(np.arange(3) == i, alone, each).prod(axis=1) for i in range(3)) / 3
    two = sum(np.where(np.arange(3) == i, each, paired).prod(axis=1) for i in range(3)) / 3
    np.testing.assert_allclose(np.exp(log_q), 0.2 * each.prod(axis=1) + 0.5 * one + 0.3 * two, rtol=1e-4)


def test_samples_of_one_big_jump_follow_its_density(drawn):
    x, log_q, _, log_p = drawn
    # E_q[p/q g] = E_p[g] for a bounded g that differs from day to day.
    locs, shifts = np.asarray([0.1, -0.2, 0.3]), np.asarray([0.0, 1.0, -0.5])
    values = np.exp(log_p - log_q)[:, None] * np.tanh(x + shifts)
    u = (np.arange(100_000) + 0.5) / 100_000
    exact = [np.tanh(stats.t.ppf(u, 3, loc, 0.5) + shift).mean() for loc, shift in zip(locs, shifts, strict=True)]
    z = (values.mean(axis=0) - exact) / (values.std(axis=0) / np.sqrt(len(x)))
    assert np.all(np.abs(z) < 4)
    # A day jumps alone with probability .5/3 and in a pair with .3 x 2/3, and the two of a pair jump together.
    far = (x < -3).mean(axis=0)
    ordinary = stats.t.cdf(-3, 3, locs, 0.5)
    expected = 0.5 / 3 * stats.t.cdf(-3, 3, -4, 2) + 0.2 * stats.t.cdf(-3, 3, -1.5, 1.2) + (1 - 1.1 / 3) * ordinary
    assert np.all(np.abs(far - expected) < 4 * np.sqrt(expected / len(x)))
    alone, paired = stats.t.cdf(-3, 3, -4, 2), stats.t.cdf(-3, 3, -1.5, 1.2)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        o_i, o_j = ordinary[i], ordinary[j]
        of_one = (alone * (o_i + o_j) + o_i * o_j) / 3
        of_two = (paired**2 + paired * (o_i + o_j)) / 3
        expected = 0.2 * o_i * o_j + 0.5 * of_one + 0.3 * of_two
        assert abs(np.mean((x[:, i] < -3) & (x[:, j] < -3)) - expected) < 4 * np.sqrt(expected / len(x))


@pytest.mark.battery
def test_one_big_jump_in_double_precision():
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), JUMPS)
        v = jnp.asarray([0.45, -0.2, 0.4, 0.1, -0.3, 0.2, -0.1])
        x, log_q = double.forward(v)
    assert x.dtype == log_q.dtype == jnp.float64
    single, _ = JUMPS.forward(jnp.asarray(v, jnp.float32))
    np.testing.assert_allclose(x, single, rtol=1e-5)


def test_no_weight_exceeds_one_over_the_probability_of_no_jump(drawn):
    _, log_q, _, log_p = drawn
    assert np.max(log_p - log_q) <= math.log(1 / 0.2) + 1e-5


def test_no_hits_are_bounded_through_the_defensive_share():
    # 3 / (share n), the design's bound for a defensive proposal; no sample loses e^1000.
    problem = dataclasses.replace(index_fall(0.5), threshold=1000.0)
    estimate = run(problem, one_big_jump(index_fall(0.5)))
    assert estimate.num_hits == 0
    low, high = estimate.interval()
    assert (low, float(high)) == (0.0, pytest.approx(-math.log(0.05) / (0.1 * NUM_SAMPLES), rel=0.02))


def test_other_falls_and_proposals_compile_nothing():
    run(index_fall(0.2), inflated(index_fall(0.2), 1.1))
    with compilations() as names:
        run(index_fall(0.3), inflated(index_fall(0.3), 1.2), seed=7)
        run(index_fall(0.4), inflated(index_fall(0.4), 1.3))
    assert names == []


def test_prices_from_a_users_file(tmp_path):
    path = tmp_path / "mine.csv"
    days = np.datetime64("2020-01-01") + np.arange(301)
    prices = 100 * np.exp(np.cumsum(stats.t.rvs(4.0, 0.0, 0.02, size=301, random_state=np.random.default_rng(8))))
    path.write_text("day,price\n" + "\n".join(f"{d},{p}" for d, p in zip(days, prices, strict=True)))
    problem = index_fall(0.2, csv=str(path))
    scale = float(problem.target.scale[0])
    assert 0.015 < scale < 0.025
    # A changed file is read again.
    path.write_text("day,price\n" + "\n".join(f"{d},{p * p}" for d, p in zip(days, prices, strict=True)))
    assert float(index_fall(0.2, csv=path).target.scale[0]) == pytest.approx(2 * scale, rel=1e-3)


def test_a_short_file_is_named(tmp_path):
    path = tmp_path / "short.csv"
    path.write_text("date,price\n2020-01-01,1\n2020-01-02,2\n2020-01-03,3\n")
    with pytest.raises(ValueError, match=r"short.csv: fit_student: at least 50 returns"):
        index_fall(csv=path)


@pytest.mark.parametrize("fall", [0.0, 1.0, -0.1, 20, math.nan])
def test_a_fall_lies_between_0_and_1(fall):
    with pytest.raises(ValueError, match="fall must lie strictly between 0 and 1"):
        index_fall(fall)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: index_fall(0.2, days=0), "days must be a whole number"),
        (lambda p: index_fall(0.2, days=2.5), "days must be a whole number"),
        (lambda p: inflated(p, 0.0), "factor must be positive"),
        (lambda p: one_big_jump(p, defensive_share=0.0), "defensive_share must lie strictly between 0 and 1"),
        (lambda p: one_big_jump(p, pair_share=0.9), "their sum below 1; got defensive_share=0.1, pair_share=0.9"),
        (lambda p: one_big_jump(p, width=-1.0), "width must be positive"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(index_fall(0.2))


def test_proposals_refuse_other_models():
    with pytest.raises(TypeError, match="for a Student-t of several days"):
        one_big_jump(mc.Probability(jnp.sum, mc.Normal(jnp.zeros(3)), 1.0))


def test_the_fall_may_be_traced_and_the_days_may_not():
    def threshold(fall):
        problem = index_fall(fall, days=3)
        assert problem.exact is None
        return problem.threshold

    np.testing.assert_allclose(jax.jit(jax.vmap(threshold))(jnp.asarray([0.2, 0.5])), -np.log([0.8, 0.5]), rtol=1e-6)
    with pytest.raises(TypeError, match="days is the length of a sample and cannot be traced"):
        jax.jit(lambda days: index_fall(0.2, days).threshold)(3)
