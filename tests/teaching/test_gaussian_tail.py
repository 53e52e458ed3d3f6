"""The Gaussian tail and its textbook proposals."""

import math

import jax
import numpy as np
import pytest
from scipy import integrate, optimize

import mcengine as mc
from mcengine.teaching import best_tilt, defensive, gaussian_tail, shifted, tilted, wider
from tests.statistics import assert_honest
from tests.teaching.replicates import replicates

PROPOSALS = {"shifted": shifted, "wider": wider, "tilted": tilted, "defensive": defensive}


@pytest.mark.parametrize(
    ("threshold", "loc", "scale"), [(5.0, 0.0, 1.0), (3.0, 1.0, 0.5), (-1.0, 0.0, 2.0), (30.0, 0.0, 1.0)]
)
def test_the_exact_probability_is_that_of_quadrature(threshold, loc, scale):
    by_quadrature, _ = integrate.quad(
        lambda x: math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi),
        (threshold - loc) / scale, (threshold - loc) / scale + (2 if threshold > 20 else 40), epsabs=0,
    )  # fmt: skip
    assert float(gaussian_tail(threshold, loc, scale).exact) == pytest.approx(by_quadrature, rel=1e-8)


def second_moment(proposal, threshold):
    loc, scale = float(proposal.loc), float(proposal.scale)
    x = np.linspace(threshold, threshold + 12, 20_001)
    terms = np.exp(-x * x + 0.5 * ((x - loc) / scale) ** 2) * scale / math.sqrt(2 * math.pi)
    return integrate.simpson(terms, x=x)


@pytest.mark.parametrize("threshold", [1.0, 3.0, 5.0])
def test_the_best_tilt_is_the_best(threshold):
    problem = gaussian_tail(threshold)
    found = optimize.minimize_scalar(
        lambda t: math.log(second_moment(mc.Normal(t, 1.0), threshold)), bounds=(0.1, 8.0), method="bounded",
        options={"xatol": 1e-8},
    )  # fmt: skip
    assert best_tilt(problem) == pytest.approx(found.x, rel=1e-4)
    assert second_moment(tilted(problem), threshold) <= second_moment(shifted(problem), threshold)


def test_the_tilt_is_per_unit_of_x():
    assert best_tilt(gaussian_tail(10.0, loc=1.0, scale=3.0)) == pytest.approx(best_tilt(gaussian_tail(3.0)) / 3)
    assert best_tilt(gaussian_tail(30.0)) == pytest.approx(30 + 1 / 60, rel=1e-4)


def test_the_default_width_is_near_the_best():
    for threshold in (4.0, 8.0):
        problem = gaussian_tail(threshold)
        here = second_moment(wider(problem), threshold)
        best = min(second_moment(wider(problem, s), threshold) for s in np.linspace(0.5, 1.5, 41) * threshold)
        assert here < 1.05 * best


@pytest.mark.parametrize("threshold", [3.0, 5.0])
@pytest.mark.parametrize("name", PROPOSALS)
def test_proposals_are_honest(name, threshold):
    problem = gaussian_tail(threshold)
    proposal = PROPOSALS[name](problem)
    assert_honest(replicates(1, problem, proposal), float(problem.exact), widest_ratio=1.15)


def test_given_numbers_are_used():
    problem = gaussian_tail(3.0, loc=1.0, scale=2.0)
    assert [float(x) for x in (shifted(problem).loc, shifted(problem).scale)] == [3.0, 2.0]
    assert float(shifted(problem, 4.0).loc) == 4.0
    assert [float(x) for x in (wider(problem).loc, wider(problem, 5.0).scale)] == [1.0, 5.0]
    assert float(tilted(problem, 0.5).loc) == pytest.approx(1.0 + 0.5 * 4.0)
    assert float(defensive(problem, 0.3).defensive_share) == pytest.approx(0.3)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="scale must be positive"):
        gaussian_tail(scale=0.0)
    with pytest.raises(TypeError, match="for a Normal target"):
        wider(mc.Probability(lambda x: x, mc.StudentT(3.0), 5.0))


def test_the_problem_may_be_built_inside_jit():
    def numbers(threshold, scale):
        problem = gaussian_tail(threshold, 1.0, scale)
        assert problem.exact is None
        return problem.threshold, wider(problem).scale, shifted(problem).loc, tilted(problem, 1.0).loc

    for threshold, scale, wide in ((7.0, 2.0, 6.0), (2.0, 3.0, 3.0)):
        found = [float(x) for x in jax.jit(numbers)(threshold, scale)]
        assert found == pytest.approx([threshold, wide, threshold, 1.0 + scale**2])
    with pytest.raises(TypeError, match=r"best_tilt: .* give the tilt"):
        jax.jit(lambda threshold: tilted(gaussian_tail(threshold)).loc)(3.0)
