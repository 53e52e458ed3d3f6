"""The trust region's step: its curvature against a dense matrix, and its bound on random problems."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcengine.rl.policies import trust_region
from mcengine.rl.policies.kl import categorical_kl

STATES, FEATURES, ACTIONS = 12, 4, 3


def random_problem(key):
    """A softmax policy, linear in random features, with random advantages: (objective, kl, parameters)."""
    keys = jax.random.split(key, 3)
    features = jax.random.normal(keys[0], (STATES, FEATURES))
    parameters = {"w": 0.5 * jax.random.normal(keys[1], (FEATURES, ACTIONS))}
    advantages = jax.random.normal(keys[2], (STATES, ACTIONS))
    old = features @ parameters["w"]

    def objective(p):
        return jnp.mean(jnp.sum(jax.nn.softmax(features @ p["w"]) * advantages, axis=-1))

    def kl(p):
        return jnp.mean(categorical_kl(old, features @ p["w"]))

    return objective, kl, parameters, (features, old)


def dense_fisher(features, old):
    """E[(e_a - pi)(e_a - pi)' (x) f f'] in float64, for parameters [features, actions] raveled."""
    features, pi = np.asarray(features, np.float64), np.asarray(jax.nn.softmax(old), np.float64)
    total = 0.0
    for f, p in zip(features, pi, strict=True):
        total = total + np.kron(np.outer(f, f), np.diag(p) - np.outer(p, p))
    return total / len(features)


def test_fisher_vector_product_against_the_dense_matrix(key):
    _, kl, parameters, (features, old) = random_problem(key)
    vector = np.random.default_rng(0).standard_normal((FEATURES, ACTIONS))
    found = trust_region.fisher_vector_product(kl, parameters, {"w": jnp.asarray(vector)})
    wanted = dense_fisher(features, old) @ vector.ravel()
    np.testing.assert_allclose(np.ravel(found["w"]), wanted, atol=1e-5)


def test_every_step_stays_in_the_region_and_improves(key):
    def outcome(key):
        objective, kl, parameters, _ = random_problem(key)
        new, info = trust_region.trust_region_step(objective, kl, parameters, max_kl=0.01)
        return kl(new), objective(new) - objective(parameters), info

    divergence, improvement, info = jax.jit(jax.vmap(outcome))(jax.random.split(key, 500))
    assert np.all(divergence <= 0.01)
    assert np.all(info.accepted)
    assert np.all(improvement > 0)
    np.testing.assert_allclose(info.kl, divergence, rtol=1e-4, atol=1e-7)
    # The steps use most of the allowed divergence.
    assert np.median(divergence) > 0.005


def test_without_improvement_no_step_is_taken(key):
    objective, kl, parameters, _ = random_problem(key)
    for flat in (lambda p: 0.0 * objective(p), lambda p: objective(p) * jnp.nan):
        new, info = trust_region.trust_region_step(flat, kl, parameters)
        np.testing.assert_array_equal(new["w"], parameters["w"])
        assert not info.accepted
        assert info.kl == 0.0


def test_a_rough_divergence_shrinks_the_step(key):
    # The quadratic model underestimates this divergence, so the line search must shrink the step.
    objective, kl, parameters, _ = random_problem(key)
    rough = lambda p: kl(p) + 50.0 * jnp.sum((p["w"] - parameters["w"]) ** 4)  # noqa: E731
    new, info = trust_region.trust_region_step(objective, rough, parameters, max_kl=0.05, max_shrinks=40)
    assert info.num_shrinks > 0
    assert rough(new) <= 0.05


def test_the_defaults_are_those_of_the_paper():
    parameters = inspect.signature(trust_region.trust_region_step).parameters
    found = {name: parameters[name].default for name in ("cg_steps", "damping", "shrink", "max_kl")}
    assert found == {"cg_steps": 15, "damping": 0.1, "shrink": 0.8, "max_kl": 0.01}


def test_numbers_out_of_range_raise():
    with pytest.raises(ValueError, match="0 < shrink < 1"):
        trust_region.trust_region_step(lambda p: p, lambda p: p, 0.0, shrink=1.0)
