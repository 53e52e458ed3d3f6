"""Defensive mixtures, shifts and inflated scales."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcengine.distributions as md
from mcengine import weights
from mcengine.proposals import Defensive, defensive, mixture, scaled, shifted


def test_defensive_weights_are_bounded_by_one_over_the_share(key):
    target, proposal = md.StudentT(3.0), md.Normal(4.0, 0.5)
    law = defensive(target, proposal, 0.2)
    assert isinstance(law, Defensive)
    assert isinstance(law, md.Transport)
    assert float(law.defensive_share) == pytest.approx(0.2)
    assert law.target is target
    assert law.proposal is proposal
    x = jnp.linspace(-30.0, 30.0, 301)
    log_w = jax.vmap(lambda one: weights.log_ratio(target.log_prob(one), law.log_prob(one)))(x)
    assert float(log_w.max()) <= np.log(1 / 0.2) + 1e-5
    draws = np.asarray(jax.jit(md.sample_many, static_argnums=2)(law, key, 20_000))
    assert abs(np.mean(np.abs(draws - 4.0) < 2.0) - (0.8 + 0.2 * (stats.t(3).cdf(6.0) - stats.t(3).cdf(2.0)))) < 0.012


def test_defensive_of_laws_with_a_sampler_cheaper_than_their_transport(key):
    law = defensive(md.Gamma(2.0), md.Gamma(5.0, 0.5))
    assert md.is_transport(law)
    assert md.prefers_sample_many(law)
    assert md.event_struct(law).shape == ()
    assert jax.eval_shape(lambda k: law.sample_many(k, 7), key).shape == (7,)
    assert float(law.support[0]) == 0.0


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, np.nan])
def test_shares_that_are_refused(share):
    with pytest.raises(ValueError, match="share must be one number strictly between 0 and 1"):
        defensive(md.Normal(), md.Normal(3.0), share)


def test_a_defensive_share_is_a_number_not_a_program():
    traces = []

    @jax.jit
    def log_q(law):
        traces.append(None)
        return law.log_prob(jnp.asarray(1.0))

    for share in (0.1, 0.5):
        log_q(defensive(md.Normal(), md.Normal(3.0), share))
    assert len(traces) == 1


def test_events_that_differ_are_refused():
    with pytest.raises(ValueError, match="events of the components differ"):
        defensive(md.Normal([0.0, 1.0]), md.Normal(3.0))


def test_a_mixture_weighs_its_parts_alike_unless_told():
    assert mixture([md.Normal(), md.Normal(3.0)]).weights.tolist() == [0.5, 0.5]
    assert mixture([md.Normal(), md.Normal(3.0)], [0.25, 0.75]).weights.tolist() == [0.25, 0.75]


SHIFTED = {
    "normal": (md.Normal([1.0, 2.0], 2.0), [0.5, -3.0]),
    "multivariate": (md.MultivariateNormal([1.0, 2.0], [[1.0, 0.0], [0.5, 2.0]]), [0.5, -3.0]),
    "student-t": (md.StudentT(3.0, 1.0, 2.0), -4.0),
    "gumbel": (md.Gumbel(1.0, 2.0), 0.7),
    "product": (md.Product([md.Normal(1.0), md.StudentT(3.0)]), [0.5, -3.0]),
    "mixture": (md.Mixture([md.Normal(1.0), md.Normal(4.0)], [0.3, 0.7]), 2.0),
    "affine": (md.Affine(md.StudentT(3.0), 1.0, -2.0), 2.0),
}


@pytest.mark.parametrize("name", SHIFTED)
def test_a_shift_moves_the_density(name):
    law, shift = SHIFTED[name]
    x = jnp.full(md.event_struct(law).shape, 0.3) * jnp.asarray(1.0)
    moved = shifted(law, shift)
    assert float(moved.log_prob(x + jnp.asarray(shift))) == pytest.approx(float(law.log_prob(x)), rel=1e-5)


SCALED = {
    "normal": (md.Normal(1.0, 2.0), 1.0),
    "multivariate": (md.MultivariateNormal([1.0, 2.0], [[1.0, 0.0], [0.5, 2.0]]), [1.0, 2.0]),
    "student-t": (md.StudentT(3.0, 1.0, 2.0), 1.0),
    "exponential": (md.Exponential(3.0), 0.0),
    "gamma": (md.Gamma(3.0, 0.5), 0.0),
    "weibull": (md.Weibull(1.5, 0.5), 0.0),
    "pareto": (md.GeneralisedPareto(0.3, 0.5, 2.0), 2.0),
    "product": (md.Product([md.Normal(1.0), md.Exponential(2.0)]), [1.0, 0.0]),
}


@pytest.mark.parametrize("name", SCALED)
def test_a_scale_inflates_about_the_location(name):
    law, centre = SCALED[name]
    centre = jnp.asarray(centre)
    d = centre.size
    deviation = jnp.full(centre.shape, 0.8)
    wide = scaled(law, 1.7)
    inflated = float(wide.log_prob(centre + 1.7 * deviation))
    assert inflated == pytest.approx(float(law.log_prob(centre + deviation)) - d * np.log(1.7), rel=1e-5)


def test_inflated_volatility_of_log_prices():
    law = scaled(md.LogNormal(0.1, 0.2), 3.0)
    assert float(law.loc) == pytest.approx(0.1)
    assert float(law.scale) == pytest.approx(0.6)


def test_each_coordinate_of_a_correlated_law_by_its_own_factor():
    law = md.MultivariateNormal([1.0, 2.0], [[1.0, 0.0], [0.5, 2.0]])
    wide = scaled(law, [2.0, 3.0])
    np.testing.assert_allclose(wide.inverse @ wide.factor, np.eye(2), atol=1e-6)
    covariance = np.diag([2.0, 3.0]) @ (law.factor @ law.factor.T) @ np.diag([2.0, 3.0])
    np.testing.assert_allclose(wide.factor @ wide.factor.T, covariance, rtol=1e-6)


def test_what_is_refused():
    with pytest.raises(TypeError, match=r"Exponential has no location on the whole line; Normal"):
        shifted(md.Exponential(), 1.0)
    with pytest.raises(TypeError, match="Uniform has no scale to inflate; MultivariateNormal"):
        scaled(md.Uniform(), 2.0)
    numpyro = pytest.importorskip("numpyro.distributions", reason="numpyro is taken where it is installed")
    with pytest.raises(TypeError, match=r"numpyro.Laplace has no location on the whole line"):
        shifted(numpyro.Laplace(), 1.0)
    with pytest.raises(ValueError, match=r"factor must be positive and finite, got -1.0"):
        scaled(md.Normal(), -1.0)
    with pytest.raises(TypeError, match="NoneType is not a distribution"):
        shifted(None, 1.0)
    with pytest.raises(ValueError, match=r"shift must be a scalar or of the event's shape \(2,\), got shape \(3,\)"):
        shifted(md.Product([md.Normal(), md.Normal()]), [1.0, 2.0, 3.0])
