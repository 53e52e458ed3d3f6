"""Every estimator against its formula written out in plain NumPy, its limits, and error bars against the jackknife."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc
from experiments.ope.mdp import exact_model
from mcengine.rl import ope
from mcengine.rl.ope.comparison import mean_weight
from mcengine.rl.ope.doubly_robust import value_against_reference
from mcengine.rl.ope.magic import simplex_minimum
from tests.rl.ope.cases import DISCOUNT, log_of, ratios_of

N, HORIZON = 200, 5


@pytest.fixture(scope="module")
def log():
    return log_of(HORIZON, N, seed=1)


@pytest.fixture(scope="module")
def model(log):
    return exact_model(log, shift=0.3)


@pytest.fixture(scope="module")
def bandit():
    rng = np.random.default_rng(5)
    contexts, probabilities = rng.normal(size=(N, 3)), rng.dirichlet(np.ones(4), N)
    behaviour = rng.dirichlet(np.ones(4), N)
    actions = np.array([rng.choice(4, p=row) for row in behaviour])
    rewards = contexts[:, 0] + actions * contexts[:, 1] + rng.normal(size=N)
    log_behaviour = np.log(behaviour[np.arange(N), actions])
    return ope.BanditLog(actions, rewards, log_behaviour, target_probabilities=probabilities, contexts=contexts)


def step_by_step(log, q, v, self_normalised):
    """DR and WDR as sums over trajectories and steps; PDIS and WPDIS where q and v are 0."""
    n, horizon = log.rewards.shape
    total = np.mean(v[:, 0])
    w = np.ones(n)
    for t in range(horizon):
        w = w * ratios_of(log)[:, t]
        for i in range(n):
            share = w[i] / w.sum() if self_normalised else w[i] / n
            after = v[i, t + 1] if t + 1 < horizon else 0.0
            total += DISCOUNT**t * share * (log.rewards[i, t] + DISCOUNT * after - q[i, t])
    return total


def zeros(log):
    return np.zeros(log.rewards.shape)


def test_whole_trajectories(log):
    w, returns = np.prod(ratios_of(log), axis=1), log.rewards @ DISCOUNT ** np.arange(HORIZON)
    found = ope.importance_sampling(log)
    assert found.value == pytest.approx(np.mean(w * returns), rel=1e-12)
    assert found.std_error == pytest.approx(np.std(w * returns, ddof=1) / np.sqrt(N), rel=1e-9)
    assert ope.weighted_importance_sampling(log).value == pytest.approx(np.sum(w * returns) / np.sum(w), rel=1e-12)
    truncated = ope.importance_sampling(log, mc.weighting.Truncated(2.0))
    assert truncated.value == pytest.approx(np.mean(np.minimum(w, 2.0) * returns), rel=1e-12)


def test_decisions_and_corrections(log, model):
    q, v = model
    assert ope.per_decision(log).value == pytest.approx(step_by_step(log, zeros(log), zeros(log), False), rel=1e-12)
    weighted = ope.weighted_per_decision(log).value
    assert weighted == pytest.approx(step_by_step(log, zeros(log), zeros(log), True), rel=1e-12)
    assert ope.doubly_robust(log, model).value == pytest.approx(step_by_step(log, q, v, False), rel=1e-12)
    assert ope.weighted_doubly_robust(log, model).value == pytest.approx(step_by_step(log, q, v, True), rel=1e-12)
    assert ope.direct_method(log, model).value == pytest.approx(np.mean(v[:, 0]), rel=1e-12)


@pytest.mark.parametrize(("x64", "tolerance"), [(False, 3e-7), (True, 1e-12)])
def test_the_recursion_is_its_expanded_sum(x64, tolerance):
    rng = np.random.default_rng(2)
    rewards, q, v = rng.normal(size=(3, 1000, 20))
    log_ratios = rng.normal(scale=0.3, size=(1000, 20))
    with jax.enable_x64(x64):
        arrays = [jnp.asarray(x, float) for x in (rewards, log_ratios, q, v)]
        found = np.asarray(ope.doubly_robust_return(*arrays, discount=DISCOUNT), np.float64)
        # Both from the same rounded ratios, so that only the rounding of the recursion is compared.
        rewards, _, q, v = (np.asarray(x, np.float64) for x in arrays)
        ratios = np.asarray(mc.weights.from_log(arrays[1]), np.float64)
    w = np.cumprod(ratios, axis=1) * DISCOUNT ** np.arange(20)
    terms = [v[:, :1], w * rewards, -w * q, w[:, :-1] * DISCOUNT * v[:, 1:]]
    size = sum(np.abs(term).sum(axis=1) for term in terms)
    np.testing.assert_array_less(np.abs(found - sum(term.sum(axis=1) for term in terms)) / size, tolerance)


def test_an_exact_model_of_a_deterministic_mdp_gives_variance_0():
    rng = np.random.default_rng(3)
    step, rewards, target = rng.integers(0, 4, (4, 2)), rng.normal(size=(4, 2)), rng.dirichlet(np.ones(2), 4)
    value, q_of, v_of = np.zeros(4), [], []
    for _ in range(6):
        q = rewards + DISCOUNT * value[step]
        value = np.sum(target * q, axis=1)
        q_of, v_of = [q, *q_of], [value, *v_of]
    states, actions = np.zeros((N, 6), int), rng.integers(0, 2, (N, 6))
    for t in range(5):
        states[:, t + 1] = step[states[:, t], actions[:, t]]
    log = ope.TrajectoryLog(
        rewards[states, actions], np.full((N, 6), np.log(0.5)), actions=actions, states=states,
        target_probabilities=target[states], discount=DISCOUNT,
    )  # fmt: skip
    times = np.arange(6)
    model = ope.ActionValues(np.stack(q_of)[times, states, actions], np.stack(v_of)[times, states])
    for method in (ope.doubly_robust, ope.weighted_doubly_robust):
        found = method(log, model)
        assert found.value == pytest.approx(v_of[0][0], rel=1e-13)
        assert N * found.std_error**2 < 1e-28 * max(1.0, found.value**2)
    assert ope.per_decision(log).std_error > 0.1


def without(log, i):
    """The log without trajectory i."""
    kept = np.arange(N) != i
    return ope.TrajectoryLog(
        log.rewards[kept], log.log_behaviour[kept], log.log_target[kept], actions=log.actions[kept],
        states=log.states[kept], target_probabilities=log.target_probabilities[kept], discount=log.discount,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["WPDIS", "WDR", "MARG"])
def test_error_bars_by_the_delta_method_are_those_of_the_jackknife(log, model, name):
    def value(log, q, v):
        if name == "MARG":
            return ope.marginalised(log).value
        q, v = (q, v) if name == "WDR" else (zeros(log), zeros(log))
        w = np.cumprod(ratios_of(log), axis=1)
        after = np.concatenate([v[:, 1:], np.zeros((len(v), 1))], axis=1)
        deltas = log.rewards + DISCOUNT * after - q
        return v[:, 0].mean() + (np.sum(w * deltas, axis=0) / w.sum(axis=0)) @ DISCOUNT ** np.arange(HORIZON)

    methods = {
        "WPDIS": lambda: ope.weighted_per_decision(log),
        "WDR": lambda: ope.weighted_doubly_robust(log, model),
        "MARG": lambda: ope.marginalised(log),
    }
    left_out = range(0, N, 4 if name == "MARG" else 1)
    changes = [value(without(log, i), *(np.delete(part, i, axis=0) for part in model)) for i in left_out]
    changes = np.asarray(changes) - value(log, *model)
    jackknife = np.sqrt(N * np.mean(changes**2))
    assert methods[name]().std_error == pytest.approx(jackknife, rel=0.15 if name == "MARG" else 0.05)


def test_the_old_name_of_the_marginalised_estimate_works_with_a_warning(log):
    estimates = ope.estimate_all(log)
    with pytest.warns(DeprecationWarning, match='"MIS" is now "MARG"'):
        assert estimates["MIS"] is estimates["MARG"]
    with pytest.raises(KeyError):
        estimates["SWITCH"]


def test_marginalised_weights_are_ratios_of_state_frequencies(log):
    ratios, states = ratios_of(log), log.states
    now = np.bincount(states[:, 0], minlength=5) / N
    total = 0.0
    for t in range(HORIZON):
        seen = np.bincount(states[:, t], minlength=5) / N
        w = now[states[:, t]] / seen[states[:, t]]
        total += DISCOUNT**t * np.mean(w * ratios[:, t] * log.rewards[:, t])
        if t + 1 < HORIZON:
            now = np.array([np.mean(w * ratios[:, t] * (states[:, t + 1] == s)) for s in range(5)])
    assert ope.marginalised(log).value == pytest.approx(total, rel=1e-6)


def test_one_hot_features_are_the_table(log):
    features = np.eye(5)[log.states] * np.arange(1.0, 6.0)
    linear = ope.TrajectoryLog(
        log.rewards, log.log_behaviour, log.log_target, states=features, discount=log.discount
    )  # fmt: skip
    assert ope.marginalised(linear).value == pytest.approx(ope.marginalised(log).value, rel=1e-4)


def test_tables_are_regressions_on_one_hot_features(log):
    found, onehot = ope.fitted_q(log, folds=2, ridge=0.7), np.eye(5)[log.states]
    values = np.zeros((N, HORIZON + 1, 2))
    for fold in range(2):
        out, after = np.arange(N) % 2 == fold, np.zeros((N, HORIZON))
        for t in reversed(range(HORIZON)):
            # Only the last regression uses the last step, because the value after it is not in the log.
            steps = slice(0, HORIZON) if t == HORIZON - 1 else slice(0, HORIZON - 1)
            x, a = onehot[~out, steps].reshape(-1, 5), log.actions[~out, steps].ravel()
            y = (log.rewards + DISCOUNT * after)[~out, steps].ravel()
            q = np.empty((N, HORIZON, 2))
            for action in range(2):
                gram = x[a == action].T @ x[a == action] + 0.7 * np.eye(5)
                q[..., action] = y.mean() + onehot @ np.linalg.solve(
                    gram, x[a == action].T @ (y - y.mean())[a == action]
                )
            values[out, t] = q[out, t]
            v = np.sum(log.target_probabilities * q, axis=-1)
            after = np.concatenate([v[:, 1:], np.zeros((N, 1))], axis=1)
    by_hand = np.take_along_axis(values[:, :HORIZON], log.actions[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(found.q, by_hand, rtol=1e-10)


def test_a_log_with_as_many_states_as_rows_fits_into_memory():
    # One-hot arrays would need 29 GB.
    n, rng = 30_000, np.random.default_rng(22)
    rewards, half = rng.normal(size=(n, 2)), np.full((n, 2), 0.5)
    log = ope.TrajectoryLog(
        rewards, np.log(half), np.log(0.8 * half + 0.1), states=np.arange(2 * n).reshape(n, 2) * 7, discount=DISCOUNT
    )
    assert ope.marginalised(log).value == pytest.approx(ope.per_decision(log).value, rel=1e-5)
    users = ope.BanditLog(
        np.arange(n) // 5 % 2, rewards[:, 0], np.log(half[:, 0]), target_probabilities=half, contexts=7 * np.arange(n)
    )
    fold = np.arange(n) % 5
    of_others = (rewards[:, 0].sum() - np.bincount(fold, rewards[:, 0])) / (n - np.bincount(fold))
    np.testing.assert_allclose(ope.fitted_q(users).q[:, 0], of_others[fold], rtol=1e-9)


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_logs_of_fewer_trajectories_than_folds_have_their_table(n, horizon):
    log = log_of(horizon, N, seed=1)
    few = ope.TrajectoryLog(
        log.rewards[:n], log.log_behaviour[:n], actions=log.actions[:n], states=log.states[:n],
        target_probabilities=log.target_probabilities[:n],
    )  # fmt: skip
    estimates = ope.estimate_all(few)
    assert {"IS", "WIS", "DR", "WDR", "DM"} < set(estimates)
    for name, estimate in estimates.items():
        assert np.isfinite(estimate.value), name
        assert not estimate.ok, name
    assert ope.recommend(few, estimates).name is None
    # The values of each trajectory come from a fit to the others; without others they are 0.
    np.testing.assert_array_equal(
        ope.fitted_q(few).q, ope.fitted_q(few, folds=n).q if n > 1 else np.zeros((1, horizon))
    )


def test_one_step_is_a_bandit(bandit):
    whole, decisions = ope.importance_sampling(bandit), ope.per_decision(bandit)
    assert whole.value == pytest.approx(decisions.value, rel=1e-12)
    assert whole.std_error == pytest.approx(decisions.std_error, rel=1e-9)
    weighted = ope.weighted_importance_sampling(bandit), ope.weighted_per_decision(bandit)
    assert weighted[0].value == pytest.approx(weighted[1].value, rel=1e-12)
    assert weighted[0].std_error == pytest.approx(weighted[1].std_error, rel=1e-9)


def test_reduced_weights_by_hand_and_in_both_limits(bandit):
    model = ope.fitted_q(bandit)
    w, r = ratios_of(bandit.trajectories)[:, 0], bandit.trajectories.rewards[:, 0]
    residual, v = r - model.q[:, 0], model.v[:, 0]
    found = ope.switch(bandit, model, threshold=1.5)
    assert found.value == pytest.approx(np.mean(v + w * (w <= 1.5) * residual), rel=1e-12)
    assert found.bias_seen == pytest.approx(-np.mean(w * (w > 1.5) * residual), rel=1e-12)
    shrunk = ope.shrunk_doubly_robust(bandit, model, strength=2.0)
    assert shrunk.value == pytest.approx(np.mean(v + 2.0 * w / (w**2 + 2.0) * residual), rel=1e-12)
    doubly, direct = ope.doubly_robust(bandit, model).value, ope.direct_method(bandit, model).value
    for method, option in ((ope.switch, "threshold"), (ope.shrunk_doubly_robust, "strength")):
        assert method(bandit, model, **{option: 1e30}).value == pytest.approx(doubly, rel=1e-12)
        assert method(bandit, model, **{option: 1e-30}).value == pytest.approx(direct, rel=1e-12)


def test_a_blend_lies_between_the_model_and_weighted_returns(log, model):
    ends = sorted([ope.direct_method(log, model).value, ope.weighted_doubly_robust(log, model).value])
    assert ends[0] <= ope.magic(log, model).value <= ends[1]
    exact = exact_model(log)
    # A model within the bootstrap interval has all the weight, one far outside of it has none.
    assert ope.magic(log, exact).value == pytest.approx(ope.direct_method(log, exact).value, abs=0.05)
    wrong = exact_model(log, shift=50.0)
    assert ope.magic(log, wrong).value == pytest.approx(ope.weighted_doubly_robust(log, wrong).value, abs=0.05)


def test_the_minimum_on_a_simplex():
    np.testing.assert_allclose(simplex_minimum(np.diag([1.0, 2.0, 4.0])), np.array([4, 2, 1]) / 7, rtol=1e-10)
    # By hand: x = (1, 0), where the gradient (2, 3) points out of the simplex.
    np.testing.assert_allclose(simplex_minimum(np.array([[1.0, 1.5], [1.5, 4.0]])), [1.0, 0.0], atol=1e-12)
    np.testing.assert_array_equal(simplex_minimum(np.zeros((2, 2))), [0.0, 1.0])


def test_the_direct_method_has_the_error_bar_of_its_corrections(log):
    exact = exact_model(log)
    direct, doubly = ope.direct_method(log, exact), ope.doubly_robust(log, exact)
    assert direct.bias_seen == pytest.approx(direct.value - doubly.value, rel=1e-9)
    assert direct.std_error == pytest.approx(np.hypot(doubly.std_error, direct.bias_seen), rel=1e-9)
    assert ope.direct_method(log, exact_model(log, shift=5.0)).status >= mc.Status.BIASED


def test_steps_after_the_end_change_nothing(log):
    ends = np.random.default_rng(4).integers(1, HORIZON + 1, N)
    mask = np.arange(HORIZON) < ends[:, None]
    padded_arrays = {
        "rewards": np.where(mask, log.rewards, np.nan),
        "log_behaviour": np.where(mask, log.log_behaviour, np.nan),
        "actions": np.where(mask, log.actions, -7),
        "target_probabilities": np.where(mask[..., None], log.target_probabilities, 9.0),
    }
    padded = ope.TrajectoryLog(states=log.states, mask=mask, discount=DISCOUNT, **padded_arrays)
    w = np.cumprod(np.where(mask, ratios_of(log), 1.0), axis=1)
    rewards = np.where(mask, log.rewards, 0.0)
    by_hand = np.mean(np.sum(w * rewards * DISCOUNT ** np.arange(HORIZON), axis=1))
    assert ope.per_decision(padded).value == pytest.approx(by_hand, rel=1e-12)
    # A trajectory that has ended stays in the denominator, with reward 0.
    weighted = np.sum(np.sum(w * rewards, axis=0) / w.sum(axis=0) * DISCOUNT ** np.arange(HORIZON))
    assert ope.weighted_per_decision(padded).value == pytest.approx(weighted, rel=1e-12)
    assert all(np.isfinite(estimate.value) for estimate in ope.estimate_all(padded).values())


def test_merging_two_logs_raises_and_says_what_to_do(log):
    estimate = ope.per_decision(log)
    with pytest.raises(TypeError, match="estimate from both logs as one"):
        estimate.merge(ope.per_decision(log_of(HORIZON, N, seed=2)))


def test_the_mean_weight_finds_wrong_behaviour_probabilities(log):
    estimates = {"IS": ope.importance_sampling(log)}
    assert "should be 1" not in ope.recommend(log, estimates).reason
    halved = ope.TrajectoryLog(log.rewards, np.log(0.5 * np.exp(log.log_behaviour)), log.log_target)
    assert mean_weight(halved).value == pytest.approx(2**HORIZON * mean_weight(log).value, rel=1e-9)
    found = ope.recommend(halved, {"IS": ope.importance_sampling(halved), "WIS": ope.importance_sampling(halved)})
    assert found.name is None
    assert "should be 1" in found.reason


def test_a_model_wrong_by_any_amount_is_covered_or_flagged():
    # Without an estimator: units equal to the truth plus a bias, and a reference without the bias.
    rng, covered, flagged = np.random.default_rng(8), [], []
    log = log_of(HORIZON, N, seed=1)
    none = ope.ActionValues(zeros(log), zeros(log))
    for bias in (0.0, 1.0, 2.3, 4.0, 8.0):
        for _ in range(10):
            reference = rng.normal(size=N)
            found = value_against_reference(np.full(N, bias / np.sqrt(N)), reference, log, none)
            low, high = found.interval()
            covered.append(low <= 0.0 <= high)
            flagged.append((bias, found.status == mc.Status.BIASED))
    assert np.mean(covered) > 0.92
    assert np.mean([flag for bias, flag in flagged if bias == 8.0]) == 1.0
    assert np.mean([flag for bias, flag in flagged if bias == 0.0]) <= 0.1
