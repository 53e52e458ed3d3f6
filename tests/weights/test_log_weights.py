"""Functions of log-weights: both edges of the support, gradients, smoothing against ArviZ."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcengine import weights


def test_log_ratio_where_a_density_is_0():
    log_p = jnp.asarray([-1.0, -jnp.inf, -1.0, -jnp.inf])
    log_q = jnp.asarray([-2.0, -2.0, -jnp.inf, -jnp.inf])
    np.testing.assert_array_equal(weights.log_ratio(log_p, log_q), [1.0, -np.inf, np.inf, -np.inf])


def test_log_ratio_has_finite_gradients_where_p_is_0():
    gradient = jax.grad(lambda q: jnp.sum(weights.from_log(weights.log_ratio(jnp.asarray([-jnp.inf, 0.5]), q))))
    np.testing.assert_allclose(gradient(jnp.asarray([-jnp.inf, 0.0])), [0.0, -np.exp(0.5)], rtol=1e-6)


def test_log_ratio_of_drawn_has_finite_gradients_where_p_is_0():
    def total(log_p):
        return jnp.sum(weights.from_log(weights.log_ratio_of_drawn(log_p, jnp.asarray([-1.0, -1.0]))))

    value, gradient = jax.value_and_grad(total)(jnp.asarray([-jnp.inf, -0.5]))
    assert value == pytest.approx(np.exp(0.5))
    np.testing.assert_allclose(gradient, [0.0, np.exp(0.5)], rtol=1e-6)


def test_log_ratio_of_drawn_is_not_finite_where_q_is_0():
    impossible = weights.log_ratio_of_drawn(jnp.asarray([-jnp.inf, -1.0]), jnp.full(2, -jnp.inf))
    np.testing.assert_array_equal(impossible, [np.nan, np.inf])


def test_normalised_weights_sum_to_one_from_1e_minus_300_to_1e300():
    for shift in (-690.0, 0.0, 690.0):
        log_w = weights.normalised(jnp.asarray([[0.0, 1.0, -3.0]]) + shift)
        np.testing.assert_allclose(jnp.sum(weights.from_log(log_w), axis=-1), [1.0], rtol=1e-4)


def test_normalised_weights_that_are_all_0_stay_0():
    np.testing.assert_array_equal(weights.normalised(jnp.full((3,), -jnp.inf)), np.full(3, -np.inf))


def test_log_mean_of_ratios_of_densities_is_zero_in_expectation(key):
    # p = N(0.3, 1), q = N(0, 1): log w = 0.3 x - 0.045.
    x = jax.random.normal(key, (100, 10_000))
    means = np.exp(weights.log_mean(0.3 * x - 0.045))
    assert abs(means.mean() - 1.0) < 4 * means.std() / 10.0


def test_truncated_and_clipped_act_on_the_weights_themselves():
    w = np.asarray([0.0, 0.01, 0.5, 3.0, 100.0])
    with np.errstate(divide="ignore"):
        log_w = jnp.asarray(np.log(w), jnp.float32)
    np.testing.assert_allclose(weights.from_log(weights.truncated(log_w, np.log(2.0))), np.minimum(w, 2.0), rtol=1e-6)
    clipped = weights.clipped(log_w, np.log(0.1), np.log(2.0))
    np.testing.assert_allclose(weights.from_log(clipped), np.clip(w, 0.1, 2.0), rtol=1e-6)


def test_effective_sample_size_and_largest_share_by_hand():
    log_w = jnp.log(jnp.asarray([1.0, 1.0, 2.0])) + 500.0
    np.testing.assert_allclose(weights.effective_sample_size(log_w), 16 / 6, rtol=1e-4)
    np.testing.assert_allclose(weights.largest_share(log_w), 0.5, rtol=1e-4)


@pytest.mark.parametrize(("count", "spread"), [(100, 1.0), (1_000, 0.3), (20_000, 1.5)])
def test_pareto_smoothing_agrees_with_arviz(count, spread):
    base = pytest.importorskip("arviz_stats.base", reason="the oracle for Pareto smoothing is not installed")
    raw = spread * np.random.default_rng(count).standard_normal(count)
    with jax.enable_x64(True):
        smoothed, k = weights.pareto_smoothed(jnp.asarray(raw, jnp.float64))
    # arviz takes log-likelihoods, the negatives of log-weights, and normalises the result.
    theirs, their_k = base.array_stats.psislw(-raw)
    assert k == pytest.approx(float(their_k), abs=1e-6)
    shift = np.asarray(smoothed) - theirs
    np.testing.assert_allclose(shift, np.full(count, shift[0]), atol=1e-6)


def test_pareto_smoothing_changes_only_the_tail_and_keeps_its_order(key):
    log_w = 2.0 * jax.random.normal(key, (5_000,))
    smoothed, k = weights.pareto_smoothed(log_w)
    changed = np.asarray(smoothed != log_w)
    assert 0 < changed.sum() <= int(3 * np.sqrt(5_000))
    assert np.asarray(log_w)[changed].min() >= np.sort(log_w)[-int(3 * np.sqrt(5_000))]
    np.testing.assert_array_equal(np.argsort(smoothed, stable=True), np.argsort(log_w, stable=True))
    assert float(jnp.max(smoothed)) <= float(jnp.max(log_w))
    assert 0.3 < float(k) < 1.2


def test_discrete_weights_have_no_tail_index():
    log_w = jnp.log(jnp.where(jnp.arange(4_000) % 5 == 0, 0.05, 1.2375))
    smoothed, k = weights.pareto_smoothed(log_w)
    assert np.isnan(k)
    np.testing.assert_array_equal(smoothed, log_w)


def test_pareto_smoothing_acts_along_the_last_axis_and_takes_numpy_and_lists():
    rows = np.random.default_rng(4).standard_normal((2, 3, 400)).astype(np.float32) * 1.5
    rows[1, 2, 300:] = -np.inf
    counts = np.full((2, 3), 400)
    counts[1, 2] = 300
    smooth = jax.jit(weights.pareto_smoothed)
    smoothed, k = smooth(rows, counts)
    assert smoothed.shape == rows.shape
    assert k.shape == (2, 3)
    for index in np.ndindex(2, 3):
        alone, k_alone = smooth(rows[index], counts[index])
        np.testing.assert_allclose(smoothed[index], alone, rtol=1e-5)
        np.testing.assert_allclose(k[index], k_alone, rtol=1e-4, atol=1e-5)
        assert np.any(smoothed[index] != rows[index])
    for row in (rows[0, 0], rows[0, 0].tolist()):
        np.testing.assert_allclose(weights.k_hat(row), k[0, 0], rtol=1e-4, atol=1e-5)


def test_pareto_smoothing_of_integers_and_of_too_few_weights():
    smoothed, k = weights.pareto_smoothed([[0, 1, 2], [2, 1, 0]])
    np.testing.assert_array_equal(smoothed, [[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])
    assert np.all(np.isnan(k))
    assert k.shape == (2,)
    with pytest.raises(ValueError, match="must have an axis of samples"):
        weights.pareto_smoothed(1.0)
