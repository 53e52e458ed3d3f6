"""`replicate` is many calls of `estimate`, compiled once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc
from mcengine.execution import replicates
from tests.compilations import compilations

SQUARE = mc.Expectation(lambda x: x * x, mc.Normal(1.0, 1.0))
WIDE = mc.Normal(1.0, 2.0)


def keys_of_seed(seed, number):
    """The same keys at every call, which the check against reused keys takes for new ones."""
    return jax.random.split(jax.random.key(seed), number)


@pytest.mark.parametrize(
    "weighting",
    [
        mc.weighting.SelfNormalised(),
        mc.weighting.Truncated(),
        *(
            pytest.param(slow, marks=pytest.mark.battery)
            for slow in (mc.weighting.Raw(), mc.weighting.Clipped(0.0, 1.5))
        ),
    ],
)
def test_a_replicate_is_an_estimate(weighting):
    for num_samples in (256, 3_000, 2**15):
        how = {"budget": mc.Samples(num_samples), "weighting": weighting, "execution": mc.Execution(block_size=2**11)}
        many = mc.replicate(keys_of_seed(1, 3), SQUARE, WIDE, **how)
        for r in range(3):
            one = mc.estimate(keys_of_seed(1, 3)[r], SQUARE, WIDE, **how)
            for name in ("value", "std_error", "ess", "pareto_k", "max_weight_share", "num_hits", "num_samples"):
                np.testing.assert_allclose(getattr(many, name)[r], getattr(one, name), rtol=1e-5, err_msg=name)
            assert many.status_code[r] == one.status_code
            np.testing.assert_allclose([side[r] for side in many.interval()], one.interval(), rtol=1e-5)


def test_smoothed_weights_are_smoothed_over_as_many_samples_as_an_estimate_does(key):
    how = {"budget": mc.Samples(5_000), "weighting": mc.weighting.ParetoSmoothed()}
    keys = jax.random.split(key, 2)
    many, one = mc.replicate(keys, SQUARE, WIDE, **how), mc.estimate(keys[1], SQUARE, WIDE, **how)
    assert many.value[1] == pytest.approx(one.value, rel=1e-5)


def test_one_kernel_serves_every_count_and_every_number():
    # A function of its own, so that nothing of this structure was compiled before.
    problem = mc.Expectation(lambda x: jnp.cos(x), mc.Normal(0.0, 1.0))
    with compilations() as names:
        for scale in (1.5, 2.5):
            for num_samples in (256, 1_000, 2**15):
                mc.replicate(keys_of_seed(2, 20), problem, mc.Normal(0.0, scale), budget=mc.Samples(num_samples))
    assert names.count("_kernel") == 1


def test_large_counts_are_drawn_one_estimate_at_a_time(key, monkeypatch):
    monkeypatch.setattr(replicates, "MOST_SAMPLES", 1_000)
    keys = jax.random.split(key, 2)
    many = mc.replicate(keys, SQUARE, WIDE, budget=mc.Samples(2_048))
    one = mc.estimate(keys[1], SQUARE, WIDE, budget=mc.Samples(2_048))
    assert many.value[1] == one.value
