"""Layouts on families whose inverse distribution function has no formula: less variance than independent samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import mcengine as mc

# A family, and the mean of log(1 + X) under SciPy's.
FAMILIES = {
    "gamma": (mc.Gamma(2.5, 0.5), stats.gamma(2.5, scale=2.0)),
    "gamma-small": (mc.Gamma(0.3, 2.0), stats.gamma(0.3, scale=0.5)),
    "beta": (mc.Beta(2.0, 3.5), stats.beta(2.0, 3.5)),
    "poisson": (mc.Poisson(3.7), stats.poisson(3.7)),
    "truncated-t": (mc.Truncated(mc.StudentT(3.0), 2.0, np.inf), None),
}


def _exact(law):
    if law is None:
        t, mass = stats.t(3.0), stats.t(3.0).sf(2.0)
        return integrate.quad(lambda x: np.log1p(x) * t.pdf(x) / mass, 2.0, np.inf)[0]
    if hasattr(law, "pmf"):
        k = np.arange(200)
        return np.sum(np.log1p(k) * law.pmf(k))
    # Along the quantile function, because the density of a small shape is infinite at 0.
    return integrate.quad(lambda u: np.log1p(law.ppf(u)), 0.0, 1.0, limit=200)[0]


def _log1p(x):
    return jnp.log1p(x.astype(jnp.float32))


@pytest.mark.parametrize(
    ("name", "points"), [*((name, mc.points.Sobol()) for name in FAMILIES), ("gamma", mc.points.Stratified())], ids=str
)
def test_layouts_gain_on_every_family(name, points, key):
    distribution, theirs = FAMILIES[name]
    problem = mc.Expectation(_log1p, distribution)
    plain_key, points_key = jax.random.split(key)
    plain = mc.estimate(plain_key, problem, budget=mc.Samples(2**14))
    result = mc.estimate(points_key, problem, points=points, budget=mc.Samples(2**14))
    exact = _exact(theirs)
    assert abs(plain.value - exact) < 4.5 * plain.std_error
    # With 15 degrees of freedom, 6 standard errors are exceeded with probability 2e-5. Float32 rounds the mean to 1e-7.
    assert abs(result.value - exact) < 6.0 * result.std_error + 2e-6 * exact
    assert result.std_error < 0.2 * plain.std_error


def test_independent_samples_use_the_cheaper_sampler_unless_words_is_2():
    def program(words):
        points = mc.points.IID(words=words)
        return str(
            jax.make_jaxpr(lambda key, law: points.draw(key, jnp.asarray(0), 8, law)[0])(
                jax.random.key(0), mc.Gamma(2.5)
            )
        )

    assert "log_standard_gamma" in program(1)
    assert "log_standard_gamma" not in program(2)
