"""Objectives one by one: clipped gradients, limits of weights, exact expectations by enumeration, published losses."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcengine.rl import objectives as of
from mcengine.rl.objectives import levels, reductions, transforms
from tests.rl.objectives.cases import ADVANTAGES, LOG_MU, LOG_PI, MASK, SHAPE

RNG = np.random.default_rng(20261122)
PADDED = np.where(MASK, LOG_PI, np.nan)
KL = RNG.uniform(size=SHAPE)


def test_the_clipped_side_has_no_gradient():
    # For A > 0 above 1 + epsilon, for A < 0 below 1 - epsilon; the other two corners push back.
    log_pi = jnp.log(jnp.asarray([[1.5, 0.5, 1.5, 0.5]])) - 2.0
    gradient = jax.grad(lambda p: of.ppo_clip(p, jnp.full((1, 4), -2.0), jnp.asarray([[1.0, 1.0, -1.0, -1.0]])))(log_pi)
    np.testing.assert_allclose(gradient[0], [0.0, -0.125, 0.375, 0.0], atol=1e-6)


@pytest.mark.parametrize("log_ratio", [80.0, 100.0, 1e3, 1e9])
@pytest.mark.parametrize("objective", [of.ppo_clip, of.gspo, of.surrogate_loss])
def test_bad_actions_with_enormous_ratios_have_a_finite_gradient_away_from_them(objective, log_ratio):
    value, gradient = jax.jit(jax.value_and_grad(objective))(
        jnp.asarray([[-1.0]]), jnp.asarray([[-1.0 - log_ratio]]), jnp.asarray([[-1.0]])
    )
    assert value == pytest.approx(np.exp(60.0), rel=1e-5)
    assert gradient == pytest.approx(np.exp(60.0), rel=1e-5)


def test_weights_below_the_bound_are_unchanged():
    log_pi, log_mu = jnp.asarray([[-1.0]]), jnp.asarray([[-60.0]])
    value, gradient = jax.value_and_grad(of.surrogate_loss)(log_pi, log_mu, jnp.asarray([[-2.0]]))
    assert value == 2.0 * jnp.exp(jnp.asarray(59.0))
    assert gradient == value


@pytest.mark.parametrize(
    "objective", [of.cispo, of.off_policy_gradient, of.ppo_clip, lambda *x: of.gspo(*x, tokens=True)]
)
def test_actions_that_the_new_policy_never_takes_have_weight_0(objective):
    log_pi, log_mu = jnp.asarray([[-jnp.inf, -1.0]]), jnp.full((1, 2), -1.0)
    value, gradient = jax.value_and_grad(objective)(log_pi, log_mu, jnp.ones((1, 2)))
    assert np.isfinite(value)
    assert gradient[0, 0] == 0
    assert np.isfinite(gradient).all()


def test_a_sampler_probability_of_0_gives_a_factor_of_nan_inside_a_trace():
    ones = jnp.ones((8, 512))
    log_learner, log_sampler = -ones, (-ones).at[3, 5].set(-jnp.inf)
    correction = jax.jit(
        lambda *x, **mask: of.importance_correction(*x, transform=transforms.DropOutside(0.5, 2.0), **mask)
    )
    factor = correction(log_learner, log_sampler)
    assert np.argwhere(np.isnan(factor)).tolist() == [[3, 5]]
    assert np.isfinite(correction(log_learner, log_sampler, mask=(ones > 0).at[3, 5].set(False))).all()


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("reduction", [reductions.token_mean, reductions.sequence_mean, reductions.sequence_sum])
def test_half_precision_counts_and_sums_beyond_65504(dtype, reduction):
    log_pi = jnp.full((1, 80_000), -1.0, dtype)
    value, gradient = jax.value_and_grad(of.ppo_clip)(log_pi, log_pi, -log_pi, reduction=reduction)
    assert value == (-80_000.0 if reduction is reductions.sequence_sum else -1.0)
    assert gradient.dtype == dtype
    assert np.isfinite(gradient.astype(jnp.float32)).all()
    assert reduction(-log_pi, jnp.ones(log_pi.shape, bool)) == -value


def test_padding_of_a_factor_does_not_change_the_gradient():
    factor = np.where(MASK, 1.0, np.nan)
    with_factor, without = (
        jax.grad(of.surrogate_loss)(
            jnp.asarray(PADDED), LOG_MU, ADVANTAGES[:, :1], mask=MASK, level=levels.sequence, factor=f
        )
        for f in (factor, np.where(MASK, 1.0, 0.0))
    )
    np.testing.assert_array_equal(with_factor, without)


def test_both_forms_of_gspo_have_the_same_gradient():
    a = np.broadcast_to(ADVANTAGES[:, :1], SHAPE)
    by_sequence = jax.grad(lambda p: of.gspo(p, LOG_MU, ADVANTAGES[:, :1], mask=MASK, epsilon=0.3, epsilon_high=0.4))
    by_token = jax.grad(lambda p: of.gspo(p, LOG_MU, a, mask=MASK, epsilon=0.3, epsilon_high=0.4, tokens=True))
    np.testing.assert_allclose(by_sequence(jnp.asarray(LOG_PI)), by_token(jnp.asarray(LOG_PI)), atol=1e-7)


def test_the_published_losses_of_rlax():
    # rlax/_src/policy_gradients_test.py (Apache 2.0): logits, actions, advantages, losses.
    logits = np.asarray([[1.0, 1.0, 1.0], [2.0, 0.0, 0.0], [-1.0, -2.0, -3.0]])
    old = np.asarray([[1.0, 1.0, 1.0], [2.0, 0.0, 0.0], [-3.0, -2.0, -1.0]])
    log_pi, log_mu = (jax.nn.log_softmax(jnp.asarray(x))[jnp.arange(3), jnp.arange(3)][None] for x in (logits, old))
    advantages = np.asarray([[0.3, 0.2, 0.1]])
    for sign, published in ((1.0, -0.17117467), (-1.0, 0.19333333)):
        assert of.ppo_clip(log_pi, log_mu, sign * advantages) == pytest.approx(published, abs=1e-5)
    weights = np.asarray([[-2.0, 2.0, 0.0]])
    loss = of.policy_gradient(log_pi, weights * advantages, reduction=reductions.token_mean)
    assert loss == pytest.approx(0.0788835088, abs=1e-5)


VOCABULARY, LENGTH = 3, 4
TOKENS = np.asarray(list(itertools.product(range(VOCABULARY), repeat=LENGTH)))
LOGITS_PI, LOGITS_MU = RNG.standard_normal((2, LENGTH, VOCABULARY))
RETURNS = RNG.standard_normal(len(TOKENS))


def log_probabilities(logits, xp=jnp):
    table = jax.nn.log_softmax(logits, axis=-1)
    return table[jnp.arange(LENGTH), TOKENS]


def enumerated_gradient(level, reduction=reductions.sequence_sum):
    """E_mu of the gradient of the weight form, every sequence by its probability."""
    log_mu = log_probabilities(jnp.asarray(LOGITS_MU))
    p_mu = jnp.exp(jnp.sum(log_mu, axis=1))

    def objective(logits):
        one = jax.vmap(
            lambda pi, mu, a: -of.surrogate_loss(
                pi[None], mu[None], a[None, None], level=level, reduction=reduction
            )
        )  # fmt: skip
        return jnp.sum(p_mu * one(log_probabilities(logits), log_mu, jnp.asarray(RETURNS)))

    return jax.grad(objective)(jnp.asarray(LOGITS_PI))


def exact_gradient():
    return jax.grad(lambda x: jnp.sum(jnp.exp(jnp.sum(log_probabilities(x), axis=1)) * jnp.asarray(RETURNS)))(
        jnp.asarray(LOGITS_PI)
    )


def test_sequence_weights_are_exact_and_other_levels_biased():
    exact = exact_gradient()
    np.testing.assert_allclose(enumerated_gradient(levels.sequence), exact, atol=1e-6)
    bias = {
        level.__name__: float(jnp.linalg.norm(enumerated_gradient(level) - exact) / jnp.linalg.norm(exact))
        for level in (levels.step, levels.length_mean)
    }
    # The bias is a large part of the gradient, because the policies differ much.
    assert bias["step"] > 0.2
    assert bias["length_mean"] > 0.2


def test_red_light_weights():
    log_pi, log_mu = jnp.log(jnp.asarray([[0.99, 0.01]])), jnp.log(jnp.asarray([[0.8, 0.2]]))
    value = -of.surrogate_loss(log_pi, log_mu, jnp.asarray([[1.0, 0.0]]), reduction=reductions.sequence_sum)
    assert value == pytest.approx(1.2375, rel=1e-6)
    value = -of.surrogate_loss(log_pi, log_mu, jnp.asarray([[0.0, 1.0]]), reduction=reductions.sequence_sum)
    assert value == pytest.approx(0.05, rel=1e-6)


IMPOSSIBLE = LOG_MU.copy()
IMPOSSIBLE[1, 2] = -np.inf


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: of.ppo_clip(LOG_PI, LOG_MU[:, :3], ADVANTAGES), "log_mu has shape"),
        (lambda: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES[:, :3]), "advantages has shape"),
        (lambda: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES, mask=np.zeros(SHAPE, bool)), "mask excludes all 35 steps"),
        (lambda: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES, mask=MASK[0]), "mask has shape"),
        (lambda: of.ppo_clip(-LOG_PI, LOG_MU, ADVANTAGES, discrete=True), "log_pi must be at most 0"),
        (lambda: of.ppo_clip(LOG_PI * np.nan, LOG_MU, ADVANTAGES), "log_pi must be a number below infinity"),
        (lambda: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES / 0.0), "advantages must be finite"),
        (lambda: of.ppo_clip(-1.0, -1.0, 1.0), "must have an axis of steps"),
        (lambda: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES, epsilon=-0.1), "0 <= low < high"),
        (lambda: of.dual_clip(LOG_PI, LOG_MU, ADVANTAGES, bound=0.5), "0 <= low < high"),
        (lambda: of.ppo_kl(LOG_PI, LOG_MU, ADVANTAGES, KL[:2], beta=1.0), "kl has shape"),
        (lambda: transforms.Truncate(np.nan), "0 <= low < high"),
        (lambda: reductions.ConstantLength(0.0), "must be positive"),
        (
            lambda: of.ppo_clip(LOG_PI, IMPOSSIBLE, ADVANTAGES),
            r"log_mu is -inf at \[1, 2\]: the action taken there had probability 0",
        ),
        (lambda: of.policy_gradient(IMPOSSIBLE, ADVANTAGES), "log_pi is -inf"),
        (lambda: of.importance_correction(LOG_PI, IMPOSSIBLE), "log_sampler is -inf"),
        (lambda: of.importance_correction(LOG_PI, -LOG_MU, discrete=True), "log_sampler must be at most 0"),
        (lambda: of.grpo(LOG_PI, LOG_MU, ADVANTAGES, IMPOSSIBLE, beta=0.1), "log_reference is -inf"),
        (lambda: of.grpo(LOG_PI, LOG_MU, ADVANTAGES, LOG_MU), "log_reference and beta together"),
        (lambda: of.grpo(LOG_PI, LOG_MU, ADVANTAGES, LOG_MU, beta=np.nan), "beta must be finite, got nan"),
        (lambda: of.dr_grpo(LOG_PI, LOG_MU, ADVANTAGES, length=0.0), "must be positive"),
        (lambda: of.ppo_kl(LOG_PI, LOG_MU, ADVANTAGES, KL * np.nan, beta=1.0), "kl must be finite"),
        (lambda: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES, factor=KL[0]), r"factor has shape \(7,\), where \(5, 7\)"),
        (lambda: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES, factor=KL * np.nan), "factor must be finite"),
        (lambda: of.ppo_clip(*[LOG_PI[:, :0]] * 3), r"no steps in arrays of shape \(5, 0\)"),
        (lambda: jax.jit(of.ppo_clip)(*[LOG_PI[:, :0]] * 3), "no steps"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_mask_that_is_false_everywhere_gives_nan_inside_a_trace():
    loss = jax.jit(lambda mask: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES, mask=mask))(jnp.zeros(SHAPE, bool))
    assert np.isnan(loss)
