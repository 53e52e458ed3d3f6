"""Every kernel lowers for GPUs and TPUs, on a machine that has neither."""

import jax
import jax.numpy as jnp
import pytest

import mcengine as mc
from mcengine import rl

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


LOG_P = jnp.full((4, 8), -1.0)
OBJECTIVES = {
    "ppo_clip": lambda p: rl.objectives.ppo_clip(p, LOG_P, LOG_P),
    "dual_clip": lambda p: rl.objectives.dual_clip(p, LOG_P, LOG_P),
    "gspo": lambda p: rl.objectives.gspo(p, LOG_P, LOG_P, tokens=True),
    "cispo": lambda p: rl.objectives.cispo(p, LOG_P, LOG_P),
    "prefix": lambda p: rl.objectives.off_policy_gradient(p, LOG_P, LOG_P, level=rl.levels.prefix),
    "kl": lambda p: jnp.mean(rl.kl.kl_loss(p, LOG_P)) + jnp.mean(rl.kl.categorical_kl(p, LOG_P)),
    "guided": lambda p: rl.guided_policy_search_loss(p, LOG_P[None], LOG_P),
    "vtrace": lambda p: jnp.sum(rl.advantages.vtrace(p, p, p, p, 0.9).advantages),
    "diagnostics": lambda p: rl.update_diagnostics(p, LOG_P).ess,
    "trust region": lambda p: rl.trust_region_step(jnp.sum, lambda x: jnp.sum((x - LOG_P) ** 2), p)[1].kl,
    "temperature": lambda p: rl.solve_temperature(p[0], 0.1),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_and_their_gradients_lower_for_cuda_and_tpu(name):
    function = OBJECTIVES[name]
    # A line search has no gradient, nor has a bisection.
    run = function if name in ("trust region", "temperature") else jax.value_and_grad(function)
    exported = jax.export.export(jax.jit(run), platforms=("cuda", "tpu"))(LOG_P)
    assert set(exported.platforms) == {"cuda", "tpu"}
