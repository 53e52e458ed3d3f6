"""The red light: two weights that are known by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc
from mcengine import weights
from mcengine.rl import driver, red_light


def test_the_weights_of_the_two_actions_and_their_mean():
    target, behaviour = driver(0.99), driver(0.8)
    actions = jnp.arange(2)
    log_w = weights.log_ratio(jax.vmap(target.log_prob)(actions), jax.vmap(behaviour.log_prob)(actions))
    w = np.asarray(weights.from_log(log_w), float)
    np.testing.assert_allclose(w, [1.2375, 0.05], rtol=1e-6)
    assert 0.8 * w[0] + 0.2 * w[1] == pytest.approx(1.0, rel=1e-6)


def test_the_exact_value():
    assert float(red_light().exact) == pytest.approx(0.99 * 1 + 0.01 * -10)
    assert float(red_light(brake=0.5, reward_brake=2, reward_run=-1).exact) == pytest.approx(0.5)


@pytest.mark.parametrize("brake", [None, 0.8, 0.5])
def test_estimates_are_unbiased_and_have_the_variance_worked_out_by_hand(brake):
    problem, proposal = red_light(), None if brake is None else driver(brake)
    num = 1000
    run = jax.jit(jax.vmap(lambda key: mc.estimate(key, problem, proposal, budget=mc.Samples(num)).value))
    values = np.asarray(run(jax.random.split(jax.random.key(1), 400)), float)
    p, q, f = np.asarray([0.99, 0.01]), np.asarray([0.99, 0.01] if brake is None else [brake, 1 - brake]), [1, -10]
    variance = np.sum(p**2 * np.square(f) / q) - float(problem.exact) ** 2
    z = (values - float(problem.exact)) / np.sqrt(variance / num)
    assert abs(z.mean()) * np.sqrt(len(z)) < 4
    assert 0.85 < z.std() < 1.15


def test_a_probability_out_of_range_raises():
    with pytest.raises(ValueError, match=r"brake must be a probability, got 1\.2"):
        red_light(brake=1.2)
