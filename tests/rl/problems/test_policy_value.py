"""Values of policies with weights of trajectories and of decisions, against recursions and references."""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc
from mcengine.distributions import sample_many
from mcengine.rl import (
    LoggedPolicies,
    PerDecisionReturn,
    TabularMDP,
    Trajectory,
    behaviour_trajectories,
    load_tabular_mdp,
    mixed_trajectories,
    per_decision_tabular_mdp,
    per_decision_value,
    policy_value,
    tabular_mdp,
)
from mcengine.rl.problems.mdp import backward_induction
from tests.statistics import assert_honest

REFERENCE = json.loads((Path(__file__).parents[2] / "data" / "tabular_mdp_rmse.json").read_text())
EXACT = REFERENCE["exact_value"]


def weighted_variances(transition, reward, start, discount, noise, behaviour, target, horizon):
    """(value, variance of w G, variance of the per-decision sum) of one trajectory of the behaviour policy.

    Backwards in t, with w the product of ratios from t on, G the return from t on: E[w^2], E[w^2 G], E[w^2 G^2]; and
    for X_t = rho_t (r_t + discount X_{t+1}) the first two moments. All under the behaviour policy.
    """
    squared = np.divide(target**2, behaviour, out=np.zeros_like(target), where=behaviour > 0)  # E_mu[rho^2 ...]
    reward_squared = reward**2 + noise**2
    w0, w1, w2, x1, x2 = (np.zeros(len(start)) for _ in range(5))
    w0 += 1.0
    for _ in range(horizon):
        e0, e1, e2, f1, f2 = (transition @ moment for moment in (w0, w1, w2, x1, x2))
        w0, w1, w2, x1, x2 = (
            np.sum(squared * e0, axis=1),
            np.sum(squared * (reward * e0 + discount * e1), axis=1),
            np.sum(squared * (reward_squared * e0 + 2 * discount * reward * e1 + discount**2 * e2), axis=1),
            np.sum(target * (reward + discount * f1), axis=1),
            np.sum(squared * (reward_squared + 2 * discount * reward * f1 + discount**2 * f2), axis=1),
        )
    value = start @ x1
    return value, start @ w2 - value**2, start @ x2 - value**2


def variances(logged: LoggedPolicies, behaviour):
    mdp = logged.mdp
    tables = (np.asarray(table, float) for table in (mdp.transition, mdp.reward, mdp.start))
    return weighted_variances(
        *tables, float(mdp.discount), float(mdp.reward_noise), behaviour, logged.target, mdp.horizon
    )


def repeats(seed, problem, proposal, num_samples, weighting=mc.weighting.Raw()):
    """400 independent estimates."""
    return _repeats(jax.random.split(jax.random.key(seed), 400), problem, proposal, num_samples, weighting)


@partial(jax.jit, static_argnames="num_samples")
def _repeats(keys, problem, proposal, num_samples, weighting):
    def run(key):
        return mc.estimate(key, problem, proposal, budget=mc.Samples(num_samples), weighting=weighting)

    return jax.vmap(run)(keys)


def test_the_exact_value_by_dynamic_programming():
    for problem in (tabular_mdp(), per_decision_tabular_mdp()):
        assert float(problem.exact) == pytest.approx(EXACT, abs=1e-13)
    assert float(policy_value(*_mdp_and_target()).exact) == pytest.approx(EXACT, rel=1e-6)


def _mdp_and_target():
    logged = load_tabular_mdp()
    return logged.mdp, logged.target


def test_the_exact_variances_agree_with_the_reference_errors():
    logged = load_tabular_mdp()
    value, whole, per_decision = variances(logged, logged.behaviour)
    assert value == pytest.approx(EXACT, rel=1e-6)
    assert np.sqrt(whole / 500) == pytest.approx(REFERENCE["rmse_500_trajectories"]["IS"], rel=0.05)
    assert np.sqrt(per_decision / 500) == pytest.approx(REFERENCE["rmse_500_trajectories"]["PDIS"], rel=0.05)


