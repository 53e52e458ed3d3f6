"""Control variates: 1 - r^2 of the variance, no bias from their coefficients, right intervals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
    # (x - E[X | X > a]) 1{x > a} has mean 0: outputs and controls are both far below float32's range, about 1e-89.
    level, beyond, exact = 20.0, 0.0497530685282932, 2.7536241186061556e-89
    problem = mc.Probability(lambda x: x, STANDARD, level)
    control = mc.Controls(lambda x: jnp.where(x > level, (x - level) - beyond, 0.0), 0.0)
    first, second = jax.random.split(key)
    plain = mc.estimate(first, problem, mc.Normal(level, 1.0), budget=mc.Samples(100_000))
    result = mc.estimate(second, problem, mc.Normal(level, 1.0), controls=control, budget=mc.Samples(100_000))
    assert abs(result.value - exact) < 4 * result.std_error
    # 1 - r^2 = 0.48286 by quadrature.
    assert (result.std_error / plain.std_error) ** 2 == pytest.approx(0.48286, rel=0.05)


def test_a_control_that_is_not_finite_is_counted(key):
    # log x is NaN on half the line: taken as 0 there, its mean would be another, and so would the estimate.
    control = mc.Controls(lambda x: jnp.log(x), 0.0)
    result = mc.estimate(key, EXPONENTIAL, controls=control, budget=mc.Samples(10_000))
    assert result.status == mc.Status.NON_FINITE
    assert result.num_nonfinite == pytest.approx(5_000, rel=0.1)


@pytest.mark.parametrize("run", [mc.estimate, lambda key, *a, **o: mc.replicate(jax.random.split(key, 3), *a, **o)])
def test_a_wrong_mean_is_found_by_the_pilot(key, run):
    wrong = mc.Controls(lambda x: jnp.stack([x, x * x]), np.asarray([0.0, 2.0]))
    with pytest.raises(ValueError, match=r"control 1 \(of 2\) has the mean 2 .* is left has mean -(0.9|1.0|1 )"):
        run(key, EXPONENTIAL, controls=wrong, budget=mc.Samples(10_000))


def test_a_wrong_mean_has_a_status_in_a_trace(key):
    @jax.jit
    def run(mean):
        controls = mc.Controls(lambda x: x * x, mean)
        return mc.estimate(key, EXPONENTIAL, controls=controls, budget=mc.Samples(10_000))

    wrong, right = run(2.0), run(1.0)
    assert np.isnan(wrong.value)
    assert np.isnan(wrong.std_error)
    assert wrong.status == mc.Status.NON_FINITE
    assert right.ok


def test_gradients_see_a_wrong_mean(key):
    def value(loc, mean):
        controls = mc.Controls(lambda x: x * x, mean)
        problem = mc.Expectation(lambda x: jnp.exp(loc * x), STANDARD)
        return mc.estimate(key, problem, controls=controls, budget=mc.Samples(10_000)).value

    gradient = jax.jit(jax.grad(value))
    assert np.isfinite(gradient(1.0, 1.0))
    assert np.isnan(gradient(1.0, 2.0))


def test_right_but_heavy_controls_are_no_nan_in_replicates(key):
    # One pilot of heavy tails in a hundred is 8 of its own errors off; all of them together are not.
    heavy = mc.Controls(lambda x: jnp.exp(3.0 * x), np.exp(4.5))
    keys = jax.random.split(key, 200)
    runs = mc.replicate(keys, mc.Expectation(jnp.exp, STANDARD), controls=heavy, budget=mc.Samples(4096))
    assert np.isfinite(runs.value).all()


def test_a_control_sees_where_the_proposal_does_not_reach(key):
    # f is 0 below 3, so a narrower proposal is right for it, but not for x, whose mean there is not 0.
    problem = mc.Probability(lambda x: x, STANDARD, 3.0)
    above = mc.Truncated(STANDARD, 3.0, jnp.inf)
    with pytest.raises(ValueError, match="must reach all of the target for a control"):
        mc.estimate(key, problem, mc.mixture([above, mc.Truncated(STANDARD, 4.0, jnp.inf)]), controls=LINEAR,
                    budget=mc.Samples(10_000))  # fmt: skip


def test_right_means_are_hardly_ever_refused(key):
    # Of a rare event the pilot sees no hit, or one; a constant's mean is rounded; a mean may be known to five digits.
    rare = mc.Controls(
        lambda x: jnp.stack([jnp.where(x > 3.3, 1.0, 0.0), jnp.full((), 0.1) * jnp.cos(0.0 * x), jnp.exp(x)]),
        [4.834e-4, 0.1, 1.64872],
    )
    for child in jax.random.split(key, 50):
        result = mc.estimate(child, EXPONENTIAL, controls=rare, budget=mc.Samples(2_000))
        assert abs(result.value - EXACT) < 6 * result.std_error


def test_controls_may_be_whole_numbers_and_truth_values(key):
    # An integer's mean 0.5 is no integer: it was cut off to 0.
    counts = mc.Controls(lambda x: (x > 0).astype(jnp.int32), 0.5)
    truths = mc.Controls(lambda x: x > 0, 0.5)
    results = [mc.estimate(key, EXPONENTIAL, controls=c, budget=mc.Samples(20_000)) for c in (counts, truths)]
    assert results[0].value == results[1].value
    assert abs(results[0].value - EXACT) < 4 * results[0].std_error


def test_a_list_of_means_will_do_for_an_array(key):
    function = lambda x: {"powers": jnp.stack([x, x * x]), "cube": x**3}  # noqa: E731
    listed = mc.Controls(function, {"powers": [0.0, 1.0], "cube": 0.0})
    arrays = mc.Controls(function, {"powers": np.asarray([0.0, 1.0]), "cube": 0.0})
    results = [mc.estimate(key, EXPONENTIAL, controls=c, budget=mc.Samples(10_000)) for c in (listed, arrays)]
    assert results[0].value == results[1].value


def test_few_pilot_samples_do_little_harm(key):
    # With 3 samples for one control the coefficient's variance is infinite; with 4 it doubles what is left.
    least = mc.Controls(lambda x: x, 0.0, pilot=4)
    first, second = jax.random.split(key)
    runs = mc.replicate(jax.random.split(first, 400), EXPONENTIAL, controls=least, budget=mc.Samples(2_000))
    assert_honest(runs, EXACT)
    tiny = mc.replicate(jax.random.split(second, 400), EXPONENTIAL, controls=LINEAR, budget=mc.Samples(2))
    assert np.std(tiny.value) < 2.0


def test_a_constant_control_does_no_harm(key):
    useless = mc.Controls(lambda x: jnp.stack([x, jnp.ones(())]), np.asarray([0.0, 1.0]))
    result = mc.estimate(key, EXPONENTIAL, controls=useless, budget=mc.Samples(50_000))
    assert abs(result.value - EXACT) < 4 * result.std_error
    twice = mc.Controls(lambda x: jnp.stack([x, x]), np.zeros(2))
    again = mc.estimate(jax.random.key(3), EXPONENTIAL, controls=twice, budget=mc.Samples(50_000))
    assert abs(again.value - EXACT) < 4 * again.std_error


POWERS = mc.Controls(lambda x: jnp.stack([x, x**2, x**3, x**4]), [0.0, 1.0, 0.0, 3.0])


@pytest.mark.parametrize(
    ("problem", "controls", "exact"),
    [
        (mc.Expectation(jnp.exp, STANDARD), POWERS, np.exp(0.5)),
        (mc.Expectation(jnp.tanh, STANDARD), mc.Controls(lambda x: jnp.exp(2.5 * x), np.exp(3.125)), 0.0),
    ],
    ids=["powers", "exponential"],
)
def test_a_heavy_control_is_seen_in_what_it_leaves(key, problem, controls, exact):
    # w f alone is light. Of the first, one in eight missed and was ok. Where beta is 0 by luck it is ok indeed.
    runs = mc.replicate(jax.random.split(key, 400), problem, controls=controls, budget=mc.Samples(1_000))
    low, high = runs.interval()
    missed, ok = (exact < low) | (high < exact), runs.status_code == mc.Status.OK
    assert np.mean(ok) < 0.5
    assert np.mean(missed & ok) < 0.07
    assert np.nanmedian(runs.pareto_k) < 0.5


@pytest.mark.battery
@pytest.mark.parametrize(
    ("problem", "controls"),
    [
        (SMOOTH, FOUR),
        (mc.Probability(lambda x: x, STANDARD, 1.0), LINEAR),
        (mc.Expectation(lambda x: jnp.where(x > 1.0, x, 0.0), STANDARD), LINEAR),
        (mc.Expectation(lambda x: 1.0 + x, STANDARD), LINEAR),
    ],
    ids=["smooth", "indicator", "half zeros", "only rounding left"],
)
def test_light_controls_are_hardly_ever_flagged(key, problem, controls):
    runs = mc.replicate(jax.random.split(key, 400), problem, controls=controls, budget=mc.Samples(2_000))
    assert np.mean((runs.status_code != mc.Status.OK) & (runs.status_code != mc.Status.ROUNDING)) <= 0.02


def test_every_functional_has_the_tails_of_its_own_outputs(key):
    problem = mc.Expectation(lambda x: jnp.stack([jnp.exp(x), jnp.cos(x)]), STANDARD)
    options = {"controls": POWERS, "budget": mc.Samples(1_000)}
    both = mc.estimate(key, problem, functional=[mc.Mean(output=1), mc.Mean(output=0)], **options)
    for result, output in zip(both, (1, 0), strict=True):
        alone = mc.estimate(key, problem, functional=mc.Mean(output=output), **options)
        assert result.status == alone.status
        np.testing.assert_array_equal(result.summary.stats.log_tail, alone.summary.stats.log_tail)
    traced = jax.jit(lambda k: mc.estimate(k, problem, **options).status_codes)(key)
    np.testing.assert_array_equal(traced, [both[1].status_code, both[0].status_code])


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
        ({"controls": mc.Components()}, TypeError, "not a mixture"),
        ({"controls": mc.Controls(lambda x: x, 0.0, pilot=3)}, ValueError, "3 samples is too small for 1 control"),
        (
            {"controls": mc.Components(pilot=8), "proposal": mc.multi_sample([STANDARD, STANDARD], [2, 1])},
            ValueError,
            "needs at least 12",
        ),
    ],
)
def test_mistakes_are_named(options, error, words):
    with pytest.raises(error, match=words):
        mc.estimate(jax.random.key(0), EXPONENTIAL, budget=mc.Samples(100), **options)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mc.Controls(lambda x: x, np.nan), "means must be finite, got nan"),
        (lambda: mc.Controls(lambda x: x, [0.0, np.inf]), "means must be finite"),
        *[
            (lambda make=make, pilot=pilot: make(pilot), f"pilot must be a whole number.*got {pilot}")
            for make in (lambda pilot: mc.Controls(lambda x: x, 0.0, pilot), mc.Components, mc.mis.Optimal)
            for pilot in (0, -5, 2.5, True)
        ],
    ],
)
def test_bad_numbers_are_refused_when_they_are_given(make, words):
    with pytest.raises(ValueError, match=words):
        make()
