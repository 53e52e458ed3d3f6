"""The peaked curve and the proposals for its peak."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import mcengine as mc
from mcengine.integrals import peak_proposal, peaked_curve
from tests.statistics import assert_honest


@partial(jax.jit, static_argnames="num")
def repeats(seed, problem, proposal, num):
    """400 independent estimates."""
    keys = jax.random.split(jax.random.key(seed), 400)
    return jax.vmap(lambda key: mc.estimate(key, problem, proposal, budget=mc.Samples(num)))(keys)


@pytest.mark.parametrize(
    "parameters", [{}, {"sharpness": 3.0, "peak": -0.4, "floor": 1.0}, {"sharpness": 800, "peak": 0.97}]
)
def test_the_exact_area_is_that_of_quadrature(parameters):
    problem = peaked_curve(**parameters)
    given = {"sharpness": 50.0, "peak": 0.7, "floor": 0.1} | parameters
    by_quadrature, _ = integrate.quad(
        lambda x: np.exp(-given["sharpness"] * (x - given["peak"]) ** 2) + given["floor"], 0, 1, points=[0.7, 0.97]
    )
    assert float(problem.exact) == pytest.approx(by_quadrature, rel=1e-10)
    x = jnp.asarray(0.66)
    expected = np.exp(-given["sharpness"] * (0.66 - given["peak"]) ** 2) + given["floor"]
    assert problem.integrand(x) == pytest.approx(expected, rel=1e-4)


def test_the_default_area():
    assert float(peaked_curve().exact) == pytest.approx(0.350325, abs=1e-6)


@pytest.mark.parametrize(
    "choice",
    [None, {"width": 0.7, "uniform_share": 0.4}, pytest.param({"width": 2.5}, marks=pytest.mark.battery)],
    ids=str,
)
def test_estimates_are_unbiased_and_their_intervals_cover(choice):
    problem, num = peaked_curve(), 1000
    proposal = None if choice is None else peak_proposal(problem, **choice)

    estimates = repeats(31, problem, proposal, num)
    assert_honest(estimates, float(problem.exact), widest_ratio=1.2)
    assert np.std(estimates.value) * np.sqrt(num / 1000) < 0.02


def test_variance_falls_as_the_proposal_follows_the_curve():
    problem = peaked_curve()
    # The curve is itself a mixture, with 0.1 of its area of 0.35 uniform: a proposal of its shape has no variance.
    own_share = 0.1 / float(problem.exact)
    proposals = [
        None,
        peak_proposal(problem, width=2.5),
        peak_proposal(problem, uniform_share=0.5),
        peak_proposal(problem, uniform_share=own_share),
    ]
    plain, wide, half, perfect = (
        mc.estimate(jax.random.key(32), problem, proposal, budget=mc.Samples(50_000)).std_error ** 2
        for proposal in proposals
    )
    assert plain > 2 * wide
    assert plain > 8 * half
    assert plain > 1e4 * perfect


def test_a_proposal_without_mass_on_the_floor_is_flagged():
    problem = peaked_curve()
    estimate = mc.estimate(jax.random.key(33), problem, peak_proposal(problem), budget=mc.Samples(100_000))
    assert not estimate.ok
    assert estimate.pareto_k > 0.5


def test_sharpness_can_be_swept_by_vmap():
    def value(sharpness):
        problem = peaked_curve(sharpness)
        proposal = peak_proposal(problem, uniform_share=0.3)
        return mc.estimate(jax.random.key(34), problem, proposal, budget=mc.Samples(4096)).value

    sharpness = [10.0, 50.0, 5000.0]
    exact = [float(peaked_curve(s).exact) for s in sharpness]
    np.testing.assert_allclose(jax.jit(jax.vmap(value))(jnp.asarray(sharpness)), exact, rtol=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"sharpness": 0.0}, "sharpness must be positive"), ({"floor": np.inf}, "floor must be finite, got inf")],
)
def test_bad_parameters_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        peaked_curve(**changes)


def test_an_integrand_without_a_known_peak_is_refused():
    with pytest.raises(TypeError, match="has no centre and spread"):
        peak_proposal(mc.Integral(jnp.cos, 0.0, 1.0))
