"""Divergences and entropies, their estimators, and the gradients of the estimators as losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

import mcengine as mc
from mcengine.rl import adaptive_beta, kl, proportional_beta

RNG = np.random.default_rng(3)
LOGITS, REFERENCE = RNG.standard_normal((2, 4, 6))


def exact(p, q):
    p, q = log_softmax(p, axis=-1), log_softmax(q, axis=-1)
    return np.sum(np.exp(p) * (p - q), axis=-1)


def test_exact_divergences_at_many_states():
    np.testing.assert_allclose(kl.categorical_kl(LOGITS, REFERENCE), exact(LOGITS, REFERENCE), rtol=1e-5)
    assert kl.diagonal_gaussian_kl(*(np.asarray([x]) for x in (5.0, 1.0, 2.0, 1.0))) == pytest.approx(4.5)
    loc, other = RNG.standard_normal((2, 3, 2))
    scale = np.asarray([[0.5, 2.0]] * 3)
    diagonal = kl.diagonal_gaussian_kl(loc, scale, other, np.ones((3, 2)))
    squares, identities = scale[:, :, None] ** 2 * np.eye(2), np.broadcast_to(np.eye(2), (3, 2, 2))
    np.testing.assert_allclose(kl.gaussian_kl(loc, squares, other, identities), diagonal, rtol=1e-5)
    assert diagonal.shape == (3,)
    never = kl.categorical_kl(np.asarray([[0.0, -np.inf]]), np.zeros((1, 2)))
    np.testing.assert_allclose(never, [np.log(2.0)], rtol=1e-6)


def test_entropies():
    p = np.exp(log_softmax(LOGITS, axis=-1))
    np.testing.assert_allclose(kl.categorical_entropy(LOGITS), -np.sum(p * np.log(p), -1), rtol=1e-5)
    gaussian = kl.diagonal_gaussian_entropy(np.asarray([[1.0, 2.0]]))
    np.testing.assert_allclose(gaussian, [np.log(2 * np.pi * np.e) + np.log(2.0)], rtol=1e-6)


@pytest.mark.parametrize(
    ("mean", "ratios", "k2"),
    [(0.1, {"k1": 20.0, "k2": 1.42, "k3": 1.42}, None), (1.0, {"k1": 2.0, "k2": 1.73, "k3": 1.70}, 0.625)],
)
def test_estimators_have_the_published_bias_and_spread(key, mean, ratios, k2):
    x = jax.random.normal(key, (400_000,))

    def spread(estimator):
        log_q, log_p = -0.5 * x**2, -0.5 * (x - mean) ** 2
        return kl.kl_estimate(log_p, log_q, estimator)

    for estimator, ratio in ratios.items():
        found = spread(estimator)
        assert jnp.std(found) / (0.5 * mean**2) == pytest.approx(ratio, rel=0.02)
        if estimator != "k2":
            assert jnp.mean(found) == pytest.approx(0.5 * mean**2, abs=6 * float(jnp.std(found)) / 632)
    if k2 is not None:
        assert jnp.mean(spread("k2")) == pytest.approx(k2, rel=0.01)


def enumerated(loss_of):
    """The gradient of E_pi of a loss through the log-probabilities alone, as samples give it."""
    logits, reference = jnp.asarray(LOGITS[0]), jnp.asarray(REFERENCE[0])
    probabilities = jax.nn.softmax(logits)

    def expected(x):
        return jnp.sum(probabilities * loss_of(jax.nn.log_softmax(x), jax.nn.log_softmax(reference)))

    return jax.grad(expected)(logits)


def gradient_of(divergence):
    return jax.grad(divergence)(jnp.asarray(LOGITS[0]))


def forwards(x):
    return kl.categorical_kl(x, jnp.asarray(REFERENCE[0]))


def backwards(x):
    return kl.categorical_kl(jnp.asarray(REFERENCE[0]), x)


def test_only_k2_has_the_right_gradient_and_the_loss_has_it_by_default():
    def naive(estimator):
        return enumerated(lambda log_pi, log_reference: kl.kl_estimate(log_reference, log_pi, estimator))

    np.testing.assert_allclose(naive("k1"), np.zeros(6), atol=1e-6)
    np.testing.assert_allclose(naive("k2"), gradient_of(forwards), atol=1e-6)
    np.testing.assert_allclose(naive("k3"), gradient_of(backwards), atol=1e-6)
    np.testing.assert_allclose(enumerated(kl.kl_loss), gradient_of(forwards), atol=1e-6)
    as_published = enumerated(lambda p, q: kl.kl_loss(p, q, gradient="k3"))
    np.testing.assert_allclose(as_published, gradient_of(backwards), atol=1e-6)


def test_the_weighted_loss_of_another_policys_actions_has_the_right_gradient():
    log_mu = jax.nn.log_softmax(jnp.asarray(LOGITS[1]))
    reference = jax.nn.log_softmax(jnp.asarray(REFERENCE[0]))

    def expected(x):
        log_pi = jax.nn.log_softmax(x)
        weight = jnp.exp(jax.lax.stop_gradient(log_pi) - log_mu)
        return jnp.sum(jnp.exp(log_mu) * kl.kl_loss(log_pi, reference, weight=weight))

    np.testing.assert_allclose(jax.grad(expected)(jnp.asarray(LOGITS[0])), gradient_of(forwards), atol=1e-6)
    assert expected(jnp.asarray(LOGITS[0])) == pytest.approx(float(exact(LOGITS[0], REFERENCE[0])), rel=1e-5)


def test_the_value_of_the_loss_is_that_of_its_value_estimator():
    log_pi, log_reference = jnp.asarray([-1.0]), jnp.asarray([-1.5])
    assert kl.kl_loss(log_pi, log_reference)[0] == pytest.approx(np.exp(-0.5) - 1 + 0.5, rel=1e-6)
    assert kl.kl_loss(log_pi, log_reference, value="k1")[0] == pytest.approx(0.5, rel=1e-6)


def test_sampled_entropy_has_the_entropys_gradient():
    found = enumerated(lambda log_pi, _: kl.entropy_estimate(log_pi))
    np.testing.assert_allclose(found, gradient_of(kl.categorical_entropy), atol=1e-6)
    assert kl.entropy_estimate(-2.0) == 2.0


def test_a_squashed_gaussian_by_the_engine(key):
    def squashed(loc, scale):
        base = mc.Normal(loc, scale)
        return mc.Pushforward(
            lambda v: jnp.tanh(base.forward(v)[0]),
            lambda x: base.log_prob(jnp.arctanh(x)) - jnp.log1p(-x * x),
            num_uniforms=1,
        )

    p, q = squashed(0.3, 0.4), squashed(-0.2, 0.6)
    problem = mc.Expectation(lambda x: p.log_prob(x) - q.log_prob(x), p)
    result = mc.estimate(key, problem, budget=mc.Samples(100_000))
    # A bijection changes no divergence.
    truth = float(mc.kl_divergence(mc.Normal(0.3, 0.4), mc.Normal(-0.2, 0.6)))
    assert abs(result.value - truth) < 4 * result.std_error


def test_beta_follows_the_papers_rule():
    of = adaptive_beta
    assert [float(of(1.0, k, 0.01)) for k in (0.005, 0.0067, 0.0149, 0.016)] == [0.5, 1.0, 1.0, 2.0]
    assert float(of(1.0, 0.021, 0.01, tolerance=2.0, factor=1.5)) == pytest.approx(1.5)
    proportional = proportional_beta(1.0, 1.0, 0.1, num_steps=100, horizon=1_000)
    assert float(proportional) == pytest.approx(1.02)
    with pytest.raises(ValueError, match="must be above 1"):
        of(1.0, 0.1, 0.1, factor=0.5)


NO_POLICY = ([np.nan, 1.0], [np.inf, 1.0], [-np.inf, -np.inf])


@pytest.mark.parametrize("logits", NO_POLICY)
def test_invalid_logits_give_nan_in_a_trace_and_an_error_outside(logits):
    logits, other = np.asarray([[0.0, 1.0], logits]), np.zeros((2, 2))
    for function, arrays in (
        (kl.categorical_kl, (logits, other)),
        (kl.categorical_kl, (other, logits)),
        (kl.categorical_entropy, (logits,)),
    ):
        found = jax.jit(function)(*arrays)
        assert np.isfinite(found[0])
        assert np.isnan(found[1])
        with pytest.raises(ValueError, match=r"the largest of logits.* must be finite, got .* at \[1\]"):
            function(*arrays)


KEPT = np.asarray([True, False, True])
IDENTITY = np.broadcast_to(np.eye(2), (3, 2, 2))
A, B = RNG.standard_normal((2, 3, 2))
STEPS = -np.abs(RNG.standard_normal(3))
# name: (what is differentiated along the array with padding, that array)
MASKED = {
    "categorical KL": (lambda x, **m: kl.categorical_kl(B, x, **m), A),
    "diagonal KL": (lambda x, **m: kl.diagonal_gaussian_kl(x, x, B, np.ones((3, 2)), **m), np.abs(A)),
    "full KL": (lambda x, **m: kl.gaussian_kl(B, x, A, IDENTITY, **m), (1.0 + A[..., :1] ** 2)[..., None] * IDENTITY),
    "categorical entropy": (kl.categorical_entropy, A),
    "diagonal entropy": (kl.diagonal_gaussian_entropy, np.abs(A)),
    "k3": (lambda x, **m: kl.kl_estimate(x, STEPS, **m), 2.0 * STEPS),
    "loss": (lambda x, **m: kl.kl_loss(x, STEPS, **m), 2.0 * STEPS),
    "weighted loss": (lambda x, **m: kl.kl_loss(x, STEPS, weight=x, **m), 2.0 * STEPS),
    "self-information": (kl.entropy_estimate, 2.0 * STEPS),
}


@pytest.mark.parametrize("name", MASKED)
def test_padding_changes_neither_value_nor_gradient(name):
    function, at = MASKED[name]

    def total(x, **mask):
        found = function(x, **mask)
        return jnp.sum(jnp.where(KEPT, found, 0.0)), found

    clean = jax.grad(total, has_aux=True)(jnp.asarray(at))
    kept = KEPT.reshape((3,) + (1,) * (at.ndim - 1))
    padded = jax.grad(lambda x: total(x, mask=KEPT), has_aux=True)(jnp.asarray(np.where(kept, at, np.nan)))
    np.testing.assert_allclose(padded[0], np.where(kept, clean[0], 0.0), rtol=1e-6)
    np.testing.assert_allclose(padded[1], np.where(KEPT, clean[1], 0.0), rtol=1e-6)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="estimator must be one of"):
        kl.kl_estimate(0.0, 0.0, "k4")
    with pytest.raises(ValueError, match="log_q has shape"):
        kl.kl_estimate(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="logits_q has shape"):
        kl.categorical_kl(LOGITS, REFERENCE[0])
    with pytest.raises(ValueError, match=r"weight has shape \(3,\), where \(3, 3\)"):
        kl.kl_loss(np.zeros((3, 3)), np.zeros((3, 3)), weight=np.ones(3))
    with pytest.raises(ValueError, match=r"covariance_p has shape \(3, 2\), where \(3, 2, 2\)"):
        kl.gaussian_kl(A, A, B, B)
    with pytest.raises(ValueError, match="scale_q must be positive and finite"):
        kl.diagonal_gaussian_kl(A, np.ones((3, 2)), B, -np.ones((3, 2)))
    with pytest.raises(ValueError, match="scale must be positive"):
        kl.diagonal_gaussian_entropy(np.zeros(2))
    with pytest.raises(ValueError, match="mask has shape"):
        kl.entropy_estimate(STEPS, mask=KEPT[:2])
    with pytest.raises(ValueError, match="axis of actions"):
        kl.categorical_entropy(0.0)
