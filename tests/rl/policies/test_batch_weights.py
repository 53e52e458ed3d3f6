"""Weights of samples by their advantages, replay, guided policy search, and diagnostics of an update."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from mcengine import weights
from mcengine.rl import levels, update_diagnostics
from mcengine.rl.objectives.guided_policy_search import guided_policy_search_loss
from mcengine.rl.policies import regression_weights as of

RNG = np.random.default_rng(11)
ADVANTAGES = RNG.standard_normal(200)


def test_regression_weights():
    found = of.advantage_weights(ADVANTAGES, 0.5)
    wanted = np.exp(ADVANTAGES / 0.5)
    np.testing.assert_allclose(found, wanted / wanted.sum(), rtol=2e-5)
    np.testing.assert_allclose(
        of.exponentiated_advantages(ADVANTAGES, 0.5, limit=3.0), np.minimum(wanted, 3.0), rtol=1e-5
    )
    mask = ADVANTAGES > 0
    masked = of.advantage_weights(np.where(mask, ADVANTAGES, np.nan), 0.5, mask=mask)
    assert np.all(masked[~mask] == 0)
    assert np.sum(masked) == pytest.approx(1.0, rel=1e-5)
    # No overflow at low temperatures.
    assert np.isfinite(of.advantage_weights(1e4 * ADVANTAGES, 1e-3)).all()


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1.0])
def test_the_temperature_is_the_minimum_of_the_dual(epsilon):
    def dual(log_eta):
        a = ADVANTAGES / np.exp(log_eta)
        return np.exp(log_eta) * (epsilon + np.log(np.mean(np.exp(a - a.max()))) + a.max())

    wanted = np.exp(minimize_scalar(dual, bounds=(-6, 6), method="bounded", options={"xatol": 1e-9}).x)
    found = of.solve_temperature(ADVANTAGES, epsilon)
    assert found == pytest.approx(wanted, rel=1e-3)
    assert of.temperature_dual(found, ADVANTAGES, epsilon) == pytest.approx(dual(np.log(wanted)), rel=1e-5)
    assert jax.grad(of.temperature_dual)(found, ADVANTAGES, epsilon) == pytest.approx(0.0, abs=1e-3)


STATES = np.asarray([[1.0, 2.0], [3.0, 9.0], [0.0, 0.5]])


def dual_of_states(log_eta, epsilon):
    """MPO's, in float64: the mean over states of the logarithm of the mean over actions."""
    a = STATES / np.exp(log_eta)
    return np.exp(log_eta) * (epsilon + np.mean(np.log(np.mean(np.exp(a - a.max(1, keepdims=True)), 1)) + a.max(1)))


@pytest.mark.parametrize("epsilon", [0.01, 0.1])
def test_the_temperature_of_states_and_actions_is_the_minimum_of_their_dual(epsilon):
    bounded = {"bounds": (-6, 6), "method": "bounded", "options": {"xatol": 1e-9}}
    wanted = np.exp(minimize_scalar(dual_of_states, args=(epsilon,), **bounded).x)
    found = of.solve_temperature(STATES, epsilon)
    assert found == pytest.approx(wanted, rel=1e-3)
    assert of.temperature_dual(found, STATES, epsilon) == pytest.approx(
        dual_of_states(np.log(wanted), epsilon), rel=1e-5
    )
    # Padding, and states that are padding throughout, do not change it.
    padded = np.pad(STATES, ((0, 1), (0, 2)), constant_values=np.nan)
    there = np.isfinite(padded)
    assert of.solve_temperature(padded, epsilon, mask=there) == pytest.approx(float(found), rel=1e-6)
    assert of.temperature_dual(found, padded, epsilon, mask=there) == pytest.approx(
        float(of.temperature_dual(found, STATES, epsilon)), rel=1e-6
    )
    slope = jax.grad(of.temperature_dual, argnums=(0, 1))(found, jnp.asarray(padded), epsilon, mask=there)
    assert slope[0] == pytest.approx(0.0, abs=1e-3)
    assert np.isfinite(slope[1]).all()
    np.testing.assert_array_equal(of.advantage_weights(padded, found, mask=there)[3], np.zeros(4))


def test_the_temperature_does_not_depend_on_offset_and_padding():
    a = np.asarray([1.0, 2.0, 3.0])
    found = float(of.solve_temperature(a, 0.1))
    assert of.solve_temperature(a + 1e6, 0.1) == pytest.approx(found, rel=1e-6)
    np.testing.assert_allclose(of.advantage_weights(a + 1e6, found), of.advantage_weights(a, found), rtol=1e-5)
    kept = np.asarray([True, True, False])
    alone = float(of.solve_temperature(a[:2], 0.1))
    for padding in (1e9, np.nan):
        assert of.solve_temperature(np.asarray([1.0, 2.0, padding]), 0.1, mask=kept) == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.3, 1e30])
