"""Every kernel lowers for GPUs and TPUs, on a machine that has neither."""

import jax
import jax.numpy as jnp
import pytest

import mcengine as mc
from mcengine import rl
from mcengine.rl import ope

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
COVARIANCES = jnp.broadcast_to(jnp.eye(8), (4, 8, 8))


def of_two_actions(p, q):
    """The divergence of policies with logits x and -x at every step."""
    return rl.kl.categorical_kl(*(jnp.stack([x, -x], axis=-1) for x in (p, q)))


OBJECTIVES = {
    "ppo_clip": lambda p: rl.objectives.ppo_clip(p, LOG_P, LOG_P),
    "dual_clip": lambda p: rl.objectives.dual_clip(p, LOG_P, LOG_P),
    "gspo": lambda p: rl.objectives.gspo(p, LOG_P, LOG_P, tokens=True),
    "cispo": lambda p: rl.objectives.cispo(p, LOG_P, LOG_P),
    "policy gradient": lambda p: rl.objectives.policy_gradient(p, LOG_P),
    "ppo_kl": lambda p: rl.objectives.ppo_kl(p, LOG_P, LOG_P, of_two_actions(LOG_P, p), beta=0.1),
    "grpo": lambda p: rl.objectives.grpo(p, LOG_P, LOG_P[:, :1], LOG_P, beta=0.04),
    "dr_grpo": lambda p: rl.objectives.dr_grpo(p, LOG_P, LOG_P[:, :1], length=8.0),
    "gspo of sequences": lambda p: rl.objectives.gspo(p, LOG_P, LOG_P[:, :1]),
    "corrected": lambda p: rl.objectives.ppo_clip(
        p,
        LOG_P,
        LOG_P,
        factor=rl.objectives.importance_correction(p, LOG_P, transform=rl.transforms.DropOutside(0.5, 2.0)),
    ),
    "sequence": lambda p: rl.objectives.surrogate_loss(p, LOG_P, LOG_P[:, :1], level=rl.levels.sequence),
    "prefix": lambda p: rl.objectives.off_policy_gradient(p, LOG_P, LOG_P, level=rl.levels.prefix),
    "kl": lambda p: jnp.mean(rl.kl.kl_loss(p, LOG_P)) + jnp.mean(rl.kl.categorical_kl(p, LOG_P)),
    "gaussian kl": lambda p: jnp.sum(
        rl.kl.diagonal_gaussian_kl(p, LOG_P**2, LOG_P, p**2) + rl.kl.gaussian_kl(p, COVARIANCES, LOG_P, COVARIANCES)
    ),
    "entropy": lambda p: jnp.sum(rl.kl.entropy_estimate(p)) + jnp.sum(rl.kl.categorical_entropy(p)),
    "guided": lambda p: rl.guided_policy_search_loss(p, LOG_P[None], LOG_P),
    "gae": lambda p: jnp.sum(rl.advantages.gae(p, p, p, 0.9, lambda_=0.9).advantages),
    "lambda returns": lambda p: jnp.sum(rl.advantages.lambda_returns(p, p, 0.9, 0.9)),
    "q targets": lambda p: jnp.sum(rl.advantages.q_targets(p, p, p, rl.advantages.retrace_traces(p), discount=0.9)),
    "tree backup": lambda p: jnp.sum(
        rl.advantages.q_targets(p, p, p, rl.advantages.tree_backup_traces(p), discount=0.9)
    ),
    "groups": lambda p: jnp.sum(rl.advantages.leave_one_out_advantages(p) * rl.advantages.group_advantages(p)),
    "doubly robust": lambda p: jnp.sum(ope.doubly_robust_return(p, p, p, p, discount=0.9)),
    "vtrace": lambda p: jnp.sum(rl.advantages.vtrace(p, p, p, p, discount=0.9).advantages),
    "diagnostics": lambda p: rl.update_diagnostics(p, LOG_P).ess,
    "trust region": lambda p: rl.trust_region_step(jnp.sum, lambda x: jnp.sum((x - LOG_P) ** 2), p)[1].kl,
    "temperature": lambda p: rl.solve_temperature(p[0], 0.1),
    "temperature of states": lambda p: rl.solve_temperature(p, 0.1),
    "dual": lambda p: rl.temperature_dual(0.5, p, 0.1),
    "advantage weights": lambda p: jnp.sum(rl.advantage_weights(p, 0.5) * rl.exponentiated_advantages(p, 0.5)),
    "replay": lambda p: jnp.sum(rl.replay_weights(p[0], 0.5, size=100) * rl.replay_weights(p[0], 0.5)),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_and_their_gradients_lower_for_cuda_and_tpu(name):
    function = OBJECTIVES[name]
    # A line search has no gradient, nor has a bisection.
    run = function if name.startswith(("trust region", "temperature")) else jax.value_and_grad(function)
    exported = jax.export.export(jax.jit(run), platforms=("cuda", "tpu"))(LOG_P)
    assert set(exported.platforms) == {"cuda", "tpu"}
