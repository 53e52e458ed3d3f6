"""Weights of samples by their advantages, replay, guided policy search, and diagnostics of an update."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from mcengine import weights
from mcengine.rl import levels, update_diagnostics
from mcengine.rl import regression_weights as of
from mcengine.rl.guided_policy_search import guided_policy_search_loss

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
    # Hot or cold, no overflow.
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


def test_replay_weights():
    p = np.asarray([0.5, 0.1, 0.02])
    np.testing.assert_allclose(of.replay_weights(p, 1.0, size=100), 0.02 / p, rtol=1e-5)
    np.testing.assert_allclose(of.replay_weights(p, 0.0, size=100), np.ones(3))
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\], got 0.0 at \[1\]"):
        of.replay_weights(np.asarray([0.5, 0.0]), 1.0, size=10)


def guided(log_pi, log_q, rewards, mask, shares, w_r):
    """Phi in float64, as the paper writes it."""
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
    mask = np.arange(5) < np.asarray([4, 2, 4, 3, 4, 1])[:, None]  # nobody reaches the last step

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


def test_diagnostics_see_the_raw_weights():
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


def test_one_enormous_weight_is_seen():
    log_pi = np.zeros((1, 200))
    log_pi[0, 7] = 9.0
    found = update_diagnostics(log_pi, np.zeros((1, 200)))
    assert found.largest_share > 0.9
    assert found.ess < 2
