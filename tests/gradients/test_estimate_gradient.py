"""Gradients with error bars: closed forms, honest intervals, known variances, and errors that name the mistake."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc
from tests.compilations import compilations
from tests.gradients.cases import LOGITS, NORMAL, TAIL, assert_closed_form, beyond_four, lifetime, prize, square
from tests.statistics import MIN_COVERED

SELF_NORMALISED = mc.weighting.SelfNormalised()


@pytest.mark.parametrize("name", ["normal, moving proposal", "tail, frozen proposal"])
def test_closed_forms_are_met_and_intervals_cover(key, name):
    assert_closed_form(key, name)


def variance(result):
    """Per sample, of every entry."""
    return jax.tree.map(lambda error: float(error**2 * result.num_samples), result.std_error)


@pytest.mark.battery
def test_variances_are_the_known_ones(key):
    # For x and x^2 under N(m, 1). Score: Var[x z] = m^2 + 2 and Var[x^2 z] = m^4 + 14 m^2 + 15; the baseline subtracts
    # Cov[., z]^2 = m^2 and (m^2 + 3)^2. Pathwise: Var[1] = 0 and Var[2 x] = 4.
    def problem_of(m):
        return mc.Expectation(lambda x: jnp.stack([x, x**2]), mc.Normal(m, 1.0))

    m, options = 5.0, ({}, {"baseline": True}, {"form": "pathwise"})
    score = np.asarray([m**2 + 2, m**4 + 14 * m**2 + 15])
    exact = [score, score - [m**2, (m**2 + 3) ** 2], [0.0, 4.0]]
    for each, truth in zip(options, exact, strict=True):
        run = mc.estimate_gradient(key, problem_of, m, budget=mc.Samples(2**18), **each)
        seen = run.std_error["gradient"] ** 2 * run.num_samples
        np.testing.assert_allclose(seen, truth, rtol=0.05, atol=1e-6)


def test_the_baseline_joins_other_controls(key):
    def problem_of(m):
        return mc.Expectation(lambda x: x**2, mc.Normal(m, 1.0))

    known = mc.Controls(lambda x: x**3, 2.0**3 + 3 * 2.0)
    run = mc.estimate_gradient(key, problem_of, 2.0, controls=known, baseline=True, budget=mc.Samples(2**16))
    assert run.value["gradient"] == pytest.approx(4.0, abs=4 * run.std_error["gradient"])
    # x^2 z is a polynomial of degree 3: the residual is its part orthogonal to x^3 and z.
    assert variance(run)["gradient"] < 0.5 * (2.0**4 + 14 * 2.0**2 + 15 - (2.0**2 + 3) ** 2)


def test_controls_are_functions_of_the_sample_in_the_pathwise_form(key):
    def problem_of(m):
        return mc.Expectation(lambda x: x**2, mc.Normal(m, 1.0))

    known = mc.Controls(lambda x: x, 2.0)
    run = mc.estimate_gradient(key, problem_of, 2.0, form="pathwise", controls=known, budget=mc.Samples(2**14))
    assert variance(run)["gradient"] < 1e-6  # 2 x is the control itself
    assert run.value["gradient"] == pytest.approx(4.0, rel=1e-4)


class Bump(eqx.Module):
    """N(loc, scale^2) up to a constant that depends on both."""

    loc: jax.Array
    scale: jax.Array

    def log_prob(self, x):
        return 3.0 * self.loc + jnp.square(self.scale) - 0.5 * jnp.square((x - self.loc) / self.scale)


def powers(p):
    return mc.Expectation(lambda x: {"square": x**2, "odd": jnp.stack([x, x**3])}, Bump(p["loc"], p["scale"]))


@pytest.mark.parametrize(
    ("form", "proposal"), [("score", mc.Normal(1.3, 1.0)), ("pathwise", lambda p: mc.Normal(0.9 * p["loc"], 1.0))]
)
def test_gradients_of_self_normalised_estimates_cover(key, form, proposal):
    options = {"form": form, "weighting": SELF_NORMALISED, "budget": mc.Samples(2_000)}
    one = lambda key: mc.estimate_gradient(key, powers, NORMAL, proposal, **options)  # noqa: E731
    keys = jax.random.split(key, 400)
    runs = jax.jit(jax.vmap(one))(keys)
    low, high = runs.interval()
    m, s = NORMAL["loc"], NORMAL["scale"]
    exact = {
        "square": {"loc": 2 * m, "scale": 2 * s},
        "odd": {"loc": np.asarray([1.0, 3 * m**2 + 3 * s**2]), "scale": np.asarray([0.0, 6 * m * s])},
    }
    inside = jax.tree.map(lambda a, b, t: np.sum((a <= t) & (t <= b), axis=0), low["gradient"], high["gradient"], exact)
    assert all(np.all(count >= MIN_COVERED[400]) for count in jax.tree.leaves(inside))
    alone = one(jax.random.clone(keys[7]))
    for here, there in zip(jax.tree.leaves(alone.value), jax.tree.leaves(runs.value), strict=True):
        np.testing.assert_allclose(here, there[7], rtol=2e-4, atol=2e-4)
    assert alone.ok
    assert alone.std_error["gradient"]["odd"]["loc"].shape == (2,)
    with pytest.raises(TypeError, match="draw all samples in one run"):
        alone.merge(alone)


def test_a_parameter_of_the_integrand_alone_is_not_flagged_for_its_score(key):
    def problem_of(rate):
        return mc.Expectation(lambda x: jnp.exp(rate * x), mc.Normal())

    run = mc.estimate_gradient(
        key, problem_of, 0.5, mc.Normal(0.3, 1.2), weighting=SELF_NORMALISED, budget=mc.Samples(2**14)
    )
    assert run.ok
    assert run.value["gradient"] == pytest.approx(0.5 * np.exp(0.125), abs=4 * run.std_error["gradient"])


@pytest.mark.parametrize("form", ["score", "pathwise"])
def test_it_is_the_gradient_of_the_estimate_on_the_same_samples(key, form):
    execution, budget = mc.Execution(block_size=1_024), mc.Samples(1_000)

    def value(p):
        problem = square(p)
        proposal = jax.lax.stop_gradient(problem.target) if form == "score" else None
        return mc.estimate(key, problem, proposal, budget=budget, execution=execution).value

    parameters = jax.tree.map(jnp.asarray, NORMAL)
    run = mc.estimate_gradient(key, square, NORMAL, form=form, budget=budget, execution=execution)
    for name, slope in jax.grad(value)(parameters).items():
        np.testing.assert_allclose(run.value["gradient"][name], slope, rtol=1e-6)


def test_inside_jit_and_vmap_it_is_the_same(key):
    def run(key, rate):
        problem_of = lambda rate: mc.Expectation(jnp.square, mc.Exponential(rate))  # noqa: E731
        return mc.estimate_gradient(key, problem_of, rate, budget=mc.Samples(1_000))

    keys, rates = jax.random.split(key, 3), jnp.asarray([0.5, 1.5, 2.0])
    batch, alone = jax.jit(jax.vmap(run))(keys, rates), run(keys[2], rates[2])
    for name in ("value", "std_error"):
        for got, host in zip(*map(jax.tree.leaves, (getattr(batch, name), getattr(alone, name))), strict=True):
            np.testing.assert_allclose(got[2], host, rtol=1e-4)
    assert batch.status_code.shape == (3,)


@pytest.mark.parametrize(
    ("form", "proposal"), [("score", None), ("pathwise", lambda p: mc.Normal(p["loc"] + 0.2, 1.3))]
)
def test_a_second_derivative_is_the_hessian(key, form, proposal):
    def slope(p):
        run = mc.estimate_gradient(key, square, p, proposal, form=form, budget=mc.Samples(200_000))
        return run.value["gradient"]["loc"]

    # d2/dloc2 E[x^2] = 2, d2/dloc dscale = 0.
    second = jax.jit(jax.grad(slope))(jax.tree.map(jnp.asarray, NORMAL))
    assert float(second["loc"]) == pytest.approx(2.0, abs=0.15)
    assert float(second["scale"]) == pytest.approx(0.0, abs=0.15)


def test_the_gradient_of_an_array_is_a_jacobian(key):
    def problem_of(p):
        return mc.Expectation(lambda x: {"both": jnp.stack([x, p["factor"] * x**2])}, mc.Normal(p["loc"], 1.0))

    run = mc.estimate_gradient(key, problem_of, {"loc": 1.0, "factor": 3.0}, budget=mc.Samples(50_000))
    exact = {"loc": [1.0, 6.0], "factor": [0.0, 2.0]}
    for name, truth in exact.items():
        error = np.nan_to_num(run.std_error["gradient"]["both"][name])
        np.testing.assert_array_less(abs(run.value["gradient"]["both"][name] - truth), 4.5 * error + 1e-9)


def test_a_moving_limit_of_an_integral_is_pathwise(key):
    run = mc.estimate_gradient(
        key, lambda b: mc.Integral(lambda x: x**2, 0.0, b), 2.0, form="pathwise",
        points=mc.points.Sobol(), budget=mc.Samples(2**14),
    )  # fmt: skip
    assert run.value["gradient"] == pytest.approx(4.0, rel=1e-4)
    assert run.num_units < 2**14


def test_a_parameter_of_the_integrand_alone_is_its_derivative(key):
    run = mc.estimate_gradient(
        key, lambda a: mc.Integral(lambda x: jnp.exp(a * x), 0.0, 2.0), 0.5, budget=mc.Samples(50_000)
    )
    # d/da (e^(2 a) - 1) / a = 2 e^(2 a) / a - (e^(2 a) - 1) / a^2.
    assert run.value["gradient"] == pytest.approx(4 * np.e - 4 * (np.e - 1), abs=4.5 * run.std_error["gradient"])


def test_a_tolerance_holds_for_the_gradient_too(key):
    budget = mc.Tolerance(atol=0.02, rtol=0.0)
    run = mc.estimate_gradient(key, lifetime, 2.5, budget=budget)
    low, high = run.interval()
    assert high["gradient"] - low["gradient"] <= 0.04
    assert low["gradient"] <= -0.16 <= high["gradient"]


def test_a_new_number_compiles_nothing(key):
    def run(loc):
        return mc.estimate_gradient(key, square, {"loc": loc, "scale": 1.0}, budget=mc.Samples(1_000))

    run(0.5)
    with compilations() as names:
        run(0.75)
    assert names == []


def test_a_gradient_that_is_nan_has_that_status(key):
    def problem_of(m):  # the other branch of `where` has the derivative 0 times infinity
        return mc.Expectation(lambda x: jnp.where(x > 0, jnp.sqrt(jnp.maximum(x, 0.0)), 0.0), mc.Normal(m, 1.0))

    run = mc.estimate_gradient(key, problem_of, 0.0, form="pathwise", budget=mc.Samples(1_000))
    assert run.status == mc.Status.NON_FINITE
    assert run.num_nonfinite > 100


def test_a_parameter_without_effect_has_no_hits(key):
    run = mc.estimate_gradient(
        key, lambda p: mc.Expectation(lambda x: x, mc.Normal(p[0], 1.0)), (2.0, 7.0), budget=mc.Samples(4_000)
    )
    assert run.value["gradient"][1] == 0
    assert run.status_codes["gradient"][1] == mc.Status.NO_HITS
    assert run.status_codes["gradient"][0] == mc.Status.OK


def test_a_support_may_move_where_the_density_vanishes():
    # A Weibull of shape 3 begins like x^2; one of shape 1, an exponential, with a jump.
    def problem_of(shape):
        return lambda start: mc.Expectation(lambda x: x, mc.Affine(mc.Weibull(shape, 1.0), start, 1.0))

    mc.gradient_problem(problem_of(3.0), 2.0)
    with pytest.raises(ValueError, match="the support of Affine moves"):
        mc.gradient_problem(problem_of(1.0), 2.0)


def from_zero(top):
    return mc.Expectation(lambda x: x, mc.Uniform(0.0, top))


def level(p):
    return mc.Probability(lambda x: x, mc.Normal(0.0, 1.0), p)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((lifetime, 2), {}, TypeError, "parameters must be a float"),
        ((square, {"loc": 1.0, "scale": True}), {}, TypeError, r"parameters\['scale'\] must be a float"),
        ((lifetime, 1j), {}, TypeError, "must be a float"),
        ((lifetime, ()), {}, ValueError, "no parameters"),
        ((lambda p: p, 1.0), {}, TypeError, "problem_of must return an Expectation"),
        ((mc.Expectation(lambda x: x, mc.Normal()), 1.0), {}, TypeError, "must be a function of the parameters"),
        ((lifetime, 1.0), {"form": "frozen"}, ValueError, "form must be 'score' or 'pathwise', got 'frozen'"),
        ((lifetime, 1.0, mc.Exponential(2.0)), {"form": "pathwise"}, ValueError, "fixed proposal do not move"),
        ((lifetime, 1.0), {"form": "pathwise", "baseline": True}, ValueError, "a control of the score form"),
        ((lifetime, 1.0), {"weighting": SELF_NORMALISED, "baseline": True}, ValueError, "without its constant"),
        ((lambda p: p, 1.0), {"weighting": SELF_NORMALISED}, TypeError, "problem_of must return an Expectation"),
        ((prize, LOGITS), {"form": "pathwise"}, ValueError, "Categorical is discrete"),
        ((beyond_four, TAIL), {"form": "pathwise"}, ValueError, "gradient of a Probability would silently be 0"),
        ((level, 1.0), {}, ValueError, "a threshold that is not differentiated"),
        ((from_zero, 2.0), {}, ValueError, "the support of Uniform moves"),
        ((lambda b: mc.Integral(lambda x: x, 0.0, b), 1.0), {}, ValueError, "Use the pathwise form"),
    ],
)
def test_mistakes_are_named(arguments, options, error, words):
    with pytest.raises(error, match=words):
        mc.estimate_gradient(jax.random.key(0), *arguments, budget=mc.Samples(100), **options)
