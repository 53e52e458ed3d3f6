"""Laws against SciPy's, and what functionals make of them."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats

import mcengine as mc
from mcengine import finance, integrals, teaching
from mcengine.functionals import exact_value
from mcengine.problems import exact_distributions
from tests.compilations import compilations

LEVELS = np.asarray([0.05, 0.99])


def one_student_t(df=3.0, loc=-0.3, scale=2.0):
    return finance.StudentSumLaw(df, loc, scale, 1), stats.t(df, loc, scale)


@pytest.mark.parametrize(
    ("law", "known"),
    [(exact_distributions.ExactNormal(-0.3, 2.0), stats.norm(-0.3, 2.0)), one_student_t()],
    ids=["normal", "student"],
)
def test_exceedance_quantile_and_shortfall_are_those_of_the_density(law, known):
    assert isinstance(law, exact_distributions.ExactDistribution)
    x = np.asarray([[-7.0, -0.3], [1.0, 9.0]])
    assert law.exceedance(x) == pytest.approx(known.sf(x), rel=1e-6)
    assert law.quantile(LEVELS) == pytest.approx(known.ppf(LEVELS), rel=1e-6)
    for level in LEVELS:
        v = known.ppf(level)
        beyond = integrate.quad(lambda y: y * known.pdf(y), v, np.inf, epsabs=0.0, epsrel=1e-9, limit=200)[0]
        assert law.shortfall(level) == pytest.approx(beyond / (1 - level), rel=1e-5)


@pytest.mark.battery
def test_the_law_of_an_index_loss_agrees_with_its_probability_and_with_samples():
    problem = finance.index_fall(0.1)
    assert problem.exact == pytest.approx(problem.exact_law.exceedance(-np.log(0.9)), rel=1e-12)
    levels = [0.9, 0.99]
    exact = exact_value(mc.TailRisk(levels), problem)
    assert problem.exact_law.exceedance(exact["quantile"]) == pytest.approx([0.1, 0.01], rel=1e-9)
    result = mc.estimate(
        jax.random.key(5), problem, finance.inflated(problem), budget=mc.Samples(2**17), functional=mc.TailRisk(levels)
    )
    for name in ("quantile", "shortfall"):
        assert np.all(np.abs(result.value[name] - exact[name]) < 4 * result.std_error[name])


def test_tails_too_light_to_resolve_have_no_exact_shortfall():
    law = finance.StudentSumLaw(150.0, 0.0, 1.0, 10)
    assert np.isnan(law.shortfall(0.99))
    assert law.quantile(0.99) == pytest.approx(stats.norm.ppf(0.99) * np.sqrt(10 * 150 / 148), rel=1e-3)


def test_exact_values_of_functionals_are_none_where_nothing_is_known():
    unknown = mc.Expectation(lambda x: x, mc.Normal(0.0, 1.0))
    for functional in (None, mc.Mean(), mc.Ratio(), mc.TailRisk([0.9]), mc.Histogram([0.0, 1.0])):
        assert exact_value(functional, unknown) is None
    # A law of f(x) says nothing of one of its outputs.
    known = teaching.normal_loss()
    assert exact_value(mc.TailRisk([0.9], output=0), known) is None


def test_exact_values_of_means_ratios_and_densities():
    beyond = teaching.loss_beyond(threshold=3.0, loc=-0.5, scale=2.0)
    known = stats.norm(-0.5, 2.0)
    assert exact_value(None, beyond)["beyond"] == pytest.approx(known.sf(3.0))
    assert exact_value(mc.Mean("beyond"), beyond) == pytest.approx(known.sf(3.0))
    mean = integrate.quad(lambda y: y * known.pdf(y), 3.0, np.inf)[0] / known.sf(3.0)
    assert exact_value(mc.Ratio("loss", "beyond"), beyond) == pytest.approx(mean, rel=1e-9)
    loss, edges = teaching.normal_loss(loc=-0.5, scale=2.0), np.asarray([-4.0, -1.0, 3.0])
    shares = np.diff(known.cdf(edges))
    assert exact_value(mc.Histogram(edges), loss) == pytest.approx(shares)
    assert exact_value(mc.Histogram(edges, density=True), loss) == pytest.approx(shares / [3.0, 4.0])
    # Over a box the denominator E[1] is its volume.
    wide = mc.Integral(lambda x: x[0], [0.0, 0.0], [2.0, 3.0], exact=6.0)
    assert exact_value(mc.Ratio(), wide) == pytest.approx(1.0)
    assert exact_value(mc.Ratio(), integrals.peaked_curve()) == pytest.approx(integrals.peaked_curve().exact)


def test_what_is_known_reaches_no_kernel_and_compiles_nothing_anew():
    for problem in (teaching.normal_loss(), teaching.gaussian_tail()):
        bare = problem.without_answers()
        assert problem.exact_law is not None
        assert (bare.exact, bare.exact_law) == (None, None)
        assert bare.without_answers() is bare

    def run(loc):
        mc.estimate(jax.random.key(0), teaching.normal_loss(loc), budget=mc.Samples(64))

    run(0.0)
    with compilations() as compiled:
        run(1.0)
    assert not compiled


def test_a_proposal_on_the_quantile_has_half_of_its_samples_beyond_it():
    problem = teaching.normal_loss(loc=-0.5, scale=2.0)
    moved = teaching.beyond_quantile(problem, level=0.99)
    assert float(moved.loc) == pytest.approx(stats.norm.ppf(0.99, -0.5, 2.0), rel=1e-6)
    assert float(teaching.beyond_quantile(problem, 0.9, defensive_share=0.3).defensive_share) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="level must lie strictly between 0 and 1, got 1"):
        teaching.beyond_quantile(problem, level=1.0)