def second_moment_of_whole_weights():
    """E_mu[(w G)^2] = E_pi[w G^2], which the new policy's own trajectories estimate well: w itself is heavy-tailed."""
    problem = tabular_mdp()
    behaviour = behaviour_trajectories(problem)

    def integrand(trajectory):
        log_w = mc.weights.log_ratio(problem.target.log_prob(trajectory), behaviour.log_prob(trajectory))
        return mc.weights.from_log(log_w) * problem.integrand(trajectory) ** 2

    return mc.Expectation(integrand, problem.target), None


def second_moment_of_per_decision_weights():
    """E_mu[X^2] for the per-decision return X, by the new policy's trajectories for the same reason."""
    problem = per_decision_tabular_mdp()
    return mc.Expectation(lambda trajectory: problem.integrand(trajectory) ** 2, problem.target), tabular_mdp().target


@pytest.mark.parametrize(
    ("name", "second_moment"),
    [("IS", second_moment_of_whole_weights), ("PDIS", second_moment_of_per_decision_weights)],
)
def test_mean_square_errors_of_500_trajectories(name, second_moment):
    # The error over 400 repeats would not do: it varies by a factor of two from seed to seed.
    logged = load_tabular_mdp()
    variance = dict(zip(("IS", "PDIS"), variances(logged, logged.behaviour)[1:], strict=True))[name]
    estimate = mc.estimate(jax.random.key(11), *second_moment(), budget=mc.Samples(2**18))
    found = estimate.value - EXACT**2
    assert abs(found - variance) < 4 * estimate.std_error < 0.05 * variance
    assert np.sqrt(found / 500) == pytest.approx(REFERENCE["rmse_500_trajectories"][name], rel=0.05)


def rmse_of_500_trajectories(problem, proposal, weighting, batches):
    """Root mean square error over `batches` times 400 repeats."""
    values = [repeats(seed, problem, proposal, 500, weighting).value for seed in range(11, 11 + batches)]
    return np.sqrt(np.mean((np.concatenate(values) - EXACT) ** 2))


def test_error_of_self_normalised_weights():
    problem = tabular_mdp()
    rmse = rmse_of_500_trajectories(problem, behaviour_trajectories(problem), mc.weighting.SelfNormalised(), 2)
    assert rmse == pytest.approx(REFERENCE["rmse_500_trajectories"]["WIS"], rel=0.15)


@pytest.mark.battery
@pytest.mark.parametrize("name", ["IS", "PDIS"])
def test_errors_over_many_repeats_of_500_trajectories(name):
    problem = per_decision_tabular_mdp() if name == "PDIS" else tabular_mdp()
    proposal = None if name == "PDIS" else behaviour_trajectories(problem)
    rmse = rmse_of_500_trajectories(problem, proposal, mc.weighting.Raw(), 50)
    assert rmse == pytest.approx(REFERENCE["rmse_500_trajectories"][name], rel=0.15)


@pytest.mark.parametrize(
    "method",
    ["behaviour", "per_decision", *(pytest.param(m, marks=pytest.mark.battery) for m in ("plain", "mixed"))],
)
def test_estimates_are_unbiased_and_their_intervals_cover(method):
    # A shorter horizon, where the weights of whole trajectories are not yet heavy-tailed.
    problem = per_decision_tabular_mdp(horizon=4) if method == "per_decision" else tabular_mdp(horizon=4)
    proposals = {"behaviour": behaviour_trajectories, "mixed": mixed_trajectories}
    proposal = proposals[method](problem) if method in proposals else None
    estimates = repeats(12, problem, proposal, 1024)
    assert_honest(estimates, float(problem.exact), widest_ratio=1.2)
    assert np.std(estimates.value) < 0.2


def test_trajectory_weights_have_mean_one():
    problem = tabular_mdp()
    constant = mc.Expectation(lambda trajectory: jnp.ones_like(trajectory.rewards[0]), problem.target, exact=1.0)
    for proposal in (behaviour_trajectories(problem), mixed_trajectories(problem, 0.3)):
        estimate = mc.estimate(jax.random.key(16), constant, proposal, budget=mc.Samples(50_000))
        assert abs(estimate.value - 1) < 4 * estimate.std_error < 0.2