def test_equal_advantages_have_a_temperature_and_equal_weights(value):
    equal = np.full(4, value)
    found = of.solve_temperature(equal, 0.1)
    assert found > 0
    np.testing.assert_allclose(of.advantage_weights(equal, found), np.full(4, 0.25), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: of.advantage_weights(ADVANTAGES, 0.0), "temperature must be positive and finite, got 0.0"),
        (lambda: of.exponentiated_advantages(ADVANTAGES, -1.0), "temperature must be positive"),
        (lambda: of.temperature_dual(np.nan, ADVANTAGES, 0.1), "temperature must be positive"),
        (lambda: of.advantage_weights(STATES, np.ones(2)), r"temperature has shape \(2,\), where \(3, 1\)"),
        (lambda: of.temperature_dual(np.ones((3, 1)), STATES, 0.1), r"temperature has shape \(3, 1\), where \(\)"),
        (lambda: of.solve_temperature(ADVANTAGES, 0.0), "epsilon must be positive"),
        (lambda: of.exponentiated_advantages(ADVANTAGES, 1.0, limit=-1.0), "limit must be positive"),
        (lambda: of.solve_temperature(ADVANTAGES * np.nan, 0.1), "solve_temperature: advantages must be finite"),
        (lambda: of.solve_temperature(1.0, 0.1), "axis of samples"),
        (lambda: of.advantage_weights(np.zeros(0), 1.0), "no steps"),
        (lambda: of.replay_weights(np.asarray([0.5, 0.0]), 1.0, size=10), r"lie in \(0, 1\], got 0.0 at \[1\]"),
        (lambda: of.replay_weights(np.asarray([0.5]), 1.0, size=0), "size must be positive and finite, got 0"),
        (lambda: of.replay_weights(np.asarray([0.5]), np.nan), "beta must be finite"),
        (lambda: of.replay_weights(np.zeros(0), 1.0), r"no entries in probabilities of shape \(0,\)"),
    ],
)
def test_bad_arguments_of_weights_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_replay_weights():
    p = np.asarray([0.5, 0.1, 0.02])
    np.testing.assert_allclose(of.replay_weights(p, 0.7, size=100), (100 * p) ** -0.7, rtol=1e-5)
    np.testing.assert_allclose(of.replay_weights(p, 1.0), 0.02 / p, rtol=1e-5)
    np.testing.assert_allclose(of.replay_weights(p, 0.0), np.ones(3))
    # With the size and beta = 1 they are importance weights: 1 in expectation.
    buffer = RNG.dirichlet(np.ones(20))
    assert np.sum(buffer * of.replay_weights(buffer, 1.0, size=20)) == pytest.approx(1.0, rel=1e-5)


def guided(log_pi, log_q, rewards, mask, shares, w_r):
    """The paper's objective in float64."""
    total = 0.0
    for t in range(rewards.shape[1]):
        alive = mask[:, t]
        if not alive.any():
            continue
        prefix = lambda x, t=t: np.exp(np.where(mask, x, 0.0)[..., : t + 1].sum(-1))  # noqa: E731
        w = prefix(log_pi)[alive] / np.tensordot(shares, prefix(log_q), 1)[alive]
        total += (w * rewards[alive, t]).sum() / w.sum() + w_r * np.log(w.sum())
    return -total


def test_guided_policy_search_against_the_formula_and_its_gradient():
    shape = (6, 5)
    log_pi, rewards = -RNG.uniform(0.1, 2.0, shape), RNG.standard_normal(shape)
    log_q, shares = -RNG.uniform(0.1, 2.0, (3, *shape)), np.asarray([0.5, 0.3, 0.2])
    mask = np.arange(5) < np.asarray([4, 2, 4, 3, 4, 1])[:, None]  # no trajectory reaches the last step

    def ours(p):
        return guided_policy_search_loss(p, log_q, rewards, shares=shares, mask=mask, regulariser=0.1)

    value, gradient = jax.value_and_grad(ours)(jnp.asarray(np.where(mask, log_pi, -1e9)))
    assert value == pytest.approx(guided(log_pi, log_q, rewards, mask, shares, 0.1), rel=1e-5)
    wanted = np.zeros(shape)
    for index in np.ndindex(*shape):
        moved = [log_pi.copy(), log_pi.copy()]
        moved[0][index] += 1e-6
        moved[1][index] -= 1e-6
        wanted[index] = (
            guided(moved[0], log_q, rewards, mask, shares, 0.1) - guided(moved[1], log_q, rewards, mask, shares, 0.1)
        ) / 2e-6
    np.testing.assert_allclose(gradient, wanted, rtol=2e-4, atol=2e-5)
    with pytest.raises(ValueError, match="log_samplers has shape"):
        guided_policy_search_loss(log_pi, log_q[0], rewards)


