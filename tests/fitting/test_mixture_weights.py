"""Chosen mixture weights: the least variance by quadrature, never much worse than equal weights, floors respected."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

import mcengine as mc
from experiments.config import build_problem, compose
from mcengine.fitting.mixture_weights import WeightPilot, least_variance_weights
from tests.statistics import assert_honest

STANDARD = mc.Normal(0.0, 1.0)
COMPONENTS = [mc.Normal(-3.0, 0.7), mc.Normal(3.2, 0.5), STANDARD]
TAILS = mc.Expectation(lambda x: jnp.where(jnp.abs(x) > 2.5, 1.0 + x * x, 0.0), STANDARD)
X = np.linspace(-9.0, 9.0, 36_001)
STEP = X[1] - X[0]
P_F = stats.norm.pdf(X) * np.where(np.abs(X) > 2.5, 1 + X**2, 0.0)
Q = np.stack([stats.norm.pdf(X, -3.0, 0.7), stats.norm.pdf(X, 3.2, 0.5), stats.norm.pdf(X)])


def by_quadrature(p_f, q):
    """The grid as a pilot: every point of X has its probability under the equal mixture."""
    equal = q.mean(axis=0)
    mean = np.sum(p_f) * STEP
    return WeightPilot((p_f / equal / mean) ** 2 * equal * STEP * len(X), (q / equal).T, 1.0)


def variance(alpha, p_f=P_F, q=Q):
    return np.sum(p_f**2 / (alpha @ q)) * STEP - (np.sum(p_f) * STEP) ** 2


def least_by_scipy(objective, num):
    def on_simplex(z):
        return np.exp(z) / np.exp(z).sum()

    found = optimize.minimize(lambda z: np.log(objective(on_simplex(z))), np.zeros(num), tol=1e-14)
    return on_simplex(found.x)


@pytest.mark.parametrize("costs", [[1.0, 1.0], [1.0, 4.0]])
@pytest.mark.parametrize("level", [1.0, 2.0])
def test_the_least_variance_of_two_components_is_found(costs, level):
    p_f = stats.norm.pdf(X) * np.where(level < X, 1 + X**2, 0.2)
    q, costs = Q[1:], np.asarray(costs)
    found = least_variance_weights(by_quadrature(p_f, q), costs, 1e-9)
    best = least_by_scipy(lambda alpha: variance(alpha, p_f, q) * (alpha @ costs), 2)
    np.testing.assert_allclose(found, best, atol=2e-4)


def test_no_weights_above_the_floor_are_better():
    least = 0.05 / 3
    found = least_variance_weights(by_quadrature(P_F, Q), np.ones(3), least)
    assert found.min() == pytest.approx(least)
    assert found.sum() == pytest.approx(1.0)
    others = least + (1 - 3 * least) * np.random.default_rng(0).dirichlet([1, 1, 0.2], 500)
    others = np.concatenate([others, 0.97 * found + 0.03 * others])
    assert variance(found) <= min(map(variance, others)) * (1 + 1e-7)


def test_equal_weights_are_the_best_for_a_symmetric_problem():
    q = np.stack([stats.norm.pdf(X, m, 0.6) for m in (-2.5, 2.5)])
    found = least_variance_weights(by_quadrature(P_F, q), np.ones(2), 1e-3)
    np.testing.assert_allclose(found, 0.5, atol=1e-6)


def test_a_pilot_finds_the_best_weights(key):
    chosen = mc.choose_mixture_weights(key, TAILS, mc.mixture(COMPONENTS))
    best = least_variance_weights(by_quadrature(P_F, Q), np.ones(3), 0.05 / 3)
    assert variance(np.asarray(chosen.weights, np.float64)) < 1.01 * variance(best) < 0.6 * variance(np.ones(3) / 3)
    again = mc.choose_mixture_weights(key, TAILS, mc.mixture(COMPONENTS, [0.2, 0.2, 0.6]))
    np.testing.assert_array_equal(chosen.weights, again.weights)


def test_estimates_with_chosen_weights_are_honest(key):
    first, second = jax.random.split(key)
    chosen = mc.choose_mixture_weights(first, TAILS, mc.mixture(COMPONENTS), budget=mc.Samples(500))
    runs = mc.replicate(jax.random.split(second, 400), TAILS, chosen, budget=mc.Samples(2_000))
    assert_honest(runs, np.sum(P_F) * STEP, widest_ratio=1.25)


def test_directions_to_the_lamp_get_most_of_the_weight(key):
    problem, mixture = build_problem(compose(["problem=plane_light", "proposal=plane_light/cosine_and_lamp"]))
    chosen = mc.choose_mixture_weights(key, problem, mixture)
    # Directions to the lamp alone have nearly no variance; the battery measures the gain, there and elsewhere.
    assert float(chosen.weights[1]) > 0.9


def test_a_component_far_away_gets_the_floor(key):
    far = mc.mixture([*COMPONENTS[:2], mc.Normal(30.0, 1.0)])
    chosen = mc.choose_mixture_weights(key, TAILS, far, floor=0.1)
    assert float(chosen.weights[2]) == pytest.approx(0.1 / 3, rel=1e-5)


def test_a_pilot_with_few_hits_stays_near_equal_weights(key):
    rare = mc.Probability(lambda x: x, STANDARD, 4.5)
    halves = [STANDARD, mc.Normal(2.0, 1.0)]
    chosen = mc.choose_mixture_weights(key, rare, mc.mixture(halves), budget=mc.Samples(2_000))
    assert float(chosen.weights.min()) > 0.5 * 0.2  # about five hits


def test_every_output_counts_whatever_its_scale(key):
    def both(x):
        return {"left": jnp.where(x < -2.5, 1e6, 0.0), "right": jnp.where(x > 3.0, 1e-6, 0.0)}

    chosen = mc.choose_mixture_weights(
        key, mc.Expectation(both, STANDARD), mc.mixture(COMPONENTS), budget=mc.Samples(2**15)
    )
    sides = [stats.norm.pdf(X) * (X < -2.5), stats.norm.pdf(X) * (X > 3.0)]

    def total(alpha):
        return sum(variance(alpha, side, Q) / (np.sum(side) * STEP) ** 2 for side in sides)

    best = least_by_scipy(total, 3)
    assert total(np.asarray(chosen.weights, np.float64)) < 1.03 * total(best)


def test_expensive_components_get_less_weight(key):
    found = [
        mc.choose_mixture_weights(key, TAILS, mc.mixture(COMPONENTS), costs=costs).weights[1]
        for costs in (None, [1.0, 9.0, 1.0])
    ]
    assert found[1] < 0.8 * found[0]


def test_without_a_hit_nothing_changes_and_a_warning_says_so(key):
    never = mc.Probability(lambda x: x, STANDARD, 30.0)
    mixture = mc.mixture([STANDARD, mc.Normal(1.0, 1.0)], [0.3, 0.7])
    with pytest.warns(RuntimeWarning, match="all samples of the pilot have f = 0"):
        chosen = mc.choose_mixture_weights(key, never, mixture)
    np.testing.assert_array_equal(chosen.weights, mixture.weights)


def test_samples_that_are_not_finite_do_not_disturb_the_choice(key):
    broken = mc.Expectation(lambda x: jnp.where(x > 3.0, jnp.nan, jnp.abs(x)), STANDARD)
    chosen = mc.choose_mixture_weights(key, broken, mc.mixture(COMPONENTS))
    assert np.all(np.isfinite(chosen.weights))
    assert mc.estimate(jax.random.key(1), broken, chosen, budget=mc.Samples(1_000)).status == mc.Status.NON_FINITE


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"mixture": STANDARD}, TypeError, "needs a mixture"),
        ({"mixture": mc.multi_sample(COMPONENTS, [1, 1, 1])}, TypeError, r"multi_sample\(chosen, total=...\)"),
        ({"mixture": mc.mixture([mc.Normal([0.0, 0.0], 1.0)])}, ValueError, r"\(2,\).*\(\)"),
        ({"mixture": mc.mixture([mc.Uniform(-1.0, 1.0)])}, ValueError, "no density at x"),
        ({"budget": mc.Seconds(1.0)}, TypeError, r"budget must be mc.Samples\(n\)"),
        ({"floor": 0.0}, ValueError, r"floor must lie in \(0, 1\], got 0.0"),
        ({"floor": float("nan")}, ValueError, "floor must lie in"),
        ({"costs": [1.0, 2.0]}, ValueError, "3 positive numbers"),
        ({"costs": [1.0, 0.0, 1.0]}, ValueError, "3 positive numbers"),
    ],
)
def test_mistakes_are_named(options, error, words):
    arguments = {"mixture": mc.mixture(COMPONENTS)} | options
    with pytest.raises(error, match=words):
        mc.choose_mixture_weights(jax.random.key(0), TAILS, **arguments)


def test_inside_a_trace_it_raises(key):
    with pytest.raises(TypeError, match="cannot be called inside jit"):
        jax.jit(lambda k: mc.choose_mixture_weights(k, TAILS, mc.mixture(COMPONENTS)).weights)(key)