def test_per_decision_return_of_one_trajectory_by_hand():
    target, behaviour = np.asarray([[0.9, 0.1]]), np.asarray([[0.6, 0.4]])
    trajectory = Trajectory(jnp.zeros(3, int), jnp.asarray([0, 1, 0]), jnp.asarray([1.0, 10.0, 100.0]))
    by_hand = 1.5 * 1 + 0.5 * (1.5 * 0.25) * 10 + 0.25 * (1.5 * 0.25 * 1.5) * 100
    assert PerDecisionReturn(0.5, target, behaviour)(trajectory) == pytest.approx(by_hand, rel=1e-6)


def test_a_target_action_that_the_data_never_shows_raises():
    mdp = TabularMDP(np.ones((1, 2, 1)), np.ones((1, 2)), [1.0], discount=1.0, reward_noise=1.0, horizon=2)
    target, behaviour = [[0.5, 0.5]], [[1.0, 0.0]]
    with pytest.raises(ValueError, match="never takes action 1 in state 0"):
        per_decision_value(mdp, target, behaviour)
    with pytest.raises(ValueError, match="never takes action 1 in state 0"):
        behaviour_trajectories(policy_value(mdp, target), behaviour)
    with pytest.raises(ValueError, match=r"target_policy must have shape \(1, 2\)"):
        per_decision_value(mdp, [[0.5, 0.25, 0.25]], behaviour)


def test_new_numbers_compile_nothing():
    traces = []

    @jax.jit
    def value(problem, key):
        traces.append(0)
        return problem.integrand(problem.target.sample(key))

    for discount, noise in ((0.9, 0.5), (0.5, 0.1), (1.0, 2)):
        problem = tabular_mdp(discount=discount, reward_noise=noise)
        value(policy_value(problem.target.mdp, problem.target.policy), jax.random.key(0))
    assert len(traces) == 1


def test_discounts_can_be_swept_by_vmap():
    def value(discount):
        return mc.estimate(jax.random.key(17), tabular_mdp(discount=discount), budget=mc.Samples(2000)).value

    discounts = jnp.asarray([0.0, 0.5, 0.98])
    swept = jax.jit(jax.vmap(value))(discounts)
    np.testing.assert_allclose(swept, [value(discount) for discount in (0.0, 0.5, 0.98)], rtol=1e-5, atol=1e-5)


def test_states_and_rewards_do_not_repeat_between_trajectories():
    drawn = jax.jit(lambda key: sample_many(tabular_mdp().target, key, 1000))(jax.random.key(18))
    assert len(np.unique(np.asarray(drawn.rewards), axis=0)) == 1000


def test_the_score_form_gives_the_gradient_of_the_value():
    mdp = load_tabular_mdp(horizon=3).mdp
    logits = np.asarray([[0.3, -0.3], [0.0, 0.5], [0.1, 0.2], [-0.4, 0.4], [0.0, 0.0]])

    def estimated(key, logits):
        problem = policy_value(mdp, jax.nn.softmax(logits))
        return mc.estimate(key, problem, jax.lax.stop_gradient(problem.target), budget=mc.Samples(4096)).value

    keys = jax.random.split(jax.random.key(19), 100)
    gradients = jax.jit(jax.vmap(jax.grad(estimated, argnums=1), in_axes=(0, None)))(keys, jnp.asarray(logits, float))

    def exact(logits):
        policy = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        tables = (mdp.transition, mdp.reward, mdp.start, policy)
        return backward_induction(*tables, discount=mdp.discount, horizon=mdp.horizon)

    nudges = 1e-5 * np.eye(logits.size).reshape(-1, *logits.shape)
    differences = [(exact(logits + nudge) - exact(logits - nudge)) / 2e-5 for nudge in nudges]
    gradients = np.asarray(gradients, float).reshape(100, -1)
    z = (gradients.mean(axis=0) - differences) / (gradients.std(axis=0, ddof=1) / 10)
    assert np.all(np.abs(z) < 4)
    assert np.max(np.abs(differences)) > 10 * np.max(gradients.std(axis=0)) / 10
