"""Every kernel lowers for GPUs and TPUs, on a machine that has neither."""

import jax
import jax.numpy as jnp
import pytest

import mcengine as mc

NORMAL = mc.Normal(0.0, 1.0)
PAIR = mc.Mixture([mc.Normal([0.0, 1.0], 1.0), mc.Normal([2.0, 1.0], 1.0)], [0.3, 0.7])
KERNELS = {
    "probability": (mc.Probability(lambda x: x, NORMAL, 2.0), mc.Normal(2.0, 1.0), mc.weighting.Raw()),
    "plain": (mc.Expectation(jnp.sin, NORMAL), None, mc.weighting.Raw()),
    "ratio": (mc.Expectation(jnp.sin, NORMAL), mc.StudentT(3.0), mc.weighting.SelfNormalised()),
    "smoothed": (mc.Expectation(jnp.sin, NORMAL), mc.StudentT(3.0), mc.weighting.ParetoSmoothed()),
    "truncated": (mc.Expectation(jnp.sin, NORMAL), mc.StudentT(3.0), mc.weighting.Truncated()),
    "mixture": (mc.Expectation(lambda x: x[0] * x[1], mc.Normal([0.0, 0.0], 1.0)), PAIR, mc.weighting.Raw()),
    "integral": (mc.Integral(lambda x: jnp.exp(-(x**2)), -jnp.inf, jnp.inf), None, mc.weighting.Raw()),
    "gamma": (mc.Expectation(jnp.log1p, mc.Gamma(2.0, 1.0)), mc.Exponential(0.5), mc.weighting.Raw()),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_lower_for_cuda_and_tpu(name):
    problem, proposal, weighting = KERNELS[name]

    def run(key):
        result = mc.estimate(
            key,
            problem,
            proposal,
            budget=mc.Samples(5_000),
            weighting=weighting,
            execution=mc.Execution(block_size=1_024),
        )
        return result.value, result.std_error, result.ess, result.pareto_k, result.status_code

    exported = jax.export.export(jax.jit(run), platforms=("cuda", "tpu"))(jax.random.key(0))
    assert set(exported.platforms) == {"cuda", "tpu"}
