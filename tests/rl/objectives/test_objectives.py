"""Objectives: values and gradients against float64 NumPy, exact expectations by enumeration, published losses."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcengine.rl import objectives as of
from mcengine.rl.objectives import forms, levels, reductions, transforms

RNG = np.random.default_rng(20261121)
SHAPE = (5, 7)
LOG_MU = np.log(RNG.uniform(0.05, 0.95, SHAPE))
LOG_PI = np.minimum(LOG_MU + 0.5 * RNG.standard_normal(SHAPE), -1e-3)
ADVANTAGES = RNG.standard_normal(SHAPE)
MASK = RNG.uniform(size=SHAPE) < 0.8
MASK[3] = False  # a sequence of padding only
PADDED = np.where(MASK, LOG_PI, np.nan)  # what padding holds must not matter


def token_mean(terms, mask):
    return terms[mask].mean()


def sequence_mean(terms, mask):
    return np.mean([row[kept].mean() for row, kept in zip(terms, mask, strict=True) if kept.any()])


def ratio(log_pi):
    return np.exp(log_pi - LOG_MU)


def clip_terms(log_pi, low=0.8, high=1.2):
    r = ratio(log_pi)
    return np.minimum(r * ADVANTAGES, np.clip(r, low, high) * ADVANTAGES)


def dual_clip_terms(log_pi):
    terms = clip_terms(log_pi)
    return np.where(ADVANTAGES < 0, np.maximum(terms, 3.0 * ADVANTAGES), terms)


def geometric_mean(log_pi):
    log_r = np.where(MASK, log_pi - LOG_MU, 0.0)
    return np.exp(log_r.sum(1, keepdims=True) / np.maximum(MASK.sum(1, keepdims=True), 1))


def gspo_loss(log_pi):
    s, a = geometric_mean(log_pi), ADVANTAGES[:, :1]
    terms = np.minimum(s * a, np.clip(s, 1 - 3e-4, 1 + 4e-4) * a)
    return -terms[MASK.any(1)].mean()


def reps_of(log_pi, reduction, weights):
    return -reduction(np.where(MASK, weights, 0.0) * ADVANTAGES * log_pi, MASK)


KL = RNG.uniform(size=SHAPE)
# name: (ours, the loss in float64, whether its gradient is that of the loss)
OBJECTIVES = {
    "clip": (lambda p: of.ppo_clip(p, LOG_MU, ADVANTAGES, mask=MASK), lambda p: -token_mean(clip_terms(p), MASK)),
    "clip, uneven": (
        lambda p: of.ppo_clip(
            p, LOG_MU, ADVANTAGES, mask=MASK, epsilon=0.1, epsilon_high=0.3, reduction=reductions.sequence_mean
        ),
        lambda p: -sequence_mean(clip_terms(p, 0.9, 1.3), MASK),
    ),
    "clip, one length": (
        lambda p: of.ppo_clip(p, LOG_MU, ADVANTAGES, mask=MASK, reduction=reductions.ConstantLength(10.0)),
        lambda p: -clip_terms(p)[MASK].sum() / 4 / 10,
    ),
    "dual clip": (
        lambda p: of.dual_clip(p, LOG_MU, ADVANTAGES, mask=MASK),
        lambda p: -token_mean(dual_clip_terms(p), MASK),
    ),
    "exact penalty": (
        lambda p: of.ppo_kl(p, LOG_MU, ADVANTAGES, KL, 0.7, mask=MASK),
        lambda p: -token_mean(ratio(p) * ADVANTAGES, MASK) + 0.7 * token_mean(KL, MASK),
    ),
    "gspo": (lambda p: of.gspo(p, LOG_MU, ADVANTAGES[:, :1], mask=MASK), gspo_loss),
    "sequence weight": (
        lambda p: of.surrogate_loss(p, LOG_MU, ADVANTAGES[:, :1], mask=MASK, level=levels.sequence),
        lambda p: -(np.exp(np.where(MASK, p - LOG_MU, 0).sum(1)) * ADVANTAGES[:, 0])[MASK.any(1)].mean(),
    ),
    "prefix weight": (
        lambda p: of.surrogate_loss(
            p, LOG_MU, ADVANTAGES, mask=MASK, level=levels.prefix, reduction=reductions.sequence_sum
        ),
        lambda p: -(np.exp(np.cumsum(np.where(MASK, p - LOG_MU, 0), 1)) * ADVANTAGES)[MASK].sum() / 4,
    ),
}  # fmt: skip


def numeric_gradient(loss, at):
    gradient, step = np.zeros_like(at), 1e-6
    for index in np.ndindex(*at.shape):
        if MASK[index]:
            moved = [at.copy(), at.copy()]
            moved[0][index] += step
            moved[1][index] -= step
            gradient[index] = (loss(moved[0]) - loss(moved[1])) / (2 * step)
    return gradient


@pytest.mark.parametrize("name", OBJECTIVES)
def test_value_and_gradient_are_those_of_the_formula_in_float64(name):
    ours, loss = OBJECTIVES[name]
    value, gradient = jax.jit(jax.value_and_grad(ours))(jnp.asarray(PADDED))
    assert value == pytest.approx(loss(LOG_PI), rel=1e-5)
    np.testing.assert_allclose(gradient, numeric_gradient(loss, LOG_PI), rtol=2e-5, atol=1e-6)


# name: (ours, the weights in front of A grad log pi)
SCORES = {
    "on-policy": (lambda p: of.policy_gradient(p, ADVANTAGES, mask=MASK), np.ones(SHAPE)),
    "off-policy": (lambda p: of.off_policy_gradient(p, LOG_MU, ADVANTAGES, mask=MASK), ratio(LOG_PI)),
    "rho_bar": (
        lambda p: of.off_policy_gradient(p, LOG_MU, ADVANTAGES, rho_bar=1.1, mask=MASK),
        np.minimum(ratio(LOG_PI), 1.1),
    ),
    "sequence": (
        lambda p: of.off_policy_gradient(p, LOG_MU, ADVANTAGES, level=levels.sequence, mask=MASK),
        np.exp(np.where(MASK, LOG_PI - LOG_MU, 0).sum(1, keepdims=True)),
    ),
    "cispo": (
        lambda p: of.cispo(p, LOG_MU, ADVANTAGES, high=1.3, mask=MASK, reduction=reductions.sequence_sum),
        np.minimum(ratio(LOG_PI), 1.3),
    ),
    "masked correction": (
        lambda p: of.surrogate_loss(
            p, LOG_MU, ADVANTAGES, mask=MASK, form=forms.score, reduction=reductions.sequence_sum,
            factor=of.importance_correction(LOG_MU, KL - 1.5, transform=transforms.DropOutside(0.5, 2.0), mask=MASK),
        ),
        ratio(LOG_PI) * (lambda w: np.where((w >= 0.5) & (w <= 2.0), w, 0.0))(np.exp(LOG_MU - (KL - 1.5))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCORES)
def test_score_forms_have_the_gradient_of_their_weights(name):
    ours, weights = SCORES[name]
    gradient = jax.grad(ours)(jnp.asarray(PADDED))
    np.testing.assert_allclose(gradient, np.where(MASK, -weights * ADVANTAGES / 4, 0.0), rtol=1e-5, atol=1e-7)


def test_the_clipped_side_has_no_gradient():
    # For A > 0 above 1 + epsilon, for A < 0 below 1 - epsilon; the other two corners push back.
    log_pi = jnp.log(jnp.asarray([[1.5, 0.5, 1.5, 0.5]])) - 2.0
    gradient = jax.grad(lambda p: of.ppo_clip(p, jnp.full((1, 4), -2.0), jnp.asarray([[1.0, 1.0, -1.0, -1.0]])))(log_pi)
    np.testing.assert_allclose(gradient[0], [0.0, -0.125, 0.375, 0.0], atol=1e-6)


def test_enormous_ratios_leave_no_nan():
    log_pi, log_mu = jnp.asarray([[-1.0, -200.0]]), jnp.asarray([[-200.0, -1.0]])
    for advantage in (1.0, -1.0):
        value, gradient = jax.value_and_grad(of.dual_clip)(log_pi, log_mu, jnp.full((1, 2), advantage))
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))
    assert np.isfinite(jax.grad(of.cispo)(log_pi, log_mu, jnp.ones((1, 2)))).all()


@pytest.mark.parametrize("log_ratio", [80.0, 100.0, 1e3, 1e9])
@pytest.mark.parametrize("objective", [of.ppo_clip, of.gspo, of.surrogate_loss])
def test_bad_actions_of_enormous_ratios_are_pushed_away_by_a_finite_gradient(objective, log_ratio):
    value, gradient = jax.jit(jax.value_and_grad(objective))(
        jnp.asarray([[-1.0]]), jnp.asarray([[-1.0 - log_ratio]]), jnp.asarray([[-1.0]])
    )
    assert value == pytest.approx(np.exp(60.0), rel=1e-5)
    assert gradient == pytest.approx(np.exp(60.0), rel=1e-5)


def test_weights_below_the_limit_are_as_they_are():
    log_pi, log_mu = jnp.asarray([[-1.0]]), jnp.asarray([[-60.0]])
    value, gradient = jax.value_and_grad(of.surrogate_loss)(log_pi, log_mu, jnp.asarray([[-2.0]]))
    assert value == 2.0 * jnp.exp(jnp.asarray(59.0))
    assert gradient == value


@pytest.mark.parametrize(
    "objective", [of.cispo, of.off_policy_gradient, of.ppo_clip, lambda *x: of.gspo(*x, tokens=True)]
)
def test_what_the_new_policy_never_does_has_weight_0(objective):
    log_pi, log_mu = jnp.asarray([[-jnp.inf, -1.0]]), jnp.full((1, 2), -1.0)
    value, gradient = jax.value_and_grad(objective)(log_pi, log_mu, jnp.ones((1, 2)))
    assert np.isfinite(value)
    assert gradient[0, 0] == 0
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    "objective",
    [
        of.cispo,
        of.off_policy_gradient,
        of.ppo_clip,
        of.dual_clip,
        of.gspo,
        lambda *x, **mask: of.gspo(*x, tokens=True, **mask),
        lambda *x, **mask: of.surrogate_loss(*x, transform=transforms.DropOutside(0.5, 2.0), **mask),
        lambda *x, **mask: of.off_policy_gradient(*x, rho_bar=1.0, **mask),
        lambda *x, **mask: of.grpo(*x, jnp.full((8, 512), -1.0), 0.1, **mask),
        lambda log_pi, log_mu, a, mask=None: jnp.sum(
            a * of.importance_correction(log_pi, log_mu, transform=transforms.DropOutside(0.5, 2.0), mask=mask)
        ),
    ],
)
@pytest.mark.parametrize("log_pi", [-1.0, -jnp.inf])
def test_what_the_old_policy_never_did_is_seen_in_a_trace(objective, log_pi):
    # Many steps, so that XLA makes vectors, in whose minima a NaN gets lost; value alone and with its gradient.
    ones = jnp.ones((8, 512))
    log_pi, log_mu = (-ones).at[3, 5].set(log_pi), (-ones).at[3, 5].set(-jnp.inf)
    assert np.isnan(jax.jit(objective)(log_pi, log_mu, ones))
    step = jax.jit(jax.value_and_grad(objective))
    assert np.isnan(step(log_pi, log_mu, ones)[0])
    value, gradient = step(log_pi, log_mu, ones, mask=(ones > 0).at[3, 5].set(False))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("reduction", [reductions.token_mean, reductions.sequence_mean, reductions.sequence_sum])
def test_half_precision_counts_and_sums_beyond_65504(dtype, reduction):
    log_pi = jnp.full((1, 80_000), -1.0, dtype)
    value, gradient = jax.value_and_grad(of.ppo_clip)(log_pi, log_pi, -log_pi, reduction=reduction)
    assert value == (-80_000.0 if reduction is reductions.sequence_sum else -1.0)
    assert gradient.dtype == dtype
    assert np.isfinite(gradient.astype(jnp.float32)).all()
    assert reduction(-log_pi, jnp.ones(log_pi.shape, bool)) == -value


def test_the_padding_of_a_factor_reaches_no_gradient():
    factor = np.where(MASK, 1.0, np.nan)
    with_factor, without = (
        jax.grad(of.surrogate_loss)(
            jnp.asarray(PADDED), LOG_MU, ADVANTAGES[:, :1], mask=MASK, level=levels.sequence, factor=f
        )
        for f in (factor, np.where(MASK, 1.0, 0.0))
    )
    np.testing.assert_array_equal(with_factor, without)


def test_both_forms_of_gspo_have_one_gradient():
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


def test_sequence_weights_are_exact_and_the_others_biased():
    exact = exact_gradient()
    np.testing.assert_allclose(enumerated_gradient(levels.sequence), exact, atol=1e-6)
    bias = {
        level.__name__: float(jnp.linalg.norm(enumerated_gradient(level) - exact) / jnp.linalg.norm(exact))
        for level in (levels.step, levels.length_mean)
    }
    # Off by a large part of the gradient where the policies are far apart; not at all where they are the same.
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
        (lambda: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES, mask=np.zeros(SHAPE, bool)), "mask leaves nothing of 35"),
        (lambda: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES, mask=MASK[0]), "mask has shape"),
        (lambda: of.ppo_clip(-LOG_PI, LOG_MU, ADVANTAGES, discrete=True), "log_pi must be at most 0"),
        (lambda: of.ppo_clip(LOG_PI * np.nan, LOG_MU, ADVANTAGES), "log_pi must be a number below infinity"),
        (lambda: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES / 0.0), "advantages must be finite"),
        (lambda: of.ppo_clip(-1.0, -1.0, 1.0), "must have an axis of steps"),
        (lambda: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES, epsilon=-0.1), "0 <= low < high"),
        (lambda: of.dual_clip(LOG_PI, LOG_MU, ADVANTAGES, bound=0.5), "0 <= low < high"),
        (lambda: of.ppo_kl(LOG_PI, LOG_MU, ADVANTAGES, KL[:2], 1.0), "kl has shape"),
        (lambda: transforms.Truncate(np.nan), "0 <= low < high"),
        (lambda: reductions.ConstantLength(0.0), "must be positive"),
        (lambda: of.ppo_clip(LOG_PI, IMPOSSIBLE, ADVANTAGES), r"log_mu is -inf at \[1, 2\]: .* had probability 0"),
        (lambda: of.policy_gradient(IMPOSSIBLE, ADVANTAGES), "log_pi is -inf"),
        (lambda: of.importance_correction(LOG_PI, IMPOSSIBLE), "log_sampler is -inf"),
        (lambda: of.importance_correction(LOG_PI, -LOG_MU, discrete=True), "log_sampler must be at most 0"),
        (lambda: of.grpo(LOG_PI, LOG_MU, ADVANTAGES, IMPOSSIBLE, 0.1), "log_reference is -inf"),
        (lambda: of.grpo(LOG_PI, LOG_MU, ADVANTAGES, LOG_MU), "log_reference and beta together"),
        (lambda: of.grpo(LOG_PI, LOG_MU, ADVANTAGES, LOG_MU, np.nan), "beta must be finite, got nan"),
        (lambda: of.dr_grpo(LOG_PI, LOG_MU, ADVANTAGES, length=0.0), "must be positive"),
        (lambda: of.ppo_kl(LOG_PI, LOG_MU, ADVANTAGES, KL * np.nan, 1.0), "kl must be finite"),
        (lambda: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES, factor=KL[0]), r"factor has shape \(7,\), where \(5, 7\)"),
        (lambda: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES, factor=KL * np.nan), "factor must be finite"),
        (lambda: of.ppo_clip(*[LOG_PI[:, :0]] * 3), r"no steps in arrays of shape \(5, 0\)"),
        (lambda: jax.jit(of.ppo_clip)(*[LOG_PI[:, :0]] * 3), "no steps"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_mistakes_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_mask_that_leaves_nothing_inside_a_trace_is_nan():
    loss = jax.jit(lambda mask: of.ppo_clip(LOG_PI, LOG_MU, ADVANTAGES, mask=mask))(jnp.zeros(SHAPE, bool))
    assert np.isnan(loss)
