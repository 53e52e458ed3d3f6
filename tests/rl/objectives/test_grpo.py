"""GRPO as a whole: group advantages, asymmetric clipping, and the divergence from a reference policy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcengine.rl import advantages, kl, objectives, reductions

RNG = np.random.default_rng(20261122)
SHAPE = (2, 3, 6)  # questions, answers, tokens
LENGTHS = np.asarray([[6, 2, 4], [1, 5, 3]])
MASK = np.arange(6) < LENGTHS[..., None]
LOG_MU, LOG_REFERENCE = np.log(RNG.uniform(0.2, 0.9, (2, *SHAPE)))
LOG_PI = np.minimum(LOG_MU + 0.3 * RNG.standard_normal(SHAPE), -1e-3)
REWARDS = np.asarray([[1.0, 0.0, 0.0], [0.2, 0.9, 0.4]])
PADDED = np.where(MASK, LOG_PI, np.nan)


def advantages_by_hand(epsilon):
    centred = REWARDS - REWARDS.mean(1, keepdims=True)
    return (centred / (REWARDS.std(1, keepdims=True) + epsilon))[..., None]


def terms_by_hand(log_pi, advantage, beta, low, high, weighted):
    """min(r A, clip(r) A) - beta k3, k3 = exp(log ref - log pi) - 1 - (log ref - log pi), in float64."""
    r = np.exp(log_pi - LOG_MU)
    away = LOG_REFERENCE - log_pi
    k3 = (np.exp(away) - 1.0 - away) * (r if weighted else 1.0)
    return np.minimum(r * advantage, np.clip(r, 1.0 - low, 1.0 + high) * advantage) - beta * k3


def answers_mean(terms):
    """One over the number of answers, one over the length of each."""
    return np.mean([terms[i][MASK[i]].mean() for i in np.ndindex(2, 3)])


@pytest.mark.parametrize("epsilon", [1e-6, 1e-4])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_value_is_that_of_the_paper(weighted, epsilon):
    wanted = -answers_mean(terms_by_hand(LOG_PI, advantages_by_hand(epsilon), 0.04, 0.2, 0.28, weighted))
    a = advantages.group_advantages(REWARDS, epsilon=epsilon)[..., None]
    found = jax.jit(objectives.grpo, static_argnames=("kl_weighted",))(
        PADDED, LOG_MU, a, LOG_REFERENCE, beta=0.04, epsilon_high=0.28, kl_weighted=weighted, mask=MASK
    )
    assert found == pytest.approx(wanted, rel=1e-5)


def test_the_published_form_has_the_gradient_of_its_value():
    a = advantages_by_hand(1e-4)

    def loss(log_pi):
        return -answers_mean(terms_by_hand(log_pi, a, 0.5, 0.2, 0.2, False))

    wanted = np.zeros(SHAPE)
    for index in np.argwhere(MASK):
        moved = [LOG_PI.copy(), LOG_PI.copy()]
        moved[0][tuple(index)] += 1e-6
        moved[1][tuple(index)] -= 1e-6
        wanted[tuple(index)] = (loss(moved[0]) - loss(moved[1])) / 2e-6
    found = jax.grad(objectives.grpo)(
        jnp.asarray(PADDED), LOG_MU, a, LOG_REFERENCE, beta=0.5, kl_gradient="k3", kl_weighted=False, mask=MASK
    )
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-6)


def test_by_default_the_penalty_has_the_gradient_of_the_divergence_from_the_reference():
    # One token of four, by enumeration; mu, pi and the reference all differ.
    logits, log_mu, log_reference = (jax.nn.log_softmax(x) for x in jnp.asarray(RNG.standard_normal((3, 4))))

    def penalty(x, **options):
        one = jax.vmap(
            lambda p, q, ref: objectives.grpo(p[None], q[None], jnp.zeros(1), ref[None], beta=0.7, **options)
        )  # fmt: skip
        return jnp.sum(jnp.exp(log_mu) * one(jax.nn.log_softmax(x), log_mu, log_reference))

    value, gradient = jax.value_and_grad(penalty)(logits)
    exact = jax.value_and_grad(lambda x: 0.7 * kl.categorical_kl(x, log_reference))(logits)
    assert value == pytest.approx(float(exact[0]), abs=1e-6)
    np.testing.assert_allclose(gradient, exact[1], atol=1e-6)
    published = jax.grad(lambda x: penalty(x, kl_gradient="k3", kl_weighted=False))(logits)
    assert np.abs(published - exact[1]).max() > 0.01


def test_dr_grpo_divides_by_a_constant_length_and_not_by_the_spread():
    centred = (REWARDS - REWARDS.mean(1, keepdims=True))[..., None]
    terms = terms_by_hand(LOG_PI, centred, 0.1, 0.2, 0.2, True)
    a = advantages.group_advantages(REWARDS, scale=None)[..., None]
    found = objectives.dr_grpo(PADDED, LOG_MU, a, LOG_REFERENCE, beta=0.1, length=10.0, mask=MASK)
    assert found == pytest.approx(-terms[MASK].sum() / 6 / 10, rel=1e-5)


def test_without_a_reference_it_is_ppo_of_group_advantages():
    a = advantages.group_advantages(REWARDS)[..., None]
    ppo = objectives.ppo_clip(PADDED, LOG_MU, a, mask=MASK, reduction=reductions.sequence_mean)
    assert objectives.grpo(PADDED, LOG_MU, a, mask=MASK) == ppo


def test_padding_of_the_reference_does_not_change_the_gradient():
    a = advantages.group_advantages(REWARDS)[..., None]
    clean, padded = (
        jax.grad(objectives.grpo)(jnp.asarray(PADDED), LOG_MU, a, reference, beta=0.1, mask=MASK)
        for reference in (LOG_REFERENCE, np.where(MASK, LOG_REFERENCE, np.nan))
    )
    np.testing.assert_array_equal(clean, padded)
    assert np.isfinite(clean).all()


def test_cispo_bounds_the_weight_itself():
    # 5.0 is the bound itself; libraries that state epsilon_high = 5.0 have the bound 6.0.
    log_pi, log_mu = jnp.zeros((1, 1)), jnp.full((1, 1), -np.log(5.5))
    slopes = [
        jax.grad(objectives.cispo)(log_pi, log_mu, jnp.ones((1, 1)), **bound)[0, 0] for bound in ({}, {"high": 1 + 5.0})
    ]
    np.testing.assert_allclose(slopes, [-5.0, -5.5], rtol=1e-6)
