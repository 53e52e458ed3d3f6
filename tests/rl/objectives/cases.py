"""The objectives that every test in `test_every_objective` runs: a new objective is one more line of `OBJECTIVES`."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from mcengine.rl import objectives as of
from mcengine.rl.objectives import forms, levels, reductions, transforms

RNG = np.random.default_rng(20261121)
SHAPE = (5, 7)
LOG_MU = np.log(RNG.uniform(0.05, 0.95, SHAPE))
LOG_PI = np.minimum(LOG_MU + 0.5 * RNG.standard_normal(SHAPE), -1e-3)
ADVANTAGES = RNG.standard_normal(SHAPE)
MASK = RNG.uniform(size=SHAPE) < 0.8
MASK[3] = False  # a sequence of padding only


class Case(NamedTuple):
    """An objective of (log_pi, log_mu, advantages, mask=...), and its loss in float64 as a function of log_pi.

    The loss is at `LOG_MU`, `ADVANTAGES` and `MASK`. Numbers that the objective holds fixed are computed at `LOG_PI`.
    """

    objective: Callable
    formula: Callable[[np.ndarray], float]
    one_per_sequence: bool = False  # advantages are [..., 1]
    is_on_policy: bool = False  # ignores log_mu


def token_mean(terms):
    return terms[MASK].mean()


def sequence_mean(terms):
    return np.mean([row[kept].mean() for row, kept in zip(terms, MASK, strict=True) if kept.any()])


def sequence_sum(terms):
    return terms[MASK].sum() / MASK.any(1).sum()


def ratio(log_pi):
    return np.exp(log_pi - LOG_MU)


def log_ratio_of_steps(log_pi):
    return np.where(MASK, log_pi - LOG_MU, 0.0)


def clip_terms(log_pi, low=0.8, high=1.2, advantages=ADVANTAGES):
    r = ratio(log_pi)
    return np.minimum(r * advantages, np.clip(r, low, high) * advantages)


def dual_clip_terms(log_pi):
    terms = clip_terms(log_pi)
    return np.where(ADVANTAGES < 0, np.maximum(terms, 3.0 * ADVANTAGES), terms)


def geometric_mean(log_pi):
    return np.exp(log_ratio_of_steps(log_pi).sum(1, keepdims=True) / np.maximum(MASK.sum(1, keepdims=True), 1))


def gspo_loss(log_pi, advantages=ADVANTAGES[:, :1]):
    s = geometric_mean(log_pi)
    terms = np.minimum(s * advantages, np.clip(s, 1 - 3e-4, 1 + 4e-4) * advantages)
    return -terms[MASK.any(1)].mean()


def gspo_of_tokens_loss(log_pi):
    # The sequence's ratio held fixed, times the token's probability over itself.
    s = geometric_mean(LOG_PI) * np.exp(log_pi - LOG_PI)
    return -sequence_mean(np.minimum(s * ADVANTAGES, np.clip(s, 1 - 3e-4, 1 + 4e-4) * ADVANTAGES))


def kl_of(log_pi):
    """A divergence at every step, for objectives that take one."""
    return 0.1 * (1.0 + np.arange(log_pi.size).reshape(log_pi.shape) % 7)


def reference_of(log_pi):
    """Log-probabilities of a third policy, held fixed."""
    return lax.stop_gradient(0.8 * log_pi - 0.1)


def grpo_loss(log_pi, reduction, beta, low=0.2, high=0.2):
    """The published form: k3 of KL(pi, reference), unweighted."""
    away = 0.8 * LOG_PI - 0.1 - log_pi
    k3 = np.exp(away) - 1.0 - away
    return -reduction(clip_terms(log_pi, 1 - low, 1 + high, ADVANTAGES[:, :1]) - beta * k3)


def score_loss(weights, reduction=sequence_sum):
    """-reduction(w A log pi) with fixed weights."""
    return lambda log_pi: -reduction(weights * ADVANTAGES * log_pi)


def sequence_ratio(log_pi):
    return np.exp(log_ratio_of_steps(log_pi).sum(1, keepdims=True))


def sampler_of(log_mu):
    """Log-probabilities of a sampler other than the learner."""
    return 0.9 * log_mu - 0.1


CORRECTION = np.exp(LOG_MU - sampler_of(LOG_MU))

OBJECTIVES = {
    "PPO-clip": Case(of.ppo_clip, lambda p: -token_mean(clip_terms(p))),
    "PPO-clip, asymmetric": Case(
        lambda *x, **o: of.ppo_clip(*x, epsilon=0.1, epsilon_high=0.3, reduction=reductions.sequence_mean, **o),
        lambda p: -sequence_mean(clip_terms(p, 0.9, 1.3)),
    ),
    "PPO-clip, constant length": Case(
        lambda *x, **o: of.ppo_clip(*x, reduction=reductions.ConstantLength(10.0), **o),
        lambda p: -sequence_sum(clip_terms(p)) / 10,
    ),
    "dual clip": Case(of.dual_clip, lambda p: -token_mean(dual_clip_terms(p))),
    "PPO with a KL penalty": Case(
        lambda p, *x, **o: of.ppo_kl(p, *x, kl_of(p), beta=0.7, **o),
        lambda p: -token_mean(ratio(p) * ADVANTAGES) + 0.7 * token_mean(kl_of(p)),
    ),
    "GRPO": Case(of.grpo, lambda p: -sequence_mean(clip_terms(p))),
    "GRPO as published": Case(
        lambda p, *x, **o: of.grpo(p, *x, reference_of(p), beta=0.3, kl_gradient="k3", kl_weighted=False, **o),
        lambda p: grpo_loss(p, sequence_mean, 0.3),
        one_per_sequence=True,
    ),
    "Dr. GRPO": Case(
        lambda p, *x, **o: of.dr_grpo(
            p, *x, reference_of(p), length=10.0, beta=0.3, kl_gradient="k3", kl_weighted=False, **o
        ),
        lambda p: grpo_loss(p, sequence_sum, 0.3) / 10,
        one_per_sequence=True,
    ),
    "GSPO": Case(of.gspo, gspo_loss, one_per_sequence=True),
    "GSPO of tokens": Case(lambda *x, **o: of.gspo(*x, tokens=True, **o), gspo_of_tokens_loss),
    "CISPO": Case(
        lambda *x, **o: of.cispo(*x, high=1.3, **o), score_loss(np.minimum(ratio(LOG_PI), 1.3), token_mean)
    ),
    "on-policy gradient": Case(
        lambda p, q, a, **o: of.policy_gradient(p, a, **o), score_loss(np.ones(SHAPE)), is_on_policy=True
    ),
    "off-policy gradient": Case(of.off_policy_gradient, score_loss(ratio(LOG_PI))),
    "off-policy gradient, truncated": Case(
        lambda *x, **o: of.off_policy_gradient(*x, rho_bar=1.1, **o), score_loss(np.minimum(ratio(LOG_PI), 1.1))
    ),
    "off-policy gradient of sequences": Case(
        lambda *x, **o: of.off_policy_gradient(*x, level=levels.sequence, **o), score_loss(sequence_ratio(LOG_PI))
    ),
    "importance correction": Case(
        lambda p, q, a, mask=None: of.surrogate_loss(
            p, q, a, mask=mask, form=forms.score, reduction=reductions.sequence_sum,
            factor=of.importance_correction(q, sampler_of(q), transform=transforms.DropOutside(0.5, 1.2), mask=mask),
        ),
        score_loss(ratio(LOG_PI) * np.where((CORRECTION >= 0.5) & (CORRECTION <= 1.2), CORRECTION, 0.0)),
    ),
    "masked importance sampling": Case(
        lambda *x, **o: of.surrogate_loss(*x, transform=transforms.DropOutside(0.5, 1.2), form=forms.score, **o),
        score_loss(np.where((ratio(LOG_PI) >= 0.5) & (ratio(LOG_PI) <= 1.2), ratio(LOG_PI), 0.0), token_mean),
    ),
    "surrogate of steps": Case(of.surrogate_loss, lambda p: -token_mean(ratio(p) * ADVANTAGES)),
    "surrogate of sequences": Case(
        lambda *x, **o: of.surrogate_loss(*x, level=levels.sequence, **o),
        lambda p: -(sequence_ratio(p) * ADVANTAGES[:, :1])[MASK.any(1)].mean(),
        one_per_sequence=True,
    ),
    "surrogate of prefixes": Case(
        lambda *x, **o: of.surrogate_loss(*x, level=levels.prefix, reduction=reductions.sequence_sum, **o),
        lambda p: -sequence_sum(np.exp(np.cumsum(log_ratio_of_steps(p), 1)) * ADVANTAGES),
    ),
}  # fmt: skip


def advantages_of(case, shape=SHAPE):
    """Advantages of the shape that the case takes; ones, unless of the shape of the formulas."""
    found = ADVANTAGES if shape == SHAPE else jnp.ones(shape)
    return found[..., :1] if case.one_per_sequence else found
