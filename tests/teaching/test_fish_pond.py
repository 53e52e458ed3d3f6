"""The fish pond: distributions on the disc, the exact mean, nets, and the bias without weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import mcengine as mc
from mcengine.teaching import FishCount, Middle, Shore, fish_pond, unweighted_mean, where_the_fish_are
from tests.statistics import assert_honest
from tests.teaching.replicates import replicates

NETS = {"uniform": Middle(0.0), "middle": Middle(4.5), "bank": Shore(1.0), "shore": Shore(6.0)}


@jax.jit
def throw(net, key):
    return jax.vmap(net.sample)(jax.random.split(key, 20_000))


@jax.jit
def weigh(x, weight):
    return jax.vmap(weight)(x)


@jax.jit
def log_density(net, x):
    return jax.vmap(net.log_prob)(x)


def density(net, x, y):
    return np.exp(np.asarray(log_density(net, jnp.stack([x, y], axis=-1)), np.float64))


@pytest.mark.parametrize("name", NETS)
def test_densities_integrate_to_one_and_are_0_off_the_lake(name):
    radius, weight = np.polynomial.legendre.leggauss(200)
    radius, weight = (radius + 1) / 2, weight / 2
    along = density(NETS[name], radius * np.cos(1.1), radius * np.sin(1.1))
    assert 2 * np.pi * np.sum(weight * radius * along) == pytest.approx(1, rel=1e-4)
    assert density(NETS[name], np.asarray([1.01, 0.9]), np.asarray([0.0, 0.9])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", NETS)
def test_samples_follow_the_density(name, key):
    net, num = NETS[name], 20_000
    x = np.asarray(throw(net, key), np.float64)
    edges = np.linspace(0, 1, 17)
    square = np.sum(x**2, axis=1)
    if isinstance(net, Middle):
        shares = np.diff(1 - (1 - edges) ** (float(net.peak) + 1))
    else:
        shares = np.diff(edges ** (float(net.power) / 2 + 1))
    ring = np.histogram(square, edges)[0]
    kept = shares * num > 5
    spread = (ring[kept] - num * shares[kept]) ** 2 / (num * shares[kept])
    assert stats.chi2.sf(spread.sum(), kept.sum() - 1) > 1e-3
    sector = np.histogram(np.arctan2(x[:, 1], x[:, 0]), np.linspace(-np.pi, np.pi, 17))[0]
    assert stats.chisquare(sector).pvalue > 1e-3


@pytest.mark.parametrize("name", NETS)
def test_nets_are_transports(name):
    net = NETS[name]
    v = jnp.asarray([[0.3, -0.2], [-0.01, 0.49], [0.001, 0.1], [-0.001, -0.4]])
    x, log_q = jax.jit(lambda net, v: jax.vmap(net.forward)(v))(net, v)
    np.testing.assert_allclose(log_q, log_density(net, x), atol=1e-3)


PARAMETERS = {
    "shore_kg": 0.3, "middle_kg": 4.0, "peak": 1.5, "steepness": 2.5, "tilt": 0.9,
}  # fmt: skip


@pytest.mark.parametrize("parameters", [{}, PARAMETERS], ids=["default", "other"])
def test_the_exact_mean_is_that_of_quadrature(parameters):
    problem = fish_pond(**parameters)
    p = {"shore_kg": 0.2, "middle_kg": 5.0, "peak": 3.0, "steepness": 2.0, "tilt": 0.5} | parameters

    def p_times_f(y, x):
        depth = 1 - x * x - y * y
        weight = p["shore_kg"] + (p["middle_kg"] - p["shore_kg"]) * depth ** p["steepness"] * (1 + p["tilt"] * x)
        return (p["peak"] + 1) / np.pi * depth ** p["peak"] * weight

    half_width = lambda x: np.sqrt(1 - x * x)  # noqa: E731
    by_quadrature, _ = integrate.dblquad(p_times_f, -1, 1, lambda x: -half_width(x), half_width, epsrel=1e-9)
    assert float(problem.exact) == pytest.approx(by_quadrature, rel=1e-8)
    x = jnp.asarray([0.4, -0.3])
    expected = p_times_f(-0.3, 0.4) / density(problem.target, np.asarray([0.4]), np.asarray([-0.3]))[0]
    assert float(problem.integrand(x)) == pytest.approx(expected, rel=1e-4)


def test_the_default_mean():
    assert float(fish_pond().exact) == pytest.approx(3.4)


@pytest.mark.parametrize("net", [Middle(3.0), Middle(0.0), Middle(4.5)], ids=["plain", "uniform", "middle"])
def test_weighted_estimates_are_honest(net):
    assert_honest(replicates(1, fish_pond(), net), 3.4, widest_ratio=1.15)


def test_a_population_known_up_to_a_constant():
    estimates = replicates(2, fish_pond(num_fish=700.0), Middle(0.0), weighting=mc.weighting.SelfNormalised())
    assert_honest(estimates, 3.4, widest_ratio=1.15)


def test_the_unweighted_mean_is_wrong():
    problem = fish_pond()
    for net in NETS.values():
        caught = np.asarray(weigh(throw(net, jax.random.key(3)), problem.integrand), np.float64)
        wrong = unweighted_mean(problem, net)
        assert abs(caught.mean() - wrong) < 4 * caught.std() / np.sqrt(len(caught))
        assert abs(wrong - 3.4) > 0.3
    assert unweighted_mean(problem, problem.target) == pytest.approx(3.4)


def test_nets_where_most_kilograms_are_have_less_variance_than_plain_sampling():
    problem = fish_pond()
    plain, better, uniform = (
        mc.estimate(jax.random.key(4), problem, net, budget=mc.Samples(40_000)).std_error
        for net in (Middle(3.0), where_the_fish_are(problem), Middle(0.0))
    )
    assert better < 0.5 * plain < 0.25 * uniform


def test_the_mean_squared_radius_of_the_kilograms():
    problem = fish_pond()
    x = throw(problem.target, jax.random.key(5))
    kilograms = np.asarray(weigh(x, problem.integrand))
    square = np.sum(np.asarray(x) ** 2, axis=1)
    net = where_the_fish_are(problem)
    assert 1 / (float(net.peak) + 2) == pytest.approx(np.average(square, weights=kilograms), rel=0.02)
    assert float(where_the_fish_are(fish_pond(num_fish=9.0)).peak) == float(net.peak)
    assert float(where_the_fish_are(problem, 7.0).peak) == 7.0


def test_nets_from_the_shore_are_flagged():
    estimate = mc.estimate(jax.random.key(6), fish_pond(), Shore(6.0), budget=mc.Samples(40_000))
    assert not estimate.ok
    # The tail index is power / (power + 2) = 0.75, and more before the tail sets in.
    assert estimate.pareto_k > 0.6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fish_pond(peak=0.0), "peak must be positive"),
        (lambda: fish_pond(shore_kg=-1.0), "shore_kg must be positive"),
        (lambda: fish_pond(tilt=1.5), r"tilt must lie in \[-1, 1\]"),
        (lambda: fish_pond(num_fish=0.0), "num_fish must be positive"),
        (lambda: Middle(-0.5), "peak must be at least 0"),
        (lambda: Shore(-0.5), "power must be at least 0"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_other_problems_are_refused():
    other = mc.Expectation(jnp.sum, Middle(1.0))
    with pytest.raises(TypeError, match="for the fish pond"):
        where_the_fish_are(other)
    assert isinstance(fish_pond(num_fish=3.0).target, FishCount)
