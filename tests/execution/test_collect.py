"""The one function that draws a block serves all its readers with the same samples."""

import jax
import numpy as np

import mcengine as mc
from mcengine.engine.options import Options
from mcengine.engine.plan import plan_run
from mcengine.execution.batch_means import BatchMeans
from mcengine.execution.collect import collect_losses, collect_samples

PROBLEM, PROPOSAL = mc.Expectation(lambda x: x * x, mc.Normal(0.0, 1.0)), mc.Normal(0.0, 1.5)


def test_losses_samples_and_batch_means_are_of_the_same_samples():
    run = plan_run(PROBLEM, PROPOSAL, Options(mc.Samples(3_000), execution=mc.Execution(block_size=1_024)))
    key = jax.random.key(3)
    log_w, losses = collect_losses(run.task, key, 3_000, run.plan)
    x, log_weights, values = collect_samples(run.task, key, 3_000, run.plan)
    np.testing.assert_array_equal(losses, np.asarray(values, np.float64))
    np.testing.assert_array_equal(log_w, np.asarray(log_weights, np.float64))
    np.testing.assert_allclose(losses, np.asarray(x, np.float64) ** 2, rtol=1e-6)
    largest = np.asarray([float(np.max(np.exp(log_w) * losses)) * 1.01])
    means, sizes = BatchMeans(run.task, key, run.plan, largest).until(2_048)
    total = np.sum(means[:, 0] * sizes) * largest[0]
    assert np.isclose(total, np.sum((np.exp(log_w) * losses)[: sizes.sum()]), rtol=1e-5)
