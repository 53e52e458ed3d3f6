"""Each mistake gets an error that names it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc

KEY = jax.random.key(0)
STANDARD = mc.Normal(0.0, 1.0)
SQUARE = mc.Expectation(lambda x: x**2, STANDARD)
BUDGET = mc.Samples(100)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: mc.Samples(0), ValueError, "must be positive, got 0"),
        (lambda: mc.Samples(-5), ValueError, "must be positive, got -5"),
        (lambda: mc.Samples(1.5), TypeError, "whole number, got 1.5"),
        (lambda: mc.Samples("many"), TypeError, "whole number, got 'many'"),
        (lambda: mc.Seconds(0.0), ValueError, "must be positive and finite, got 0.0"),
        (lambda: mc.Seconds(float("nan")), ValueError, "must be positive and finite, got nan"),
        (lambda: mc.Integral(lambda x: x, 1.0, 0.0), ValueError, r"(?s)lower.*1.*0"),
        (lambda: mc.Integral(lambda x: x, [0.0, 1.0], [1.0, 1.0]), ValueError, "upper"),
        (lambda: mc.Integral(lambda x: x, float("nan"), 1.0), ValueError, "nan"),
        (lambda: mc.Normal(0.0, -1.0), ValueError, "scale must be positive"),
        (lambda: mc.Mixture([STANDARD, STANDARD], [0.5, 0.6]), ValueError, "sum to 1"),
        (lambda: mc.weighting.Truncated(0.0), ValueError, "low < high"),
        (lambda: mc.weighting.Clipped(2.0, 1.0), ValueError, "low=2.0, high=1.0"),
        (lambda: mc.points.IID(words=3), ValueError, "words must be 1 or 2, got 3"),
        (lambda: mc.Execution(block_size=1_000), ValueError, "power of two, got 1000"),
        (lambda: mc.Execution(blocks_per_call=0), ValueError, "at least 1, got 0"),
        (lambda: mc.estimate(0, SQUARE, budget=BUDGET), TypeError, "jax.random.key"),
        (lambda: mc.estimate(jax.random.split(KEY), SQUARE, budget=BUDGET), TypeError, "one key"),
        (
            lambda: mc.estimate(KEY, SQUARE, budget=1_000),
            TypeError,
            r"mc.Samples\(n\), mc.Seconds\(s\) or mc.Tolerance",
        ),
        (lambda: mc.estimate(KEY, SQUARE, mc.Normal([0.0, 0.0], 1.0), budget=BUDGET), ValueError, r"\(2,\).*\(\)"),
        (lambda: mc.estimate(KEY, SQUARE, "normal", budget=BUDGET), TypeError, "log_prob"),
        (lambda: mc.estimate(KEY, SQUARE, mc.Uniform(-1.0, 1.0), budget=BUDGET), ValueError, "no density at x"),
        (lambda: mc.estimate(KEY, SQUARE, budget=BUDGET, weighting="raw"), TypeError, "weighting"),
        (lambda: mc.estimate(KEY, SQUARE, budget=BUDGET, points=mc.points.IID), TypeError, "points"),
        (
            lambda: mc.estimate(KEY, SQUARE, budget=mc.Seconds(0.1), weighting=mc.weighting.Truncated()),
            ValueError,
            "limit",
        ),
        (lambda: mc.estimate(KEY, mc.Expectation(lambda x: 1j * x, STANDARD), budget=BUDGET), ValueError, "complex"),
        (
            lambda: mc.estimate(KEY, mc.Expectation(lambda x: (), STANDARD), budget=BUDGET),
            ValueError,
            "returns nothing",
        ),
        (lambda: mc.estimate(KEY, SQUARE, budget=BUDGET).interval(1.5), ValueError, "level must lie"),
        (lambda: picks(mc.Mean(5)), ValueError, r"no output 5; it returns shapes \(2,\)"),
        (lambda: picks(mc.Mean(-7)), ValueError, "no output -7"),
        (lambda: picks(mc.Mean("loss")), ValueError, "no output 'loss'"),
        (lambda: picks(mc.Histogram([0.0, 1.0], output=5)), ValueError, "no output 5"),
        (lambda: picks(mc.Ratio(0, 5)), ValueError, "no output 5"),
        (lambda: picks(mc.TailRisk([0.9], output=5)), ValueError, "no output 5"),
        (lambda: mc.estimate_from([0.0, 0.0], [1.0]), ValueError, "lengths differ"),
        (lambda: mc.estimate_from(None, [0.5], largest=np.inf), ValueError, "positive and finite, got inf"),
        (lambda: mc.estimate_from(None, [0.5], largest=-1.0), ValueError, "positive and finite, got -1.0"),
        (lambda: mc.estimate_from([], []), ValueError, "no samples"),
        (lambda: mc.estimate_from([0.0] * 4, np.zeros((4, 0))), ValueError, "no values"),
        (lambda: mc.estimate_from([0.0] * 4, {}), ValueError, "no values"),
        (lambda: estimate_with(mc.Expectation(lambda x: jnp.zeros((0,)), STANDARD)), ValueError, "returns nothing"),
        (
            lambda: mc.replicate(jax.random.split(jax.random.key(5), 3)[:0], SQUARE, budget=BUDGET),
            ValueError,
            "no keys",
        ),
        (lambda: mc.Samples(10**30), ValueError, "more than 2\\^48 samples"),
        (lambda: mc.estimate_from(np.zeros((2, 2)), np.zeros(2)), ValueError, "one axis"),
        (lambda: mc.estimate_from([0.0] * 4, 1j * np.ones(4)), ValueError, "complex"),
        (lambda: mc.estimate_from([0.0] * 4, np.ones(4), weighting="raw"), TypeError, "estimate_from: weighting"),
        (lambda: jax.jit(lambda v: mc.estimate_from(None, v).value)(jnp.ones(4)), TypeError, "inside jit"),
        (lambda: mc.estimate(KEY, lambda x: x, budget=BUDGET), TypeError, "problem must be an Expectation"),
        (lambda: mc.replicate(KEY, SQUARE, budget=BUDGET), TypeError, "array of keys"),
        (lambda: mc.replicate([jax.random.key(1)], SQUARE, budget=BUDGET), TypeError, "array of keys"),
        (lambda: estimate_with(controls=lambda x: x), TypeError, r"controls must be mc.Controls\(function, means\)"),
        (lambda: estimate_with(controls=[0.0]), TypeError, "controls must be"),
        (lambda: estimate_with(controls=mc.Components), TypeError, "controls must be"),
        (lambda: estimate_with(execution=None), TypeError, "execution must be an mc.Execution"),
        (lambda: mc.Execution(devices="gpu"), TypeError, "devices must be JAX devices such as .* got 'gpu'"),
        (lambda: mc.Execution(devices=[0]), TypeError, "devices must be JAX devices"),
        (lambda: mc.difference(1, 2), TypeError, "difference: the first problem must be an Expectation.* got 1"),
        (lambda: mc.difference(SQUARE, 2), TypeError, "difference: the second problem .* got 2"),
        (lambda: mc.Tolerance(atol=np.asarray([0.1, 0.2])), TypeError, "atol must be one number"),
        (lambda: mc.Tolerance(rtol="small"), TypeError, "rtol must be one number"),
        (lambda: estimate_with(proposal=TwoDensities()), ValueError, r"log_prob of the proposal .* got shape \(2,\)"),
        (
            lambda: estimate_with(mc.Expectation(lambda x: x, TwoDensities()), STANDARD),
            ValueError,
            r"log_prob of the target \(TwoDensities\) must give one number",
        ),
        (
            lambda: jax.jit(lambda key: mc.estimate(key, SQUARE, budget=BUDGET).interval()[0])(KEY),
            ValueError,
            "interval: .* inside jit",
        ),
        (
            lambda: mc.choose_mixture_weights(0, SQUARE, mc.mixture([STANDARD]), budget=BUDGET),
            TypeError,
            "choose_mixture_weights: key",
        ),
        (
            lambda: mc.estimate_gradient(
                KEY,
                lambda m: mc.Expectation(lambda x: x, mc.Normal(m, 1.0)),
                0.0,
                baseline=True,
                controls=mc.Components(),
                budget=BUDGET,
            ),
            TypeError,
            "estimate_gradient: controls must be",
        ),
    ],
)
def test_mistakes_are_named(make, error, words):
    with pytest.raises(error, match=words):
        make()


def picks(functional):
    pair = mc.Expectation(lambda x: jnp.stack([x, x + 1.0]), STANDARD)
    return mc.estimate(KEY, pair, budget=BUDGET, functional=functional)


class TwoDensities:
    """A batch of two by mistake."""

    def sample(self, key):
        return jax.random.normal(key)

    def log_prob(self, x):
        return jnp.stack([x, x])


def estimate_with(problem=SQUARE, proposal=None, **options):
    return mc.estimate(KEY, problem, proposal, budget=BUDGET, **options)


def decides(x):
    return x if x > 0 else 0.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: estimate_with(mc.Expectation(decides, STANDARD)),
        lambda: estimate_with(mc.Expectation(lambda x: np.exp(x), STANDARD)),
        lambda: estimate_with(mc.Expectation(lambda x: math.exp(x), STANDARD)),
        lambda: estimate_with(mc.Probability(decides, STANDARD, 1.0)),
        lambda: estimate_with(controls=mc.Controls(decides, 0.4)),
        lambda: mc.replicate(jax.random.split(jax.random.key(1), 2), mc.Expectation(decides, STANDARD), budget=BUDGET),
        lambda: mc.difference(mc.Expectation(decides, STANDARD), SQUARE),
        lambda: mc.conditional(mc.Probability(lambda x: decides(x[0]), mc.Normal(np.zeros(2), 1.0), 1.0)),
        lambda: mc.choose_mixture_weights(KEY, mc.Expectation(decides, STANDARD), mc.mixture([STANDARD, STANDARD])),
    ],
)
def test_a_function_that_asks_for_the_numbers_of_a_sample_is_told_what_to_use_instead(call):
    with pytest.raises(TypeError) as caught:
        call()
    (note,) = [note for note in caught.value.__notes__ if note.startswith("mcengine: ")]
    assert "jnp.where(condition, a, b) instead of if" in note


GAP = mc.Mixture([mc.Uniform(0.0, 1.0), mc.Uniform(2.0, 3.0)], [0.5, 0.5])


class OnlyBelowZero:
    """A proposal of a user's own, which declares no support."""

    def sample(self, key):
        return -jax.random.exponential(key)

    def log_prob(self, x):
        return jnp.where(x <= 0, x, -jnp.inf)


