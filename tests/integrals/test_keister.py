"""Keister's integral: published values, another derivation, honest intervals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import mcengine as mc
from mcengine.integrals import keister
from mcengine.integrals.keister import keister_exact
from tests.statistics import assert_honest

PUBLISHED = {1: 1.3803884470431433, 2: 1.8081864292636, 3: 2.1683091021655, 5: 1.1353239910125, 8: -30.6090750035586}


@pytest.mark.parametrize("dim", PUBLISHED)
def test_the_published_values(dim):
    assert float(keister(dim).exact) == pytest.approx(PUBLISHED[dim], rel=1e-12)


@pytest.mark.parametrize("dim", [1, 4, 8, 25, 100])
def test_the_exact_value_is_kummers_function_too(dim):
    # E cos(r) = sum_k (-1)^k E[r^2k]/(2k)!, with E[r^2k] = Gamma(d/2 + k)/Gamma(d/2): 1F1(d/2; 1/2; -1/4).
    expected = np.pi ** (dim / 2) * special.hyp1f1(dim / 2, 0.5, -0.25)
    assert keister_exact(dim) == pytest.approx(expected, rel=1e-9)


def test_the_integrand_depends_on_the_distance_alone():
    f = keister(3).integrand
    t = jnp.asarray([0.6, -1.2, 0.3])
    assert float(f(t)) == pytest.approx(np.pi**1.5 * np.cos(np.sqrt(0.36 + 1.44 + 0.09)), rel=1e-6)
    assert float(f(jnp.zeros(3))) == pytest.approx(np.pi**1.5, rel=1e-6)


@pytest.mark.parametrize("points", [mc.points.IID(), mc.points.Sobol()], ids=repr)
def test_estimates_are_unbiased_and_their_intervals_cover(key, points):
    runs = mc.replicate(jax.random.split(key, 400), keister(), points=points, budget=mc.Samples(4_096))
    assert_honest(runs, PUBLISHED[5], widest_ratio=1.25)
    # cos ||t|| has a standard deviation of about 0.5 under the normal distribution.
    assert np.std(runs.value) < np.pi**2.5 * 0.5 / 64 * 1.2


@pytest.mark.parametrize("dim", [0, -1, 2.5, True])
def test_a_bad_dimension_is_refused(dim):
    with pytest.raises(ValueError, match="keister: dim must be a positive integer, got"):
        keister(dim)