P = np.full((2, 3), -1.0)
NEVER = np.where(np.arange(3) == 1, -np.inf, P)


def test_a_sampler_may_never_take_an_action_of_another():
    found = guided_policy_search_loss(P, np.stack([P, NEVER]), P)
    assert np.isfinite(found)
    masked = guided_policy_search_loss(P, NEVER[None], P, mask=np.isfinite(NEVER))
    assert np.isfinite(masked)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: update_diagnostics(P, NEVER), r"log_mu is -inf at \[0, 1\]"),
        (lambda: update_diagnostics(P * np.nan, P), "log_pi must be a number below infinity, got nan"),
        (lambda: update_diagnostics(-P, P, discrete=True), "log_pi must be at most 0"),
        (lambda: update_diagnostics(P[:, :0], P[:, :0]), "no steps"),
        (lambda: update_diagnostics(-1.0, -1.0), "axis of steps"),
        (lambda: guided_policy_search_loss(P, NEVER[None], P), r"log_samplers up to the step is -inf at \[0, 1\]"),
        (lambda: guided_policy_search_loss(P, np.stack([P, NEVER]), P, shares=np.asarray([0.0, 1.0])), "is -inf"),
        (lambda: guided_policy_search_loss(P * np.nan, P[None], P), "log_pi must be a number"),
        (lambda: guided_policy_search_loss(P, -P[None], P, discrete=True), "log_samplers must be at most 0"),
        (lambda: guided_policy_search_loss(P, P[None], P, shares=np.asarray([2.0])), "shares must sum to 1"),
        (lambda: guided_policy_search_loss(P, P[[0, 0]][:, None] + 0 * P, P, shares=np.asarray([-0.5, 1.5])), "shares"),
        (lambda: guided_policy_search_loss(P[0], P[:1], P[0]), r"log_pi has shape \(3,\), where \[trajectories, steps"),
        (lambda: guided_policy_search_loss(P[None], P[None, None], P[None]), "log_pi has shape"),
        (lambda: guided_policy_search_loss(P, P[:0, None] + P, P), r"log_samplers has shape \(0, 2, 3\)"),
        (lambda: guided_policy_search_loss(P[:, :0], P[None, :, :0], P[:, :0]), "no steps"),
        (lambda: guided_policy_search_loss(P, P[None], P, regulariser=np.nan), "regulariser must be finite"),
    ],
)
def test_bad_arguments_of_diagnostics_and_policy_search_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_diagnostics_are_of_the_raw_weights():
    log_mu = -RNG.uniform(0.1, 2.0, (40, 10))
    log_pi = log_mu + 0.4 * RNG.standard_normal((40, 10))
    mask = RNG.uniform(size=(40, 10)) < 0.7
    found = jax.jit(update_diagnostics)(np.where(mask, log_pi, np.nan), log_mu, mask=mask)
    w = np.exp(log_pi - log_mu)[mask]
    assert found.ess == pytest.approx(w.sum() ** 2 / (w**2).sum(), rel=1e-4)
    assert found.ess_share == pytest.approx(float(found.ess) / mask.sum(), rel=1e-5)
    assert found.largest_share == pytest.approx(w.max() / w.sum(), rel=1e-5)
    assert found.mean_weight == pytest.approx(w.mean(), rel=1e-5)
    assert found.kl == pytest.approx(np.mean(w - 1 - np.log(w)), rel=1e-4)
    assert found.clipped_high == pytest.approx(np.mean(w > 1.2), abs=1e-6)
    assert found.clipped_low == pytest.approx(np.mean(w < 0.8), abs=1e-6)
    assert found.pareto_k == pytest.approx(float(weights.k_hat(np.log(w))), abs=1e-4)
    whole = update_diagnostics(log_pi, log_mu, level=levels.sequence)
    w = np.exp((log_pi - log_mu).sum(1))
    assert whole.ess == pytest.approx(w.sum() ** 2 / (w**2).sum(), rel=1e-4)


def test_one_enormous_weight_is_reported():
    log_pi = np.zeros((1, 200))
    log_pi[0, 7] = 9.0
    found = update_diagnostics(log_pi, np.zeros((1, 200)))
    assert found.largest_share > 0.9
    assert found.ess < 2
