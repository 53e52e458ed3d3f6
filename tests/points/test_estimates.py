"""Layouts through `estimate`: error bars from units, the same points however the run is divided into blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

import mcengine as mc
from tests.statistics import assert_honest

A, U = np.asarray([1.5, 2.5, 0.7]), np.asarray([0.3, 0.6, 0.5])
EXACT = np.prod(np.sqrt(np.pi) / (2 * A) * (erf(A * (1 - U)) + erf(A * U)))


def peak(x):
    return jnp.exp(-jnp.sum(jnp.asarray(A, x.dtype) ** 2 * (x - jnp.asarray(U, x.dtype)) ** 2))


PEAK = mc.Integral(peak, np.zeros(3), np.ones(3))


# The battery runs every layout on every problem.
@pytest.mark.parametrize("points", [mc.points.Antithetic(), mc.points.Stratified(), mc.points.Sobol()], ids=repr)
def test_intervals_from_few_units_are_honest(key, points):
    first, second = jax.random.split(key)
    runs = mc.replicate(jax.random.split(first, 400), PEAK, points=points, budget=mc.Samples(1_024))
    assert_honest(runs, EXACT, widest_ratio=1.25)
    if not isinstance(points, mc.points.Antithetic):  # antithetic pairs lose on a nearly symmetric peak
        plain = mc.replicate(jax.random.split(second, 4), PEAK, budget=mc.Samples(1_024))
        assert np.median(runs.std_error) < np.median(plain.std_error)


def test_antithetic_pairs_gain_on_a_monotone_integrand(key):
    first, second = jax.random.split(key)
    problem = mc.Expectation(lambda x: jnp.exp(0.5 * x), mc.Normal(0.0, 1.0))
    pairs = mc.estimate(first, problem, points=mc.points.Antithetic(), budget=mc.Samples(20_000))
    plain = mc.estimate(second, problem, budget=mc.Samples(20_000))
    # Correlation of exp(z/2) and exp(-z/2): (1 - e^(1/4)) / (e^(1/2) - e^(1/4)).
    r = (1 - np.exp(0.25)) / (np.exp(0.5) - np.exp(0.25))
    assert (pairs.std_error / plain.std_error) ** 2 == pytest.approx(1 + r, rel=0.1)


@pytest.mark.parametrize(
    "points",
    [
        mc.points.Stratified(2**12),
        mc.points.Sobol(2**12),
        pytest.param(mc.points.Lattice(2**12), marks=pytest.mark.battery),
    ],
    ids=repr,
)
def test_a_unit_larger_than_a_block_is_the_same_unit(points):
    def run(block_size):
        execution = mc.Execution(block_size=block_size)
        return mc.estimate(jax.random.key(5), PEAK, points=points, budget=mc.Samples(2**15), execution=execution)

    whole, parts = run(2**13), run(2**10)
    assert whole.num_units == parts.num_units == 8
    assert parts.num_samples == 2**15
    if isinstance(points, mc.points.Stratified):  # its jitter is drawn by the chunk
        assert parts.value == pytest.approx(whole.value, abs=6 * whole.std_error)
        assert parts.std_error == pytest.approx(whole.std_error, rel=1.5)
    else:
        assert parts.value == pytest.approx(whole.value, rel=1e-6)
        assert parts.std_error == pytest.approx(whole.std_error, rel=1e-2)


def test_units_keep_their_keys_whatever_the_blocks():
    def run(block_size):
        execution = mc.Execution(block_size=block_size, blocks_per_call=3)
        return mc.estimate(
            jax.random.key(6), PEAK, points=mc.points.Sobol(64), budget=mc.Samples(2**13), execution=execution
        )

    small, large = run(64), run(2**12)
    assert small.value == pytest.approx(large.value, rel=1e-6)
    assert small.std_error == pytest.approx(large.std_error, rel=1e-3)


def test_a_budget_is_rounded_down_to_whole_units(key):
    result = mc.estimate(key, PEAK, points=mc.points.Sobol(256), budget=mc.Samples(1_000))
    assert (result.num_samples, result.num_units) == (768, 3)
    assert result.status == mc.Status.FEW_UNITS
    with pytest.raises(ValueError, match="less than one unit of 2048"):
        mc.estimate(key, PEAK, points=mc.points.Sobol(2_048), budget=mc.Samples(1_000))


def test_a_distribution_that_is_no_transport_is_refused(key):
    class Untransported:
        def sample(self, key):
            return jax.random.normal(key)

        def log_prob(self, x):
            return mc.Normal(0.0, 1.0).log_prob(x)

    problem = mc.Expectation(lambda x: x, Untransported())
    with pytest.raises(TypeError, match=r"points.Sobol needs a transport.*Untransported is not one.*Normal"):
        mc.estimate(key, problem, points=mc.points.Sobol(), budget=mc.Samples(1_000))


def test_sobol_under_importance_sampling_of_a_tail(key):
    tail = mc.Probability(lambda x: jnp.sum(x), mc.Normal(np.zeros(4), 1.0), 10.0)
    proposal = mc.Normal(np.full(4, 2.5), 1.0)
    exact = 2.8665157e-7
    first, second = jax.random.split(key)
    rqmc = mc.replicate(
        jax.random.split(first, 100), tail, proposal, points=mc.points.Sobol(), budget=mc.Samples(2**12)
    )
    assert abs(rqmc.value.mean() - exact) < 4 * rqmc.value.std() / 10
    plain = mc.replicate(jax.random.split(second, 100), tail, proposal, budget=mc.Samples(2**12))
    # The indicator of a diagonal half space leaves little to gain; the variance must not grow.
    assert np.var(rqmc.value) < 1.5 * np.var(plain.value)
