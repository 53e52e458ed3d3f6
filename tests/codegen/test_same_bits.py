"""The same bits however the work is cut up: blocks to a call, threads, keys at a time, looks, points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc
from mcengine.execution import replicates

TAIL = mc.Probability(lambda x: x, mc.Normal(0.0, 1.0), 3.0)
SHIFTED = mc.Normal(3.0, 1.0)
# Narrow in three dimensions of [0, 1].
CENTRE = np.asarray([0.3, 0.6, 0.5])
PEAK = mc.Integral(lambda x: jnp.exp(-2.0 * jnp.sum((x - jnp.asarray(CENTRE, x.dtype)) ** 2)), np.zeros(3), np.ones(3))
# The others share the code that this is about.
SLOW_POINTS = [mc.points.Antithetic(), mc.points.Stratified(), mc.points.Lattice(), mc.points.Lattice(tent=True)]
POINTS = [mc.points.Antithetic(words=2), mc.points.LatinHypercube(), mc.points.Sobol()]


def trees_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_any_grouping_of_blocks(key):
    def run(blocks_per_call, threads=2):
        execution = mc.Execution(block_size=1_024, blocks_per_call=blocks_per_call, threads=threads)
        return mc.estimate(key, TAIL, SHIFTED, budget=mc.Samples(300_000), execution=execution)

    reference = run(1)
    for grouping in (3, 32, 1_000):
        trees_equal(run(grouping).summary, reference.summary)
    trees_equal(run(32, threads=1).summary, reference.summary)
    trees_equal(run(3, threads=7).summary, reference.summary)


def test_a_time_budget_and_its_count(key):
    execution = mc.Execution(block_size=2**12)
    timed = mc.estimate(key, TAIL, SHIFTED, budget=mc.Seconds(0.3), execution=execution)
    assert timed.num_samples % 2**12 == 0
    counted = mc.estimate(key, TAIL, SHIFTED, budget=mc.Samples(int(timed.num_samples)), execution=execution)
    trees_equal(timed.summary, counted.summary)


def test_any_number_of_threads_under_a_tolerance():
    def run(threads, blocks_per_call):
        execution = mc.Execution(threads=threads, blocks_per_call=blocks_per_call)
        return mc.estimate(jax.random.key(4), TAIL, SHIFTED, budget=mc.Tolerance(rtol=0.02), execution=execution)

    trees_equal(run(1, 32).summary, run(2, 3).summary)


def test_rows_merged_a_few_keys_at_a_time(key, monkeypatch):
    keys = jax.random.split(key, 7)
    problem, wide = mc.Expectation(lambda x: x * x, mc.Normal(1.0, 1.0)), mc.Normal(1.0, 2.0)
    whole = mc.replicate(keys, problem, wide, budget=mc.Samples(2**14))
    monkeypatch.setattr(replicates, "MOST_SUMMARIES", 9)  # two keys at a time, the last alone
    parts = mc.replicate(keys, problem, wide, budget=mc.Samples(2**14))
    trees_equal(whole.summary, parts.summary)


@pytest.mark.parametrize(
    "points", [*POINTS, *(pytest.param(points, marks=pytest.mark.battery) for points in SLOW_POINTS)], ids=repr
)
def test_any_points_and_nearly_the_same_in_a_trace(points):
    def run(key, **options):
        execution = mc.Execution(block_size=512, **options)
        return mc.estimate(key, PEAK, points=points, budget=mc.Samples(5_000), execution=execution)

    reference = run(jax.random.key(7))
    trees_equal(reference.summary, run(jax.random.key(7), blocks_per_call=2, threads=1).summary)
    traced = jax.jit(run)(jax.random.key(7))
    assert float(traced.value) == pytest.approx(reference.value, rel=1e-6)
    assert float(traced.std_error) == pytest.approx(reference.std_error, rel=1e-3)
