"""Options on discretised paths: closed forms of one step, orders of the schemes, prices in the limit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcengine as mc
from mcengine.finance import OptionLevels, black_scholes_call, path_option
from mcengine.finance.paths import GeometricBrownian, summarise_path


def one_euler_step(spot, strike, rate, volatility, maturity_years):
    """E[exp(-rT) max(S - strike, 0)] for the normal S of one Euler step."""
    mean, deviation = spot * (1 + rate * maturity_years), spot * volatility * np.sqrt(maturity_years)
    d = (mean - strike) / deviation
    return np.exp(-rate * maturity_years) * ((mean - strike) * stats.norm.cdf(d) + deviation * stats.norm.pdf(d))


def test_one_euler_step_has_a_closed_form(key):
    numbers = {"spot": 90.0, "strike": 100.0, "rate": 0.03, "volatility": 0.4, "maturity_years": 0.5}
    problem = path_option(1, scheme="euler", **numbers)
    result = mc.estimate(key, problem, points=mc.points.Stratified(), budget=mc.Samples(2**14))
    assert abs(result.value - one_euler_step(**numbers)) < 4 * result.std_error
    assert result.std_error < 0.01


@pytest.mark.battery
def test_black_scholes_by_integration():
    def payoff(z):
        return max(90.0 * np.exp((0.03 - 0.08) * 0.5 + 0.4 * np.sqrt(0.5) * z) - 100.0, 0.0)

    z = np.linspace(-9, 9, 200_001)
    price = np.exp(-0.015) * np.trapezoid([payoff(x) * stats.norm.pdf(x) for x in z], z)
    assert black_scholes_call(90.0, 100.0, 0.03, 0.4, maturity_years=0.5) == pytest.approx(price, rel=1e-6)
    assert black_scholes_call() == pytest.approx(10.450583572185565)


@pytest.mark.parametrize(("scheme", "order"), [("euler", 0.5), ("milstein", 1.0)])
def test_a_scheme_has_its_strong_order(key, scheme, order):
    model, steps = GeometricBrownian(0.05, 0.5), (8, 32, 128)
    dw = jax.random.normal(key, (500, 128)) * np.sqrt(1 / 128)
    exact = 100.0 * np.exp((0.05 - 0.125) + 0.5 * np.sum(np.asarray(dw), axis=1))
    errors = []
    for n in steps:
        increments = jnp.sum(dw.reshape(500, n, -1), axis=-1)
        ends = jax.vmap(
            lambda x, n=n: summarise_path(model, scheme, jnp.asarray(100.0), x, step_years=jnp.asarray(1.0 / n)).final
        )
        errors.append(np.sqrt(np.mean((np.asarray(ends(increments)) - exact) ** 2)))
    assert np.log(errors[0] / errors[-1]) / np.log(16) == pytest.approx(order, abs=0.12)


@pytest.mark.parametrize("payoff", ["european", "asian"])
def test_a_correction_is_fine_less_coarse_of_the_same_path(key, payoff):
    correction = path_option(6, 3, payoff=payoff).integrand
    fine, coarse = path_option(6, payoff=payoff).integrand, path_option(2, payoff=payoff).integrand
    z = jax.random.normal(key, (50, 6))
    together = jnp.sum(z.reshape(50, 2, 3), axis=-1) / np.sqrt(3.0)
    difference = jax.vmap(fine)(z) - jax.vmap(coarse)(together)
    np.testing.assert_allclose(jax.vmap(correction)(z), difference, atol=2e-4)


def test_a_new_number_is_the_same_structure():
    first, second = path_option(4, 2, strike=90.0), path_option(4, 2, strike=110.0, rate=0.01)
    assert jax.tree.structure(first) == jax.tree.structure(second)


@pytest.mark.battery  # slow
def test_levels_lead_to_the_price_of_black_and_scholes(key):
    run = mc.multilevel(key, OptionLevels(), budget=mc.Tolerance(atol=0.2), weak_order=1.0)
    assert abs(run.value - black_scholes_call()) < 0.2
    assert run.strong_order == pytest.approx(1.0, abs=0.2)
    assert [line.cost for line in run.levels[:4]] == [1.0, 3.0, 6.0, 12.0]


@pytest.mark.battery
@pytest.mark.parametrize(("scheme", "atol"), [("milstein", 0.1), ("milstein", 0.03), ("euler", 0.1)])
def test_95_of_100_errors_are_within_the_tolerance(key, scheme, atol):
    levels, exact = OptionLevels(scheme=scheme), black_scholes_call()
    runs = [
        mc.multilevel(k, levels, budget=mc.Tolerance(atol=atol), weak_order=1.0) for k in jax.random.split(key, 100)
    ]
    assert sum(abs(run.value - exact) <= atol for run in runs) >= 95
    assert sum(run.interval()[0] <= exact <= run.interval()[1] for run in runs) >= 95
    assert sum(run.ok for run in runs) >= 85


@pytest.mark.battery
def test_an_asian_option_by_levels(key):
    # V. Linetsky, Spectral expansions for Asian options, Operations Research 52 (2004), table 3, case 5.
    levels = OptionLevels(payoff="asian", spot=2.0, strike=2.0, rate=0.05, volatility=0.5)
    run = mc.multilevel(key, levels, budget=mc.Tolerance(rtol=0.005, atol=0.0), weak_order=1.0)
    assert run.value == pytest.approx(0.2464156905, rel=0.005)
    assert run.ok


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"steps": 6, "factor": 4}, "multiple of factor, got 6 and 4"),
        ({"steps": 4, "factor": 1}, "multiple of factor, got 4 and 1"),
        ({"scheme": "heun"}, "scheme must be one of euler, milstein, got 'heun'"),
        ({"payoff": "barrier"}, "payoff must be one of european, asian"),
        ({"spot": -1.0}, "spot must be positive"),
        ({"volatility": 0.0}, "volatility must be positive"),
    ],
)
def test_mistakes_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        path_option(**options)
