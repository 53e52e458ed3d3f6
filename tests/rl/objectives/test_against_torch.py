"""Losses and divergences against torch: its own automatic differentiation in float64, its own distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcengine.rl import objectives as of
from mcengine.rl.objectives import reductions
from mcengine.rl.policies import kl

torch = pytest.importorskip("torch", reason="torch is not installed")

RNG = np.random.default_rng(20261122)
SHAPE = (6, 9)
LOG_MU = np.log(RNG.uniform(0.05, 0.95, SHAPE))
LOG_PI = np.minimum(LOG_MU + 0.6 * RNG.standard_normal(SHAPE), -1e-3)
LOG_REFERENCE = np.minimum(LOG_MU + 0.3 * RNG.standard_normal(SHAPE), -1e-3)
ADVANTAGES = RNG.standard_normal(SHAPE)
MASK = RNG.uniform(size=SHAPE) < 0.8
MU, REFERENCE, A, M = (torch.as_tensor(x) for x in (LOG_MU, LOG_REFERENCE, ADVANTAGES, MASK))


def token_mean(terms):
    return (terms * M).sum() / M.sum()


def clipped(r, a, low=0.2, high=0.2):
    return torch.minimum(r * a, torch.clamp(r, 1.0 - low, 1.0 + high) * a)


def dual_clipped(r, a):
    terms = clipped(r, a)
    return torch.where(a < 0, torch.maximum(terms, 3.0 * a), terms)


def geometric_mean(p):
    return torch.exp(((p - MU) * M).sum(1, keepdim=True) / M.sum(1, keepdim=True))


def gspo_of_tokens(p):
    # As libraries write it: the sequence's ratio held fixed, times the token's probability over itself.
    s = geometric_mean(p).detach() * torch.exp(p - p.detach())
    return (clipped(s, A, 3e-4, 4e-4) * M).sum(1) / M.sum(1)


def grpo_as_published(p):
    away = REFERENCE - p
    terms = clipped(torch.exp(p - MU), A[:, :1]) - 0.04 * (torch.exp(away) - away - 1.0)
    return ((terms * M).sum(1) / M.sum(1)).mean()


# name: (ours, theirs)
LOSSES = {
    "PPO-clip": (
        lambda p: of.ppo_clip(p, LOG_MU, ADVANTAGES, mask=MASK),
        lambda p: -token_mean(clipped(torch.exp(p - MU), A)),
    ),
    "dual clip": (
        lambda p: of.dual_clip(p, LOG_MU, ADVANTAGES, mask=MASK),
        lambda p: -token_mean(dual_clipped(torch.exp(p - MU), A)),
    ),
    "CISPO": (
        lambda p: of.cispo(p, LOG_MU, ADVANTAGES, high=1.2, mask=MASK),
        lambda p: -token_mean(torch.clamp(torch.exp(p - MU), max=1.2).detach() * A * p),
    ),
    "GSPO": (
        lambda p: of.gspo(p, LOG_MU, ADVANTAGES[:, :1], mask=MASK),
        lambda p: -clipped(geometric_mean(p), A[:, :1], 3e-4, 4e-4).mean(),
    ),
    "GSPO of tokens": (
        lambda p: of.gspo(p, LOG_MU, ADVANTAGES, mask=MASK, tokens=True),
        lambda p: -gspo_of_tokens(p).mean(),
    ),
    "GRPO": (
        lambda p: of.grpo(
            p, LOG_MU, ADVANTAGES[:, :1], LOG_REFERENCE, beta=0.04, kl_gradient="k3", kl_weighted=False, mask=MASK
        ),
        lambda p: -grpo_as_published(p),
    ),
    "REINFORCE": (
        lambda p: of.policy_gradient(p, ADVANTAGES, mask=MASK, reduction=reductions.token_mean),
        lambda p: -token_mean(A * p),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_have_the_values_and_gradients_of_torch(name):
    ours, theirs = LOSSES[name]
    value, gradient = jax.value_and_grad(ours)(jnp.asarray(LOG_PI))
    p = torch.tensor(LOG_PI, requires_grad=True)
    loss = theirs(p)
    loss.backward()
    # Only the gradients of CISPO and REINFORCE matter, but their values follow from the same formula.
    assert float(value) == pytest.approx(loss.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, p.grad, rtol=2e-5, atol=1e-8)


def test_divergences_and_entropies_are_those_of_torchs_distributions():
    families, divergence = torch.distributions, torch.distributions.kl_divergence
    p, q = RNG.standard_normal((2, 4, 5))
    categorical = [families.Categorical(logits=torch.as_tensor(x)) for x in (p, q)]
    np.testing.assert_allclose(kl.categorical_kl(p, q), divergence(*categorical), rtol=1e-5)
    np.testing.assert_allclose(kl.categorical_entropy(p), categorical[0].entropy(), rtol=1e-5)
    loc, scale = RNG.standard_normal((2, 4, 5)), RNG.uniform(0.5, 2.0, (2, 4, 5))
    normal = [
        families.Independent(families.Normal(torch.as_tensor(m), torch.as_tensor(s)), 1)
        for m, s in zip(loc, scale, strict=True)
    ]
    found = kl.diagonal_gaussian_kl(loc[0], scale[0], loc[1], scale[1])
    np.testing.assert_allclose(found, divergence(*normal), rtol=1e-5)
    np.testing.assert_allclose(kl.diagonal_gaussian_entropy(scale[0]), normal[0].entropy(), rtol=1e-5)
    roots = RNG.standard_normal((2, 4, 3, 3))
    covariance = roots @ np.swapaxes(roots, -1, -2) + np.eye(3)
    full = [
        families.MultivariateNormal(torch.as_tensor(m), torch.as_tensor(c))
        for m, c in zip(loc[..., :3], covariance, strict=True)
    ]
    found = kl.gaussian_kl(loc[0, :, :3], covariance[0], loc[1, :, :3], covariance[1])
    np.testing.assert_allclose(found, divergence(*full), rtol=2e-5)