@pytest.mark.parametrize(
    ("target", "proposal", "weighting"),
    [
        (mc.Categorical([0.3, 0.3, 0.4]), mc.Categorical([0.5, 0.5, 0.0]), mc.weighting.Raw()),
        (mc.Uniform(0.0, 3.0), GAP, mc.weighting.Raw()),
        (STANDARD, OnlyBelowZero(), mc.weighting.Raw()),
    ],
)
def test_a_proposal_that_misses_a_part_of_the_target_is_refused(target, proposal, weighting):
    with pytest.raises(ValueError, match="the proposal has no density at x"):
        mc.estimate(
            KEY,
            mc.Expectation(lambda x: jnp.asarray(x, float) + 1.0, target),
            proposal,
            budget=BUDGET,
            weighting=weighting,
        )


def test_a_ratio_needs_all_of_the_target_whatever_the_integrand():
    positive = mc.Expectation(lambda x: jnp.maximum(x, 0.0), STANDARD)
    half = mc.Truncated(STANDARD, 0.0, jnp.inf)
    assert mc.estimate(KEY, positive, half, budget=BUDGET).value == pytest.approx(0.4, abs=0.1)
    with pytest.raises(ValueError, match="a self-normalised estimate needs all of it"):
        mc.estimate(KEY, positive, half, budget=BUDGET, weighting=mc.weighting.SelfNormalised())


def test_a_narrower_proposal_is_right_where_the_integrand_is_zero_outside():
    tail = mc.Probability(lambda x: x, STANDARD, 3.0)
    truncated = mc.Truncated(STANDARD, 3.0, jnp.inf)
    result = mc.estimate(KEY, tail, truncated, budget=BUDGET)
    assert result.value == pytest.approx(1.3499e-3, rel=1e-3)


def test_unhashable_statics_are_refused():
    import equinox as eqx

    class Holder(eqx.Module):
        names: list

        def __call__(self, x):
            return x

    class Odd:
        __hash__ = None

    with pytest.raises(TypeError, match="not a number, an array or hashable"):
        mc.estimate(KEY, mc.Expectation(Holder([Odd()]), STANDARD), budget=BUDGET)
