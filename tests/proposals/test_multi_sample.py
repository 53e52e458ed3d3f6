"""Counts from a mixture's shares."""

import jax
import numpy as np
import pytest

import mcengine as mc
from mcengine.proposals.multi_sample import whole_counts

THREE = mc.mixture([mc.Normal(-1.0, 1.0), mc.Normal(0.0, 2.0), mc.Normal(2.0, 1.0)], [0.62, 0.35, 0.03])


@pytest.mark.parametrize(
    ("total", "counts"), [(3, (1, 1, 1)), (4, (2, 1, 1)), (10, (6, 3, 1)), (20, (12, 7, 1)), (100, (62, 35, 3))]
)
def test_counts_are_the_nearest_whole_ones(total, counts):
    assert mc.multi_sample(THREE, total=total).counts == counts


def test_counts_sum_to_the_total_and_none_is_far_off():
    rng = np.random.default_rng(0)
    for _ in range(200):
        num = int(rng.integers(1, 9))
        shares, total = rng.dirichlet(np.ones(num)), int(rng.integers(num, 60))
        counts = np.asarray(whole_counts(shares, total))
        assert counts.sum() == total
        assert counts.min() >= 1
        # More than one off only for those that gave way to the least count of 1.
        assert np.all(counts < np.maximum(total * shares, 1) + 1)


def test_a_defensive_mixture_has_counts_too():
    proposal = mc.defensive(mc.Normal(0.0, 1.0), mc.Normal(3.0, 1.0), 0.25)
    assert mc.multi_sample(proposal, total=8).counts == (2, 6)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: mc.multi_sample(THREE), ValueError, "give either counts, or a mixture and total"),
        (lambda: mc.multi_sample(THREE.components, [1, 1, 1], total=3), ValueError, "and not both"),
        (lambda: mc.multi_sample(THREE, total=2), ValueError, "at least 3, one sample for each component, got 2"),
        (lambda: mc.multi_sample(THREE, total=4.5), ValueError, "whole number"),
        (lambda: mc.multi_sample(THREE.components, total=9), TypeError, "give counts, or a mixture"),
        (lambda: jax.jit(counts_of)(THREE.weights), TypeError, "weights are traced"),
    ],
)
def test_mistakes_are_named(make, error, words):
    with pytest.raises(error, match=words):
        make()


def counts_of(weights):
    return mc.multi_sample(mc.mixture(THREE.components, weights), total=9).log_prob(0.0)
