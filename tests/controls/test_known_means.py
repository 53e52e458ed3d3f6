"""Controls of the fields: their means are what sampling shows, by a route of its own, and their variance pays."""

import math

import jax
import numpy as np
import pytest
from scipy import integrate, stats

import mcengine as mc
from mcengine import finance, integrals, rendering, rl
from mcengine.finance.path_options import black_scholes_call
from mcengine.rendering.plane_light import solid_angle

FALL = finance.index_fall(0.1)
BERMUDA = finance.path_option(steps=12, strike=110.0, rate=0.08, volatility=0.35, maturity_years=1.5)
ASIAN = finance.path_option(steps=12, payoff="asian", scheme="euler", strike=90.0, rate=0.08, maturity_years=1.5)
LIGHT = rendering.plane_light(0.5, -0.3, lamp_half_size=0.4)
BOX = mc.Integral(lambda x: x[0] ** 3 * x[1], [-1.0, 2.0], [2.0, 3.0])
POLICY = rl.tabular_mdp(horizon=7)
CASES = {
    "exceedance counts": (FALL, finance.exceedance_counts(FALL), finance.inflated(FALL)),
    "underlying of a european": (BERMUDA, finance.underlying(BERMUDA), None),
    "underlying of an asian": (ASIAN, finance.underlying(ASIAN), None),
    "twin of a european": (BERMUDA, finance.lognormal_twin(BERMUDA), None),
    "twin of an asian": (ASIAN, finance.lognormal_twin(ASIAN), None),
    "light visibility": (LIGHT, rendering.light_visibility(LIGHT), rendering.cosine_and_lamp(LIGHT)),
    "legendre": (BOX, integrals.legendre(BOX, degree=5), None),
    "radius powers": (integrals.keister(3), integrals.radius_powers(integrals.keister(3)), None),
    "advantage sums": (POLICY, rl.advantage_sums(POLICY), rl.mixed_trajectories(POLICY)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_means_are_those_of_samples_of_the_target_and_of_weighted_ones(name):
    problem, controls, proposal = CASES[name]
    if isinstance(problem, mc.Integral):
        of_controls = mc.Integral(controls.function, problem.lower, problem.upper)
    else:
        of_controls = mc.Expectation(controls.function, problem.target)
    for seed, q in enumerate([None] if proposal is None else [None, proposal]):
        result = mc.estimate(jax.random.key(seed), of_controls, q, budget=mc.Samples(2**18))
        assert np.all(np.abs(result.value - controls.means) < 4.2 * result.std_error)
        # To be seen to be wrong they must be known well.
        assert np.all(result.std_error < 0.02 * np.maximum(np.abs(controls.means), 1.0))


@pytest.mark.battery
@pytest.mark.parametrize(
    ("name", "left"),
    [("exceedance counts", 0.7), ("underlying of a european", 0.25), ("twin of a european", 1e-2), 
     ("twin of an asian", 0.05), ("light visibility", 0.7), ("legendre", 0.35), ("radius powers", 1e-4),
     ("advantage sums", 0.6)],
)  # fmt: skip
def test_they_take_so_much_of_the_variance(name, left):
    problem, controls, proposal = CASES[name]
    without, with_them = (
        mc.estimate(jax.random.key(1), problem, proposal, controls=c, budget=mc.Samples(2**16)).std_error ** 2
        for c in (None, controls)
    )
    assert with_them < left * without


def test_the_twins_price_is_black_and_scholess_and_the_asian_one_a_two_dimensional_integral():
    known = black_scholes_call(strike=110.0, rate=0.08, volatility=0.35, maturity_years=1.5)
    assert float(finance.lognormal_twin(BERMUDA).means) == pytest.approx(known, rel=1e-6)
    # Two steps: log G = log S_0 + drift + sigma sqrt(T/2) (3 Z_1 + Z_2) / 4, the trapezoid of three prices' logs.
    two = finance.path_option(steps=2, payoff="asian", volatility=0.3)

    def payoff(y, z):
        steps = np.asarray([0.0, 0.3 * math.sqrt(0.5) * z, 0.3 * math.sqrt(0.5) * (z + y)])
        log_prices = math.log(100.0) + (0.05 - 0.045) * np.asarray([0.0, 0.5, 1.0]) + steps
        geometric = math.exp(np.dot([0.25, 0.5, 0.25], log_prices))
        return math.exp(-0.05) * max(geometric - 100.0, 0.0) * stats.norm.pdf(y) * stats.norm.pdf(z)

    grid = np.linspace(-8.0, 8.0, 401)
    values = [[payoff(y, z) for y in grid[::4]] for z in grid]
    known = np.trapezoid(np.trapezoid(values, grid[::4], axis=1), grid)
    assert float(finance.lognormal_twin(two).means) == pytest.approx(known, rel=2e-3)


def test_the_solid_angle_is_that_of_an_integral_over_the_lamp():
    x, y, height, half = 0.5, -0.3, 1.0, 0.4

    def density(v, u):
        return height / ((u - x) ** 2 + (v - y) ** 2 + height**2) ** 1.5

    known = integrate.dblquad(density, -half, half, -half, half)[0]
    assert solid_angle(x, y, height, half) == pytest.approx(known, rel=1e-9)
    # All of the half space, as the lamp grows.
    assert solid_angle(x, y, height, 1e9) == pytest.approx(2 * math.pi, rel=1e-6)


def test_exceedance_counts_have_the_mean_of_the_daily_distribution():
    problem = finance.index_fall(0.2, days=3)
    df, loc, scale = (float(np.mean(p)) for p in (problem.target.df, problem.target.loc, problem.target.scale))
    expected = 3 * stats.t.cdf(np.log(0.8) * np.asarray([1.0, 0.5]), df, loc, scale)
    assert np.asarray(finance.exceedance_counts(problem, [1.0, 0.5]).means) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: finance.exceedance_counts(FALL, [0.5, 0.0]), ValueError, "shares of the fall must be positive"),
        (lambda: integrals.legendre(mc.Integral(lambda x: x, 0.0, np.inf)), ValueError, "the box must be finite"),
        (lambda: integrals.legendre(integrals.genz_gaussian(), degree=4), ValueError, "degree must be a whole number"),
        (lambda: integrals.legendre(integrals.genz_gaussian(), degree=1.5), ValueError, "got 1.5"),
        (lambda: integrals.radius_powers(integrals.keister(), 0), ValueError, "number must be a positive integer"),
        (lambda: finance.underlying(integrals.keister()), TypeError, "underlying: it is for an option on a path"),
        (
            lambda: rl.advantage_sums(rl.per_decision_tabular_mdp()),
            TypeError,
            "advantage_sums: the problem must be a policy_value",
        ),
    ],
)
def test_what_they_are_not_made_for_is_refused_in_words(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_curve_of_one_coordinate_has_polynomials_up_to_the_eighth():
    curve = integrals.legendre(integrals.peaked_curve())
    values = np.asarray(jax.vmap(curve.function)(np.asarray([0.0, 0.35, 1.0], np.float32)))
    assert values == pytest.approx(np.stack([[np.polynomial.legendre.Legendre.basis(k)(s) for k in range(1, 9)]
                                             for s in (-1.0, -0.3, 1.0)]), abs=1e-5)  # fmt: skip
