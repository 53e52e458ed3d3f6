"""Several functionals of one run, ratios of outputs, and what they ask of each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import mcengine as mc
from mcengine.functionals import Functional
from tests.statistics import assert_honest, covered, least_covered

STANDARD = mc.Normal(0.0, 1.0)
WIDER = mc.Normal(0.5, 1.5)
LOSS = mc.Expectation(lambda x: x, STANDARD)
SEVERAL = {
    "risk": mc.TailRisk([0.9]),
    "histogram": mc.Histogram(np.linspace(-2.0, 2.0, 5)),
    "mean": mc.Mean(),
    "ratio": mc.Ratio(),
}
PARTS = mc.Expectation(lambda x: {"up": jnp.exp(0.5 * x), "base": 2.0 + x, "odd": x}, STANDARD)
BLOCKS = mc.Execution(block_size=1_024)


def run(functional, problem=LOSS, proposal=WIDER, key=0, num_samples=4_096, **options):
    budget = mc.Samples(num_samples)
    return mc.estimate(jax.random.key(key), problem, proposal, budget=budget, functional=functional, **options)


@pytest.mark.parametrize(
    "weighting", [mc.weighting.Raw(), pytest.param(mc.weighting.SelfNormalised(), marks=pytest.mark.battery)]
)
def test_each_result_is_what_it_would_be_alone(weighting):
    def figures(result):
        return jax.tree.leaves((result.value, result.std_error, result.ess, result.pareto_k, result.status_codes))

    together = run(SEVERAL, weighting=weighting, execution=BLOCKS)
    for name, functional in SEVERAL.items():
        alone = run(functional, weighting=weighting, execution=BLOCKS)
        for ours, theirs in zip(figures(together[name]), figures(alone), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7, err_msg=name)


def test_a_sequence_gives_a_sequence_and_a_single_one_its_result():
    results = run([mc.Mean(), mc.Ratio()])
    assert isinstance(results, list)
    assert results[0].value != results[1].value
    assert run(mc.Mean()).value == run(None).value


def test_the_named_ratio_is_the_self_normalised_mean():
    weighted = run(None, weighting=mc.weighting.SelfNormalised(), execution=BLOCKS)
    ratio = run(mc.Ratio(), execution=BLOCKS)
    assert ratio.value == pytest.approx(weighted.value, rel=1e-6)
    assert ratio.std_error == pytest.approx(weighted.std_error, rel=1e-5)


@pytest.mark.parametrize("points", [mc.points.IID(), mc.points.Sobol(64)], ids=["iid", "sobol"])
@pytest.mark.parametrize("proposal", [None, WIDER], ids=["plain", "weighted"])
def test_the_ratio_of_two_outputs_is_honest(points, proposal):
    keys = jax.random.split(jax.random.key(21), 400)
    ratio = mc.replicate(
        keys, PARTS, proposal, points=points, budget=mc.Samples(2_048), functional=mc.Ratio("up", "base")
    )
    assert_honest(ratio, np.exp(0.125) / 2.0, widest_ratio=1.25)


def test_a_negative_denominator_has_a_positive_error():
    problem = mc.Expectation(lambda x: (x + 1.0, x - 2.0), STANDARD)
    result = run(mc.Ratio(0, 1), problem, None)
    low, high = result.interval()
    assert low < -0.5 < high
    assert result.std_error > 0


def test_a_denominator_near_zero_has_a_status():
    assert run(mc.Ratio("up", "odd"), PARTS, None).status == mc.Status.WEAK_DENOMINATOR
    none = run(mc.Ratio("up", "odd"), mc.Expectation(lambda x: {"up": x, "odd": 0.0 * x}, STANDARD), None)
    assert np.isnan(none.value)
    assert not none.ok
    assert run(mc.Ratio("up", "base"), PARTS, None).ok


def test_several_ratios_have_denominators_of_their_own():
    together = run({"a": mc.Ratio("up", "base"), "b": mc.Ratio("base", "up"), "c": mc.Mean("up")}, PARTS, None)
    assert together["a"].value * together["b"].value == pytest.approx(1.0, rel=1e-9)
    assert together["c"].value == pytest.approx(np.exp(0.125), rel=0.05)


def test_all_covariances_are_kept_for_each():
    both = run({"m": mc.Mean(), "r": mc.Ratio(None, "base")}, PARTS, WIDER, covariance="full", execution=BLOCKS)
    alone = run(mc.Ratio(None, "base"), PARTS, WIDER, covariance="full", execution=BLOCKS)
    assert both["m"].covariance.shape == (3, 3)
    np.testing.assert_allclose(both["r"].covariance, alone.covariance, rtol=1e-5, atol=1e-10)
    # base / base is 1, whatever else varies.
    assert both["r"].combination({"up": 0.0, "base": 1.0, "odd": 0.0}).std_error < 1e-4


def test_histograms_of_scores_and_integrals():
    score = mc.Probability(lambda x: x, STANDARD, 1.0)
    edges = np.asarray([-1.0, 0.0, 2.0])
    result = run({"histogram": mc.Histogram(edges), "probability": mc.Mean()}, score, None)
    low, high = result["histogram"].interval(0.9999)
    exact = np.diff(norm.cdf(edges))
    assert np.all((low < exact) & (exact < high))
    assert result["probability"].value == pytest.approx(norm.sf(1.0), abs=0.03)
    square = mc.Integral(lambda x: x**2, 0.0, 3.0)
    volume = run(mc.Histogram([0.0, 1.0, 9.0]), square, None)
    np.testing.assert_allclose(volume.value, [1.0, 2.0], atol=5 * volume.std_error.max())


def test_an_empty_bin_of_plain_samples_has_the_rule_of_three():
    result = run(mc.Histogram([-2.0, 0.0, 9.0, 10.0]), LOSS, None)
    assert result.value[2] == 0.0
    assert result.interval()[1][2] == pytest.approx(3.0 / 4_096, rel=0.01)


@pytest.mark.battery  # slow
def test_tail_risk_of_replicates_covers():
    keys = jax.random.split(jax.random.key(2), 100)
    runs = mc.replicate(keys, LOSS, mc.Normal(1.0, 1.2), budget=mc.Samples(1_024), functional=mc.TailRisk([0.9, 0.95]))
    low, high = runs.interval()
    exact = norm.ppf([0.9, 0.95])
    for level in range(2):
        sides = low["quantile"][:, level], high["quantile"][:, level]
        assert covered(*sides, exact[level]) >= least_covered(100)
    assert runs.value["shortfall"].shape == (100, 2)
    one = mc.estimate(keys[3], LOSS, mc.Normal(1.0, 1.2), budget=mc.Samples(1_024), functional=mc.TailRisk([0.9, 0.95]))
    np.testing.assert_array_equal(runs.value["quantile"][3], one.value["quantile"])
    assert "100 replicates" in str(runs)


def test_several_functionals_inside_a_trace_and_their_gradient():
    def ratio(location):
        problem = mc.Expectation(lambda x: {"up": jnp.exp(0.5 * x), "base": 2.0 + x}, mc.Normal(location, 1.0))
        results = mc.estimate(
            jax.random.key(1),
            problem,
            budget=mc.Samples(4_096),
            functional={"ratio": mc.Ratio("up", "base"), "mean": mc.Mean("base")},
        )
        return results["ratio"].value

    # exp(m / 2 + 1/8) / (2 + m): derivative at 0 is e^(1/8) (1/4 - 1/4).
    value, slope = jax.value_and_grad(ratio)(0.0)
    assert value == pytest.approx(np.exp(0.125) / 2, rel=0.03)
    assert slope == pytest.approx(0.0, abs=0.03)


def test_a_tolerance_is_kept_by_all():
    results = mc.estimate(
        jax.random.key(0), PARTS, budget=mc.Tolerance(rtol=0.02, atol=0.0),
        functional={"ratio": mc.Ratio("up", "base"), "mean": mc.Mean("up")},
    )  # fmt: skip
    for result in results.values():
        low, high = result.interval()
        assert high - low <= 2 * 0.02 * result.value


def test_every_functional_keeps_the_protocol():
    for functional in SEVERAL.values():
        assert isinstance(functional, Functional)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: run({}), "functional must be one of"),
        (lambda: run({"a": 3}), "functional must be one of"),
        (lambda: run(mc.Mean), "functional must be one of"),
    ],
)
def test_what_is_no_functional_is_refused(make, words):
    with pytest.raises(TypeError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: run(mc.Mean("down"), PARTS), "Mean: the integrand has no output 'down'"),
        (lambda: run(mc.Ratio("up", None), PARTS, controls=mc.Controls(lambda x: x, 0.0)), "controls are for means"),
        (lambda: run(mc.Ratio(None, 0), mc.Expectation(lambda x: jnp.ones((2, 2)), STANDARD)), "must be one number"),
        (lambda: run(mc.Histogram([0.0, 1.0]), PARTS), "must be a scalar"),
        (lambda: run(mc.TailRisk([0.9]), PARTS), "one number, the loss"),
        (lambda: jax.jit(lambda k: run(SEVERAL, key=0) if k is None else mc.estimate(
            k, LOSS, budget=mc.Samples(256), functional=SEVERAL))(jax.random.key(0)), "outside jit"),
        (lambda: mc.estimate(jax.random.key(0), LOSS, budget=mc.Tolerance(rtol=0.1, atol=0.1), functional=SEVERAL),
         "needs all samples"),
    ],
)  # fmt: skip
def test_mistakes_are_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def logged(size, key=31):
    """Losses of a wider law, and log-weights to the standard normal."""
    x = np.random.default_rng(key).normal(0.5, 1.5, size)
    return norm.logpdf(x) - norm.logpdf(x, 0.5, 1.5), x


def test_samples_of_others_have_functionals_too():
    log_w, x = logged(200_000)
    results = mc.estimate_from(log_w, x, functional=SEVERAL)
    exact = {"mean": 0.0, "ratio": 0.0, "histogram": np.diff(norm.cdf(np.linspace(-2.0, 2.0, 5)))}
    for name, truth in exact.items():
        assert np.all(np.abs(results[name].value - truth) < 4.5 * results[name].std_error), name
        assert results[name].ok
    risk = results["risk"]
    assert abs(risk.value["quantile"][0] - norm.ppf(0.9)) < 4.5 * 0.01
    assert abs(risk.value["shortfall"][0] - norm.pdf(norm.ppf(0.9)) / 0.1) < 4.5 * risk.std_error["shortfall"][0]


def test_they_are_what_the_engine_makes_of_the_same_samples():
    log_w, x = logged(4_000)
    alone = mc.estimate_from(log_w, x, weighting=mc.weighting.SelfNormalised())
    for weighting in (mc.weighting.Raw(), mc.weighting.SelfNormalised()):
        ratio = mc.estimate_from(log_w, x, functional=mc.Ratio(), weighting=weighting)
        assert ratio.value == pytest.approx(alone.value, rel=1e-12)
        assert ratio.std_error == pytest.approx(alone.std_error, rel=1e-9)
        assert ratio.pareto_k == pytest.approx(alone.pareto_k, rel=1e-9)
    two = mc.estimate_from(log_w, {"up": np.exp(0.5 * x), "base": 2.0 + x}, functional=[mc.Ratio("up", "base")])
    both = mc.estimate_from(log_w, np.stack([np.exp(0.5 * x), 2.0 + x], axis=1), covariance="full")
    by_hand = both.function_of(lambda value: value[0] / value[1])
    assert two[0].value == pytest.approx(by_hand.value, rel=1e-9)
    assert two[0].std_error == pytest.approx(by_hand.std_error, rel=1e-6)
    with pytest.raises(ValueError, match="finite_sample is for the mean"):
        mc.estimate_from(None, np.abs(x), functional=mc.Mean(), finite_sample="betting", largest=10.0)
