"""Gaussian policies: mean, KL divergence and entropy, in closed form, by quadrature and by Monte Carlo."""

import math

import jax
import jax.numpy as jnp
import pytest
from scipy import integrate, stats

import mcengine as mc
from mcengine.distributions import kl_divergence
from mcengine.teaching import halfway, policy_entropy, policy_kl, policy_mean
from tests.statistics import assert_honest
from tests.teaching.replicates import replicates

POLICIES = [(5.0, 1.0, 2.0, 1.0), (0.5, 2.0, -1.0, 0.7), (-1.0, 0.3, 0.2, 1.5)]


def mean_under(f, loc, scale):
    return integrate.quad(lambda x: f(x) * stats.norm.pdf(x, loc, scale), loc - 12 * scale, loc + 12 * scale)[0]


@pytest.mark.parametrize(("loc", "scale", "old_loc", "old_scale"), POLICIES)
def test_closed_forms_are_those_of_quadrature(loc, scale, old_loc, old_scale):
    new, old = stats.norm(loc, scale), stats.norm(old_loc, old_scale)
    kl = mean_under(lambda x: new.logpdf(x) - old.logpdf(x), loc, scale)
    assert float(policy_kl(loc, scale, old_loc, old_scale).exact) == pytest.approx(kl, rel=1e-8)
    assert float(policy_entropy(loc, scale).exact) == pytest.approx(mean_under(lambda x: -new.logpdf(x), loc, scale))
    assert float(policy_mean(loc, scale).exact) == loc


def test_the_divergence_of_the_default_policies():
    assert float(policy_kl().exact) == 4.5


def test_the_divergence_is_not_symmetric():
    assert float(policy_kl(0.0, 1.0, 0.0, 2.0).exact) != pytest.approx(float(policy_kl(0.0, 2.0, 0.0, 1.0).exact))


def test_integrands_at_a_point():
    x = jnp.asarray(4.2)
    information = -stats.norm.logpdf(4.2, 5, 1)
    assert float(policy_entropy().integrand(x)) == pytest.approx(information, rel=1e-5)
    difference = stats.norm.logpdf(4.2, 5, 1) - stats.norm.logpdf(4.2, 2, 1)
    assert float(policy_kl().integrand(x)) == pytest.approx(difference, rel=1e-5)
    assert float(policy_mean().integrand(x)) == pytest.approx(4.2)


@pytest.mark.parametrize("build", [policy_mean, policy_entropy])
def test_estimates_from_a_policy_that_explores_are_honest(build):
    problem = build()
    estimates = replicates(1, problem, mc.Normal(2.0, 3.0))
    assert_honest(estimates, float(problem.exact), widest_ratio=1.15)


def test_the_divergence_by_simulation_is_honest():
    assert_honest(replicates(2, policy_kl()), 4.5, widest_ratio=1.15)


def test_an_old_policy_too_far_away_is_flagged():
    estimate = mc.estimate(jax.random.key(2), policy_mean(), mc.Normal(2.0, 1.0), budget=mc.Samples(2**18))
    assert not estimate.ok
    assert estimate.pareto_k > 0.5


def test_a_policy_halfway_has_the_predicted_variance():
    # E_q[w^2] = exp(1.5^2) for unit scales 1.5 apart, so the mean's variance is exp(2.25) (6.5^2 + 1) - 25.
    problem = policy_mean()
    assert float(halfway(problem).loc) == 3.5
    estimate = mc.estimate(jax.random.key(3), problem, halfway(problem), budget=mc.Samples(2**18))
    expected = math.exp(2.25) * (6.5**2 + 1) - 25
    assert 2**18 * float(estimate.std_error) ** 2 == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("build", [policy_mean, policy_kl, policy_entropy])
def test_bad_scales_are_refused(build):
    with pytest.raises(ValueError, match="scale must be positive"):
        build(scale=0.0)
    with pytest.raises(ValueError, match="scale must be positive"):
        policy_kl(old_scale=-1.0)


def test_halfway_refuses_other_targets():
    with pytest.raises(TypeError, match="must be a Normal"):
        halfway(mc.Expectation(jnp.tanh, mc.StudentT(3.0)))


@pytest.mark.parametrize(("loc", "scale", "old_loc", "old_scale"), POLICIES)
def test_the_divergence_is_that_of_the_distributions(loc, scale, old_loc, old_scale):
    between_laws = kl_divergence(mc.Normal(loc, scale), mc.Normal(old_loc, old_scale))
    assert float(policy_kl(loc, scale, old_loc, old_scale).exact) == pytest.approx(float(between_laws), rel=1e-5)


@pytest.mark.parametrize("build", [policy_mean, policy_kl, policy_entropy])
def test_the_problem_may_be_built_inside_jit(build):
    def value(loc, scale):
        problem = build(loc, scale)
        assert problem.exact is None
        return problem.integrand(jnp.asarray(0.3)), problem.target.log_prob(jnp.asarray(0.3))

    outside = build(0.5, 2.0)
    expected = [float(outside.integrand(jnp.asarray(0.3))), float(outside.target.log_prob(jnp.asarray(0.3)))]
    assert [float(x) for x in jax.jit(value)(0.5, 2.0)] == pytest.approx(expected, rel=1e-5)
