"""Counts from a mixture's shares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

import mcengine as mc
from mcengine.proposals.multi_sample import whole_counts
from tests.statistics import assert_honest

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


class OnlySamples:
    """A user's own standard normal: no transport."""

    def sample(self, key):
        return jax.random.normal(key)

    def log_prob(self, x):
        return mc.Normal(0.0, 1.0).log_prob(x)


TAIL = mc.Probability(lambda x: x, mc.Normal(0.0, 1.0), 2.0)


@pytest.mark.parametrize("heuristic", [None, mc.mis.Power(), mc.mis.Optimal()], ids=repr)
def test_components_need_be_no_transports(key, heuristic):
    proposal = mc.multi_sample([OnlySamples(), mc.Normal(3.0, 1.0)], [1, 2])
    runs = mc.replicate(jax.random.split(key, 400), TAIL, proposal, mis=heuristic, budget=mc.Samples(1_500))
    assert_honest(runs, ndtr(-2.0), widest_ratio=1.3)


@pytest.mark.parametrize("counts", [(3, 1), (1_000, 3_096)])
def test_every_unit_has_its_counts(key, counts):
    # Parts of a unit in blocks of 1,024, or whole units: the shares of the components are exact.
    for lower in (mc.Uniform(-1.0, 0.0), OnlyBelow()):
        proposal = mc.multi_sample([lower, mc.Uniform(0.0, 1.0)], counts)
        problem = mc.Expectation(lambda x: jnp.where(x < 0, 1.0, 0.0), proposal)
        run = mc.estimate(key, problem, proposal, budget=mc.Samples(8_192), execution=mc.Execution(block_size=1_024))
        assert run.num_hits == 8_192 * counts[0] // sum(counts)


class OnlyBelow:
    """Uniform on [-1, 0], and no transport."""

    def sample(self, key):
        return -jax.random.uniform(key)

    def log_prob(self, x):
        return jnp.where((x <= 0) & (x >= -1), 0.0, -jnp.inf)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: mc.multi_sample(THREE), ValueError, "give either counts, or a mixture and total"),
        (lambda: mc.multi_sample(THREE.components, [1, 1, 1], total=3), ValueError, "and not both"),
        (lambda: mc.multi_sample(THREE, total=2), ValueError, "at least 3, one sample for each component, got 2"),
        (lambda: mc.multi_sample(THREE, total=4.5), ValueError, "whole number"),
        (lambda: mc.multi_sample(THREE.components, total=9), TypeError, "give counts, or a mixture"),
        (
            lambda: mc.estimate(
                jax.random.key(0), TAIL, budget=mc.Samples(99), points=mc.points.Allocated((1, 2)), proposal=THREE
            ),
            ValueError,
            "points.Allocated lays out the samples of a proposal with fixed counts",
        ),
        (lambda: jax.jit(counts_of)(THREE.weights), TypeError, "weights are traced"),
    ],
)
def test_mistakes_are_named(make, error, words):
    with pytest.raises(error, match=words):
        make()


def counts_of(weights):
    return mc.multi_sample(mc.mixture(THREE.components, weights), total=9).log_prob(0.0)
