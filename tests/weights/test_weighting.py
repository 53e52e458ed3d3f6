"""What every weighting must do, by one list: a new weighting is one more line."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import yaml

import mcengine as mc
from mcengine.weights.weighting import Clipped, ParetoSmoothed, Raw, SelfNormalised, Truncated, Weighting

WEIGHTINGS = [
    Raw(),
    SelfNormalised(),
    SelfNormalised(Truncated(2.0)),
    Truncated(),
    Truncated(3.0),
    Clipped(0.5, 3.0),
    ParetoSmoothed(),
    SelfNormalised(ParetoSmoothed()),
]
NUM, NUM_VALID = 2_000, 1_900


def transformed(weighting, log_w, num_samples=NUM_VALID):
    num_samples = None if num_samples is None else jnp.asarray(num_samples, log_w.dtype)
    return np.asarray(weighting.transform(log_w, jnp.asarray(NUM_VALID), num_samples))


def log_weights(shape=(NUM,)):
    log_w = 1.5 * np.random.default_rng(0).standard_normal(shape)
    log_w[..., ::7] = -np.inf
    log_w[..., NUM_VALID:] = -np.inf
    return jnp.asarray(log_w, jnp.float32)


def test_every_exported_weighting_is_in_the_list_and_has_a_yaml():
    exported = {
        value for value in vars(mc.weighting).values() if isinstance(value, type) and issubclass(value, Weighting)
    }
    assert {type(weighting) for weighting in WEIGHTINGS} == exported - {Weighting}
    conf = Path(__file__).parents[2] / "conf" / "weighting"
    targets = {yaml.safe_load(path.read_text())["_target_"].split(".")[-1] for path in conf.glob("*.yaml")}
    assert targets == {weighting.__name__ for weighting in exported - {Weighting}}


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=repr)
def test_weights_of_zero_stay_zero_and_order_is_kept(weighting):
    log_w = log_weights()
    changed = transformed(weighting, log_w)
    assert changed.shape == log_w.shape
    np.testing.assert_array_equal(changed == -np.inf, np.asarray(log_w) == -np.inf)
    assert np.all(np.diff(changed[np.argsort(log_w, stable=True)][np.sum(changed == -np.inf) :]) >= 0)


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=repr)
def test_weights_that_are_all_one_stay_one(weighting):
    log_w = jnp.where(jnp.arange(NUM) < NUM_VALID, 0.0, -jnp.inf)
    np.testing.assert_array_equal(transformed(weighting, log_w), log_w)


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=repr)
def test_what_is_said_of_a_weighting_is_true(weighting):
    log_w = log_weights()
    changed = transformed(weighting, log_w)
    assert np.any(changed != log_w) == weighting.changes_weights
    # The largest weight is doubled: those of the others stay, unless samples are coupled.
    largest = int(jnp.argmax(log_w))
    others = np.arange(NUM) != largest
    again = transformed(weighting, log_w.at[largest].add(np.log(2.0)))
    assert np.any(again[others] != changed[others]) == weighting.couples_samples


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=repr)
def test_without_normalisation_the_change_is_the_same(weighting):
    plain = weighting.without_normalisation
    assert not plain.self_normalised
    assert (plain is weighting) == (not weighting.self_normalised)
    np.testing.assert_array_equal(transformed(plain, log_weights()), transformed(weighting, log_weights()))


def test_the_default_limit_of_truncation_is_the_root_of_the_sample_count():
    changed = transformed(Truncated(), jnp.asarray([0.0, 10.0]), num_samples=400)
    np.testing.assert_allclose(changed, [0.0, np.log(20.0)], rtol=1e-6)
    with pytest.raises(ValueError, match="needs a budget in samples"):
        transformed(Truncated(), jnp.zeros(2), num_samples=None)


@pytest.mark.parametrize("base", [mc.points.Points, mc.weighting.Weighting, mc.mis.Heuristic])
def test_a_base_cannot_be_instantiated(base):
    with pytest.raises(TypeError, match="abstract"):
        base()
