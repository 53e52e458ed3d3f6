"""`mc.draw`: the samples that `estimate` averages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc

TAIL = mc.Probability(lambda x: x[0] + x[1], mc.Normal(jnp.zeros(2), 1.0), 3.0)
SHIFTED = mc.Normal(jnp.ones(2), 1.0)


@pytest.mark.parametrize("points", [mc.points.IID(), mc.points.Sobol(64)], ids=["iid", "sobol"])
def test_they_are_the_samples_of_estimate(key, points):
    samples = mc.draw(key, TAIL, SHIFTED, 1_000, points=points)
    found = mc.estimate(key, TAIL, SHIFTED, budget=mc.Samples(1_000), points=points)
    assert samples.x.shape == (found.num_samples, 2)
    again = mc.estimate_from(samples.log_weights, samples.values)
    assert again.value == pytest.approx(found.value, rel=1e-5)
    if points.unit_size == 1:
        assert again.std_error == pytest.approx(found.std_error, rel=1e-4)
    log_w = jax.vmap(TAIL.target.log_prob)(samples.x) - jax.vmap(SHIFTED.log_prob)(samples.x)
    np.testing.assert_allclose(samples.log_weights, log_w, atol=1e-5)
    np.testing.assert_array_equal(samples.values, (samples.x.sum(axis=1) >= 3.0).astype(samples.values.dtype))


def test_plain_samples_have_log_weight_0_and_structures_stay(key):
    samples = mc.draw(key, mc.Expectation(lambda x: {"square": x * x}, mc.Normal(0.0, 1.0)), count=10)
    assert samples.values["square"].shape == (10,)
    assert not np.any(samples.log_weights)


def test_what_is_refused(key):
    with pytest.raises(ValueError, match="must be positive"):
        mc.draw(key, TAIL, SHIFTED, 0)
    with pytest.raises(TypeError, match="draw: key"):
        mc.draw(0, TAIL, SHIFTED)
    with pytest.raises(ValueError, match=r"mis\.Optimal"):
        mc.draw(key, TAIL, mc.mixture([SHIFTED, SHIFTED]), mis=mc.mis.Optimal())
    with pytest.raises(TypeError, match="inside jit"):
        jax.jit(lambda k: mc.draw(k, TAIL, SHIFTED, 100).values)(key)
