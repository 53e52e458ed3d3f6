"""Closed forms of entropy and divergence, against SciPy and against Monte Carlo with error bars."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcengine as mc
import mcengine.distributions as md

COVARIANCE = np.array([[2.0, 0.6], [0.6, 1.0]])
ENTROPIES = [
    (md.Normal(1.0, 2.0), stats.norm(1.0, 2.0).entropy()),
    (md.LogNormal(0.3, 0.8), stats.lognorm(0.8, scale=np.exp(0.3)).entropy()),
    (md.Exponential(2.0), stats.expon(scale=0.5).entropy()),
    (md.Uniform(1.0, 4.0), np.log(3.0)),
    (md.Gumbel(1.0, 2.0), stats.gumbel_r(1.0, 2.0).entropy()),
    (md.Gamma(2.5, 2.0), stats.gamma(2.5, scale=0.5).entropy()),
    (md.Categorical([0.2, 0.0, 0.8]), stats.entropy([0.2, 0.8])),
    (md.Bernoulli(0.3), stats.bernoulli(0.3).entropy()),
    (md.Bernoulli(0.0), 0.0),
    (md.MultivariateNormal([0.0, 1.0], covariance=COVARIANCE), stats.multivariate_normal(cov=COVARIANCE).entropy()),
    (md.Product([md.Normal(0.0, 2.0), md.Exponential(1.0)]), stats.norm(0, 2.0).entropy() + 1.0),
]
# p and q, and the same in SciPy's terms.
FACTOR = np.array([[1.0, 0.0], [0.5, 2.0]])
PAIRS = [
    (md.Normal(5.0, 1.0), md.Normal(2.0, 3.0), stats.norm(5.0, 1.0), stats.norm(2.0, 3.0)),
    (
        md.MultivariateNormal([0.0, 1.0], covariance=COVARIANCE),
        md.MultivariateNormal([1.0, 0.0], FACTOR),
        stats.multivariate_normal([0.0, 1.0], COVARIANCE),
        stats.multivariate_normal([1.0, 0.0], FACTOR @ FACTOR.T),
    ),
    (md.LogNormal(0.0, 0.5), md.LogNormal(0.2, 0.8), stats.lognorm(0.5), stats.lognorm(0.8, scale=np.exp(0.2))),
    (md.Exponential(2.0), md.Exponential(0.7), stats.expon(scale=0.5), stats.expon(scale=1 / 0.7)),
    (md.Gamma(2.5, 2.0), md.Gamma(1.5, 1.0), stats.gamma(2.5, scale=0.5), stats.gamma(1.5)),
    (md.Poisson(3.0), md.Poisson(4.5), stats.poisson(3.0), stats.poisson(4.5)),
    (md.Uniform(0.0, 1.0), md.Uniform(-1.0, 3.0), stats.uniform(), stats.uniform(-1.0, 4.0)),
    (
        md.Categorical([0.2, 0.0, 0.8]),
        md.Categorical([0.5, 0.3, 0.2]),
        stats.rv_discrete(values=([0, 1, 2], [0.2, 0.0, 0.8])),
        stats.rv_discrete(values=([0, 1, 2], [0.5, 0.3, 0.2])),
    ),
    (md.Bernoulli(0.3), md.Bernoulli(0.9), stats.bernoulli(0.3), stats.bernoulli(0.9)),
]


@pytest.mark.parametrize(("p", "exact"), ENTROPIES, ids=lambda v: type(v).__name__)
def test_entropy(p, exact):
    assert float(md.entropy(p)) == pytest.approx(float(exact), rel=2e-6, abs=1e-6)


def test_the_divergence_of_the_issue():
    assert float(md.kl_divergence(md.Normal(5.0, 1.0), md.Normal(2.0, 1.0))) == 4.5


@pytest.mark.parametrize(("p", "q", "scipy_p", "scipy_q"), PAIRS, ids=lambda v: type(v).__name__)
def test_divergence_is_the_mean_log_ratio(p, q, scipy_p, scipy_q):
    """An average over 100,000 draws of SciPy's, within four of its standard errors; 0 from a law to itself."""
    x = scipy_p.rvs(size=100_000, random_state=np.random.default_rng(4))
    log_p, log_q = (
        law.logpmf(x) if hasattr(law, "logpmf") and hasattr(law, "pmf") else law.logpdf(x) for law in (scipy_p, scipy_q)
    )
    terms = log_p - log_q
    error = terms.std() / np.sqrt(terms.size)
    assert abs(float(md.kl_divergence(p, q)) - terms.mean()) <= 4 * error + 1e-6
    assert float(md.kl_divergence(p, p)) == pytest.approx(0.0, abs=1e-6)


def test_divergence_of_independent_coordinates_adds_up():
    p, q = md.Normal([5.0, 0.0], 1.0), md.Normal([2.0, 1.0], [1.0, 3.0])
    parts = md.kl_divergence(md.Normal(5.0, 1.0), md.Normal(2.0, 1.0)) + md.kl_divergence(
        md.Normal(0.0, 1.0), md.Normal(1.0, 3.0)
    )
    assert float(md.kl_divergence(p, q)) == pytest.approx(float(parts), rel=1e-6)


def test_divergences_that_are_infinite():
    assert md.kl_divergence(md.Uniform(0.0, 3.0), md.Uniform(0.0, 1.0)) == jnp.inf
    assert md.kl_divergence(md.Categorical([0.5, 0.5]), md.Categorical([1.0, 0.0])) == jnp.inf


def test_self_information():
    assert float(md.self_information(md.Bernoulli(0.25), 1)) == pytest.approx(2 * np.log(2.0))
    assert (mc.entropy, mc.kl_divergence, mc.self_information) == (md.entropy, md.kl_divergence, md.self_information)


def test_pairs_without_a_closed_form_are_named():
    with pytest.raises(TypeError, match=r"no closed form for \(Normal, StudentT\).*Expectation"):
        md.kl_divergence(md.Normal(), md.StudentT(3.0))
    with pytest.raises(TypeError, match="entropy: no closed form for StudentT"):
        md.entropy(md.StudentT(3.0))
    with pytest.raises(ValueError, match=r"events differ, p's have shape \(2,\), q's \(\)"):
        md.kl_divergence(md.Normal([0.0, 1.0]), md.Normal())
