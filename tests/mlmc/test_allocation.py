"""The arithmetic of levels against its definitions."""

import numpy as np
import pytest

from mcengine.mlmc import allocation

VARIANCES, COSTS = np.asarray([100.0, 3.0, 0.7, 0.02]), np.asarray([1.0, 3.0, 5.0, 30.0])


def test_counts_reach_the_variance_at_the_least_cost():
    counts = allocation.counts_for_variance(VARIANCES, COSTS, 0.01)
    assert np.sum(VARIANCES / counts) == pytest.approx(0.01)
    rng = np.random.default_rng(1)
    for factors in np.exp(0.3 * rng.standard_normal((200, 4))):
        other = counts * factors
        other *= np.sum(VARIANCES / other) / 0.01  # of the same variance
        assert np.sum(other * COSTS) >= np.sum(counts * COSTS) * (1 - 1e-12)


def test_counts_spend_the_cost_and_are_at_least_the_minimum():
    counts = allocation.counts_for_cost(VARIANCES, COSTS, 10_000.0, 20)
    assert np.sum(counts * COSTS) == pytest.approx(10_000.0)
    assert counts.min() >= 20
    free = counts - 20
    np.testing.assert_allclose(free / free[0], np.sqrt(VARIANCES / COSTS) / 10.0)
    flat = allocation.counts_for_cost(np.zeros(4), COSTS, 10_000.0, 20)
    assert np.sum(flat * COSTS) == pytest.approx(10_000.0)


@pytest.mark.parametrize("alpha", [0.7, 1.0, 2.0])
def test_rate_and_bias_of_exact_powers(alpha):
    means = -3.0 * 2.0 ** (-alpha * np.arange(6))
    means[0] = 10.0  # level 0 is no correction
    assert allocation.rate(np.abs(means)) == pytest.approx(alpha)
    # The sum of the corrections of all finer levels.
    left = 3.0 * sum(2.0 ** (-alpha * level) for level in range(6, 200))
    assert allocation.bias(means, np.zeros(6), alpha) == pytest.approx(left)


def test_noise_is_not_bias_and_one_small_correction_does_not_hide_it():
    means, errors = np.asarray([5.0, 0.4, 0.2, 0.1, 0.0]), np.asarray([0.0, 0.0, 0.0, 0.0, 0.01])
    assert allocation.bias(means, np.zeros(5), 1.0) == pytest.approx(0.05)
    np.testing.assert_allclose(
        allocation.denoised(np.asarray([5.0, -3.0, 1.0]), np.asarray([4.0, 4.0, 0.0])), [3, 0, 1]
    )
    assert np.isfinite(allocation.bias(means, errors, 1.0))
    assert allocation.weak_rate(np.asarray([5.0, 0.1]), np.zeros(2), None) == 0.5
    assert allocation.weak_rate(means, errors, 1.5) == 1.5


def test_a_variance_that_a_pilot_missed_is_raised():
    floored = allocation.floored_variances(np.asarray([9.0, 1.0, 0.25, 0.0, np.nan]))
    assert np.all(floored[3:] > 0)
    assert floored[3] == pytest.approx(0.5 * 0.25 / 4.0)
    np.testing.assert_array_equal(floored[:3], [9.0, 1.0, 0.25])


def test_degrees_of_freedom_of_one_level_are_those_of_its_variance():
    assert allocation.welch_dof(np.asarray([2.0, 0.0]), np.asarray([17.0, 5.0])) == 16.0
    equal = allocation.welch_dof(np.asarray([1.0, 1.0]), np.asarray([11.0, 11.0]))
    assert equal == pytest.approx(20.0)
    assert allocation.welch_dof(np.zeros(2), np.ones(2)) == np.inf
