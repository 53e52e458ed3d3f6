"""The six Genz families: exact values derived twice, honest intervals, bad parameters."""

import math
from fractions import Fraction
from itertools import pairwise, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

import mcengine as mc
from mcengine.integrals import genz
from mcengine.integrals.genz.corner_peak import genz_corner_peak_volume
from tests.statistics import assert_honest

# The families in NumPy, from the table of the paper and independent of our integrands.
FORMULAS = {
    genz.genz_oscillatory: lambda x, a, u: math.cos(2 * math.pi * u[0] + a @ x),
    genz.genz_product_peak: lambda x, a, u: 1 / np.prod(1 / a**2 + (x - u) ** 2),
    genz.genz_corner_peak: lambda x, a, u: 1 / (1 + a @ x) ** (len(x) + 1),
    genz.genz_gaussian: lambda x, a, u: math.exp(-np.sum(a**2 * (x - u) ** 2)),
    genz.genz_continuous: lambda x, a, u: math.exp(-np.sum(a * abs(x - u))),
    genz.genz_discontinuous: lambda x, a, u: 0.0 if np.any(x[:2] > u[:2]) else math.exp(a @ x),
}
FAMILIES = pytest.mark.parametrize("family", FORMULAS, ids=lambda family: family.__name__)


def parameters_of(problem):
    return (np.asarray(leaf, float) for leaf in (problem.integrand.difficulties, problem.integrand.positions))


@FAMILIES
@pytest.mark.parametrize("choices", [{"dim": 1}, {"dim": 2}, {"dim": 2, "seed": 3}], ids=str)
def test_the_exact_volume_is_that_of_quadrature(family, choices):
    problem = family(**choices)
    a, u = parameters_of(problem)
    # Kinks and cuts lie at the positions.
    options = [{"points": [place], "epsabs": 1e-11, "epsrel": 1e-9} for place in u]
    found, _ = integrate.nquad(lambda *x: FORMULAS[family](np.asarray(x), a, u), [(0.0, 1.0)] * len(a), opts=options)
    assert float(problem.exact) == pytest.approx(found, rel=3e-7, abs=3e-8)  # a and u were rounded to float32


@FAMILIES
@pytest.mark.parametrize("choices", [{"dim": 1}, {"dim": 5}, {"dim": 5, "seed": 1}], ids=str)
def test_the_integrand_is_the_formula(family, choices):
    problem = family(**choices)
    a, u = parameters_of(problem)
    x = np.random.default_rng(0).uniform(size=(200, len(a))).astype(np.float32)
    expected = [FORMULAS[family](row.astype(float), a, u) for row in x]
    np.testing.assert_allclose(jax.vmap(problem.integrand)(jnp.asarray(x)), expected, rtol=2e-5, atol=2e-6)
    assert len(set(expected)) > 10


def alternating_sum(a):
    """(1/(d! prod a)) sum over r in {0, 1}^d of (-1)^|r| / (1 + a.r), in exact arithmetic."""
    a = [Fraction(float(x)) for x in a]
    terms = (
        (-1) ** sum(r) / (1 + sum((x for x, chosen in zip(a, r, strict=True) if chosen), Fraction(0)))
        for r in product((0, 1), repeat=len(a))
    )
    return float(sum(terms) / (math.factorial(len(a)) * math.prod(a)))


@pytest.mark.parametrize(("dim", "seed"), [(1, None), (2, 0), (5, None), (5, 4), (10, None), (10, 1)])
def test_the_corner_peaks_quadrature_is_the_alternating_sum_that_cancels(dim, seed):
    # Few bits: the exact sum of 1,024 fractions is then quick.
    a = np.round(genz.genz_parameters("corner_peak", dim, seed=seed)[0] * 4096).clip(1.0) / 4096
    assert genz_corner_peak_volume(a) == pytest.approx(alternating_sum(a), rel=1e-11)


def test_the_corner_peaks_volume_in_many_dimensions_is_that_of_gauss_and_laguerre():
    a, _ = genz.genz_parameters("corner_peak", 60)
    t, weight = special.roots_genlaguerre(120, 60)
    factors = np.prod(-np.expm1(-np.outer(t, a)) / np.outer(t, a), axis=1)
    assert genz_corner_peak_volume(a) == pytest.approx(weight @ factors / math.factorial(60), rel=1e-11)


@pytest.mark.parametrize("positions", [[-0.5, 0.3], [1.4, 0.3], [0.2, 1.5]], ids=str)
@pytest.mark.parametrize("family", [genz.genz_continuous, genz.genz_discontinuous, genz.genz_product_peak])
def test_positions_may_lie_outside_the_cube(family, positions):
    problem = family(dim=2, positions=positions)
    a, u = parameters_of(problem)
    edges = [[0.0, *([place] if 0 < place < 1 else []), 1.0] for place in u]
    node, weight = np.polynomial.legendre.leggauss(40)
    total = 0.0
    for (x0, x1), (y0, y1) in product(*(pairwise(e) for e in edges)):
        xs, ys = (low + (high - low) * (node + 1) / 2 for low, high in ((x0, x1), (y0, y1)))
        values = np.array([[FORMULAS[family](np.array([x, y]), a, u) for y in ys] for x in xs])
        total += weight @ values @ weight * (x1 - x0) * (y1 - y0) / 4
    assert float(problem.exact) == pytest.approx(total, rel=3e-7, abs=1e-12)


# Each family compiles once; the battery has all of them, with all kinds of points.
@pytest.mark.parametrize("points", [mc.points.IID(), mc.points.Sobol()], ids=repr)
@pytest.mark.parametrize("family", [genz.genz_oscillatory, genz.genz_discontinuous], ids=lambda family: family.__name__)
def test_estimates_are_unbiased_and_their_intervals_cover(key, family, points):
    problem = family()
    runs = mc.replicate(jax.random.split(key, 400), problem, points=points, budget=mc.Samples(4_096))
    assert_honest(runs, float(problem.exact), widest_ratio=1.25)


@FAMILIES
def test_the_exact_value_is_left_out_where_the_parameters_are_traced(family):
    problem = jax.eval_shape(lambda a: family(dim=2, difficulties=a).integrand(jnp.full(2, 0.5)), jnp.ones(2))
    assert problem.shape == ()


@FAMILIES
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 0}, "dim must be a positive integer, got 0"),
        ({"dim": 2, "difficulties": [1.0, -1.0]}, "difficulties must be finite and above 0"),
        ({"dim": 3, "positions": [0.5, 0.5]}, r"positions must have shape \(3,\), got \(2,\)"),
    ],
)
def test_bad_parameters_are_refused(family, changes, message):
    name = family.__name__.removeprefix("genz_")
    with pytest.raises(ValueError, match=f"Genz {name}: {message}"):
        family(**changes)
