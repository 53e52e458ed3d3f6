"""The gradient of a proposal's second moment and of its divergence from the best: closed forms, honest intervals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import integrate, stats

import mcengine as mc
from tests.statistics import covered

# f = exp(x / 2) under N(0, 1): p f is N(1/2, 1) up to a constant, so for q = N(m, 1) the second moment of w f is
# exp((m - 1/2)^2) times a constant, and KL = (m - 1/2)^2 / 2.
EXPONENTIAL = mc.Expectation(lambda x: jnp.exp(0.5 * x), mc.Normal(0.0, 1.0))
TAIL = mc.Probability(lambda x: x, mc.Normal(0.0, 1.0), 3.0)
SLOPE = {"variance": 2.0, "cross_entropy": 1.0}


def moved(m):
    return mc.Normal(m, 1.0)


def both(p):
    return mc.Normal(p["loc"], p["scale"])


@pytest.mark.parametrize(("objective", "form"), [("variance", "score"), ("cross_entropy", "pathwise")])
def test_closed_forms(key, objective, form):
    options = {"objective": objective, "form": form, "budget": mc.Samples(100_000)}
    run = mc.estimate_proposal_gradient(key, EXPONENTIAL, moved, 0.9, **options)
    assert run.value == pytest.approx(SLOPE[objective] * 0.4, abs=4.5 * run.std_error + 1e-6)
    assert run.std_error < 0.02


def test_at_the_best_proposal_the_pathwise_form_has_no_variance(key):
    options = {"budget": mc.Samples(10_000)}
    path = mc.estimate_proposal_gradient(key, EXPONENTIAL, moved, 0.5, form="pathwise", **options)
    score = mc.estimate_proposal_gradient(key, EXPONENTIAL, moved, 0.5, **options)
    assert abs(path.value) < 1e-5
    assert path.std_error < 1e-6 < 1e-3 < score.std_error


def test_a_tail_by_quadrature(key):
    # grad log int_3^inf p^2 / q.
    def log_second_moment(loc, scale):
        ratio = lambda x: stats.norm.pdf(x) ** 2 / stats.norm.pdf(x, loc, scale)  # noqa: E731
        return np.log(integrate.quad(ratio, 3.0, 12.0, epsabs=0, epsrel=1e-12)[0])

    step = 1e-4
    exact = {
        "loc": (log_second_moment(2.6 + step, 0.9) - log_second_moment(2.6 - step, 0.9)) / (2 * step),
        "scale": (log_second_moment(2.6, 0.9 + step) - log_second_moment(2.6, 0.9 - step)) / (2 * step),
    }
    run = mc.estimate_proposal_gradient(key, TAIL, both, {"loc": 2.6, "scale": 0.9}, budget=mc.Samples(100_000))
    for name, truth in exact.items():
        assert run.value[name] == pytest.approx(truth, abs=4.5 * run.std_error[name])
        assert run.std_error[name] < 0.05 * abs(truth)


@pytest.mark.parametrize("form", [pytest.param("score", marks=pytest.mark.battery), "pathwise"])
def test_intervals_cover(key, form):
    def run(key):
        cubic = mc.Expectation(lambda x: 2.0 + jnp.sin(x), mc.Normal(0.0, 1.0))
        return mc.estimate_proposal_gradient(key, cubic, both, {"loc": 0.3, "scale": 1.2}, form=form, budget=budget)

    budget = mc.Samples(2_000)
    batch = jax.jit(jax.vmap(run))(jax.random.split(key, 400))
    low, high = batch.interval()

    def log_second_moment(loc, scale):
        ratio = lambda x: (stats.norm.pdf(x) * (2 + np.sin(x))) ** 2 / stats.norm.pdf(x, loc, scale)  # noqa: E731
        return np.log(integrate.quad(ratio, -12, 12, epsabs=0, epsrel=1e-12)[0])

    step = 1e-4
    ends = {"loc": [(0.3 + step, 1.2), (0.3 - step, 1.2)], "scale": [(0.3, 1.2 + step), (0.3, 1.2 - step)]}
    for name, (above, below) in ends.items():
        truth = (log_second_moment(*above) - log_second_moment(*below)) / (2 * step)
        assert covered(low[name], high[name], truth) >= 364
        assert np.median(high[name] - low[name]) < 1.25 * 2 * 1.96 * np.std(batch.value[name])


def test_an_optimiser_finds_the_best_proposal(key):
    optimiser = optax.sgd(0.3)

    def step(carry, key):
        m, state = carry
        slope = mc.estimate_proposal_gradient(key, TAIL, moved, m, budget=mc.Samples(2_000)).value
        update, state = optimiser.update(slope, state)
        return (optax.apply_updates(m, update), state), None

    start = jnp.asarray(2.0)
    (m, _), _ = jax.lax.scan(step, (start, optimiser.init(start)), jax.random.split(key, 40))
    # The minimum of log int_3^inf p^2 / q over m, by quadrature of exp(-x^2 + (x - m)^2 / 2).
    grid = np.linspace(2.5, 4.0, 1501)
    best = grid[np.argmin(grid**2 + stats.norm.logsf(3.0 + grid))]
    assert float(m) == pytest.approx(best, abs=0.05)


def two_numbers(x):
    return jnp.stack([x, x])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((TAIL, moved, 3), {}, TypeError, "parameters must be a float"),
        ((TAIL, moved, 3.0), {"objective": "entropy"}, ValueError, "objective must be 'variance' or"),
        ((TAIL, moved, 3.0), {"form": "frozen"}, ValueError, "form must be 'score' or 'pathwise'"),
        ((TAIL, moved, 3.0), {"form": "pathwise"}, ValueError, "pathwise gradient of a Probability"),
        ((TAIL, lambda m: m, 3.0), {}, TypeError, "log_prob"),
        ((moved, moved, 3.0), {}, TypeError, "problem must be an Expectation"),
        ((TAIL, lambda m: mc.Uniform(m, 9.0), 2.0), {}, ValueError, "the support of Uniform moves"),
        ((mc.Expectation(two_numbers, mc.Normal()), moved, 3.0), {}, ValueError, "must return one number"),
    ],
)
def test_mistakes_are_named(arguments, options, error, words):
    with pytest.raises(error, match=words):
        mc.estimate_proposal_gradient(jax.random.key(0), *arguments, budget=mc.Samples(100), **options)
