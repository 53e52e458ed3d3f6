"""The Genz Gaussian: exact value, parameters, proposals."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc
from mcengine.integrals import genz_gaussian, peak_proposal
from mcengine.integrals.genz import TOTAL_DIFFICULTY, genz_parameters
from tests.statistics import assert_honest


def by_quadrature(problem):
    """The integral by a tensor Gauss-Legendre rule over the integrand itself."""
    node, weight = np.polynomial.legendre.leggauss(24)
    node, weight = (node + 1) / 2, weight / 2
    dim = problem.integrand.positions.size
    points = np.stack([grid.ravel() for grid in np.meshgrid(*[node] * dim, indexing="ij")], axis=1)
    weights = np.prod(np.stack([grid.ravel() for grid in np.meshgrid(*[weight] * dim, indexing="ij")]), axis=0)
    return weights @ np.asarray(jax.vmap(problem.integrand)(jnp.asarray(points, float)), float)


@partial(jax.jit, static_argnames="num")
def repeats(seed, problem, proposal, num):
    """400 independent estimates."""
    keys = jax.random.split(jax.random.key(seed), 400)
    return jax.vmap(lambda key: mc.estimate(key, problem, proposal, budget=mc.Samples(num)))(keys)


@pytest.mark.parametrize(
    "parameters", [{"dim": 1}, {"dim": 3}, {"dim": 3, "seed": 4}, {"dim": 2, "total_difficulty": 3}]
)
def test_the_exact_volume_is_that_of_quadrature(parameters):
    problem = genz_gaussian(**parameters)
    assert float(problem.exact) == pytest.approx(by_quadrature(problem), rel=2e-6)


def test_own_parameters_and_the_exact_value_worked_out_by_hand():
    problem = genz_gaussian(dim=2, difficulties=[1.0, 2.0], positions=[0.25, 0.5])
    # sqrt(pi)/2 [erf(.75) + erf(.25)] and sqrt(pi)/4 [erf(1) + erf(1)].
    first, second = 0.886226925 * (0.711155634 + 0.276326390), 0.443113463 * 2 * 0.842700793
    assert float(problem.exact) == pytest.approx(first * second, rel=1e-8)


@pytest.mark.parametrize("seed", [None, 0, 7])
@pytest.mark.parametrize("family", TOTAL_DIFFICULTY)
def test_difficulties_have_the_familys_sum_and_positions_lie_inside(family, seed):
    a, u = genz_parameters(family, 6, seed=seed)
    assert a.sum() == pytest.approx(TOTAL_DIFFICULTY[family])
    assert np.all(a > 0)
    assert np.all((u >= 0.2) & (u <= 0.8))
    assert len(np.unique(u)) == len(np.unique(a)) == 6


def test_seeds_differ_and_repeat():
    (a, u), (b, w), (c, _) = (genz_parameters("gaussian", 5, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert np.array_equal(u, w)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize(
    "choice",
    [None, {"width": 0.9, "uniform_share": 0.1}, pytest.param({"width": 1.3}, marks=pytest.mark.battery)],
    ids=str,
)
def test_estimates_are_unbiased_and_their_intervals_cover(choice):
    problem, num = genz_gaussian(), 1000
    proposal = None if choice is None else peak_proposal(problem, **choice)

    estimates = repeats(41, problem, proposal, num)
    assert_honest(estimates, float(problem.exact), widest_ratio=1.2)
    assert np.std(estimates.value) * np.sqrt(num / 1000) < 0.1 * float(problem.exact)


def test_the_peaks_own_shape_is_the_perfect_proposal():
    problem = genz_gaussian()
    estimate = mc.estimate(jax.random.key(42), problem, peak_proposal(problem), budget=mc.Samples(10_000))
    assert estimate.value == pytest.approx(float(problem.exact), rel=1e-4)
    assert estimate.std_error < 1e-6 * float(problem.exact)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 0}, "dim must be a positive integer, got 0"),
        ({"dim": 3, "positions": [0.5, 0.5]}, r"positions must have shape \(3,\), got \(2,\)"),
        ({"dim": 2, "difficulties": [1.0, -1.0]}, "difficulties must be finite and above 0"),
        ({"dim": 1, "difficulties": [1.0], "total_difficulty": 7.0}, "not both"),
    ],
)
def test_bad_parameters_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        genz_gaussian(**changes)


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match=r"one of oscillatory, .* got 'gausian'"):
        genz_parameters("gausian", 2)
