"""Exponential tilting: q / p = exp(tilt . x - K(tilt)) everywhere, its mean is K'(tilt), and where it is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine.distributions as md
from mcengine.proposals import cumulant_generating, tilted

# Target, tilt, points of its support.
CASES = {
    "normal": (md.Normal(1.0, 2.0), 0.7, [-3.0, 0.5, 9.0]),
    "normal-vector": (md.Normal([1.0, 0.0], 2.0), [0.7, -0.2], [[-3.0, 1.0], [0.5, 2.0]]),
    "multivariate-normal": (
        md.MultivariateNormal([1.0, -1.0], covariance=[[2.0, 0.9], [0.9, 1.0]]),
        [0.3, -0.5],
        [[0.0, 0.0], [2.0, -3.0]],
    ),
    "exponential": (md.Exponential(2.0), 1.5, [0.1, 3.0]),
    "exponential-down": (md.Exponential(2.0), -4.0, [0.1, 3.0]),
    "gamma": (md.Gamma(2.5, 2.0), 1.5, [0.1, 3.0]),
    "poisson": (md.Poisson(2.0), 1.1, [0, 3, 9]),
    "bernoulli": (md.Bernoulli(0.1), 2.0, [0, 1]),
    "categorical": (md.Categorical([0.7, 0.0, 0.3]), 1.5, [0, 2]),
    "product": (md.Product([md.Normal(1.0, 2.0), md.Exponential(2.0)]), [0.5, 1.0], [[0.0, 0.3], [2.0, 4.0]]),
    "mixture": (
        md.Mixture([md.Normal(-1.0, 1.0), md.Normal(2.0, 3.0)], [0.8, 0.2]),
        0.6,
        [-3.0, 0.5, 9.0],
    ),
    "affine": (md.Affine(md.Exponential(1.0), 3.0, -0.5), -1.0, [2.9, 0.0]),
    "affine-matrix": (
        md.Affine(md.Normal([0.0, 1.0]), [1.0, 2.0], factor=[[2.0, 0.0], [-1.0, 0.5]]),
        [0.3, 0.4],
        [[0.0, 0.0], [2.0, -3.0]],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_ratio_is_the_exponential_of_the_tilt(name):
    target, tilt, points = CASES[name]
    tilt = jnp.asarray(tilt)
    proposal = tilted(target, tilt)
    for x in points:
        x = jnp.asarray(x, md.event_struct(target).dtype)
        log_ratio = float(proposal.log_prob(x) - target.log_prob(x))
        exact = float(jnp.sum(tilt * x.astype(jnp.float32)) - cumulant_generating(target, tilt))
        assert log_ratio == pytest.approx(exact, rel=2e-5, abs=1e-5)


@pytest.mark.parametrize("name", ["normal", "gamma", "poisson", "categorical", "mixture"])
def test_the_mean_is_the_slope_of_the_cumulant(name, key):
    target, tilt, _ = CASES[name]
    x = np.asarray(jax.jit(md.sample_many, static_argnums=2)(tilted(target, tilt), key, 40_000), float)
    mean = float(jax.grad(lambda t: cumulant_generating(target, t))(jnp.asarray(tilt)))
    assert abs(x.mean() - mean) < 4 * x.std() / np.sqrt(x.size)


@pytest.mark.parametrize("tilt", [3.0, -3.0, 0.0])
def test_a_tilted_uniform(tilt):
    law = tilted(md.Uniform(-1.0, 2.0), tilt)
    x = np.linspace(-0.99, 1.99, 7)
    norm = np.log((np.exp(2.0 * tilt) - np.exp(-tilt)) / tilt) if tilt else np.log(3.0)
    ours = [float(law.log_prob(jnp.asarray(one, jnp.float32))) for one in x]
    np.testing.assert_allclose(ours, tilt * x - norm, atol=2e-5)
    assert law.log_prob(jnp.asarray(2.1)) == -jnp.inf
    np.testing.assert_allclose([float(side) for side in law.support], [-1.0, 2.0], rtol=1e-6)


def test_truncation_and_tilting_commute():
    law = tilted(md.Truncated(md.Normal(0.0, 2.0), -1.0, 3.0), 0.5)
    other = md.Truncated(md.Normal(2.0, 2.0), -1.0, 3.0)
    assert float(law.log_prob(jnp.asarray(0.3))) == pytest.approx(float(other.log_prob(jnp.asarray(0.3))), rel=1e-6)


@pytest.mark.parametrize(
    "heavy",
    [md.StudentT(5.0), md.LogNormal(), md.GeneralisedPareto(0.2), md.Weibull(0.6)],
    ids=lambda d: type(d).__name__,
)
def test_heavy_tails_are_refused(heavy):
    for function in (tilted, cumulant_generating):
        with pytest.raises(ValueError, match=f"moment generating function of {type(heavy).__name__} does not exist"):
            function(heavy, 0.1)


def test_a_heavy_tail_inside_a_product_is_refused():
    with pytest.raises(ValueError, match="StudentT does not exist"):
        tilted(md.Product([md.Normal(), md.StudentT(3.0)]), [0.1, 0.1])


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"Exponential has .* only for tilt < rate = 2.0, got tilt = 2.5"):
        tilted(md.Exponential(2.0), 2.5)
    with pytest.raises(ValueError, match=r"Gamma has .* only for tilt < rate = 2.0, got tilt = 2.0"):
        cumulant_generating(md.Gamma(3.0, 2.0), 2.0)
    with pytest.raises(TypeError, match=r"Beta cannot be tilted; Normal, MultivariateNormal"):
        tilted(md.Beta(1.0, 2.0), 0.5)
    with pytest.raises(ValueError, match=r"scalar or of the event's shape \(2,\), got shape \(3,\)"):
        tilted(md.Normal([0.0, 1.0]), [0.1, 0.2, 0.3])


def test_new_tilts_compile_nothing_and_have_gradients():
    traces = []

    @jax.jit
    def log_q(target, tilt, x):
        traces.append(None)
        return tilted(target, tilt).log_prob(x)

    for tilt in (0.1, 0.5, 1.5):
        log_q(md.Gamma(2.0, 3.0), jnp.asarray(tilt), jnp.asarray(1.0))
    assert len(traces) == 1
    slope = jax.grad(lambda t: tilted(md.Exponential(2.0), t).log_prob(jnp.asarray(3.0)))(jnp.asarray(0.5))
    assert float(slope) == pytest.approx(3.0 - 1 / 1.5, rel=1e-6)  # x - K'(t)
