"""Trajectories as a distribution: against enumeration of every path of a small MDP."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mcengine import numerics
from mcengine.distributions import sample_many
from mcengine.rl import TabularMDP, Trajectories, Trajectory, value_of_policy

TRANSITION = np.asarray(
    [[[0.1, 0.7, 0.2], [0.5, 0.0, 0.5]], [[0.3, 0.3, 0.4], [0.6, 0.4, 0.0]], [[1, 0, 0], [0, 1, 0]]]
)
REWARD = np.asarray([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25]])
START = np.asarray([0.2, 0.8, 0.0])
POLICY = np.asarray([[0.9, 0.1], [0.35, 0.65], [1.0, 0.0]])
NOISE = 0.5


def small_mdp(horizon=2, **changes):
    tables = {"transition": TRANSITION, "reward": REWARD, "start": START}
    numbers = {"discount": 0.9, "reward_noise": NOISE, "horizon": horizon}
    return TabularMDP(**(tables | numbers | changes))


def every_path(transition, start, policy, horizon):
    """Yield (states, actions, probability) of every path, in plain Python."""
    num_states, num_actions = policy.shape
    for states in itertools.product(range(num_states), repeat=horizon):
        for actions in itertools.product(range(num_actions), repeat=horizon):
            probability = start[states[0]]
            for t in range(horizon):
                probability *= policy[states[t], actions[t]]
                if t + 1 < horizon:
                    probability *= transition[states[t], actions[t], states[t + 1]]
            yield states, actions, probability


def draw(distribution, seed, num):
    return jax.jit(lambda key: sample_many(distribution, key, num))(jax.random.key(seed))


def test_paths_have_the_frequencies_of_enumeration():
    num, trajectories = 200_000, Trajectories(small_mdp(horizon=3), POLICY)
    drawn = draw(trajectories, 1, num)
    paths = np.concatenate([np.asarray(drawn.states), np.asarray(drawn.actions)], axis=1)
    found = {tuple(path): count for path, count in zip(*np.unique(paths, axis=0, return_counts=True), strict=True)}
    expected = {s + a: p for s, a, p in every_path(TRANSITION, START, POLICY, 3) if p > 0}
    assert sum(expected.values()) == pytest.approx(1.0)
    assert set(found) <= set(expected)  # nothing impossible is ever drawn
    observed = np.asarray([found.get(path, 0) for path in expected])
    assert stats.chisquare(observed, num * np.asarray(list(expected.values()))).pvalue > 1e-4


def test_rewards_are_normal_about_the_table():
    drawn = jax.tree.map(np.asarray, draw(Trajectories(small_mdp(), POLICY), 2, 50_000))
    z = (drawn.rewards - REWARD[drawn.states, drawn.actions]) / NOISE
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-4
    assert abs(np.corrcoef(z.T)[0, 1]) < 5 / np.sqrt(len(z))


def test_log_prob_is_the_enumerated_probability_times_the_reward_density():
    trajectories = Trajectories(small_mdp(), POLICY)
    rewards = np.asarray([0.3, -1.7])
    log_prob = jax.jit(jax.vmap(lambda s, a: trajectories.log_prob(Trajectory(s, a, jnp.asarray(rewards, float)))))
    states, actions, probability = zip(*every_path(TRANSITION, START, POLICY, 2), strict=True)
    states, actions = np.asarray(states), np.asarray(actions)
    with np.errstate(divide="ignore"):
        expected = np.log(probability) + stats.norm.logpdf(rewards, REWARD[states, actions], NOISE).sum(axis=1)
    got = log_prob(jnp.asarray(states, jnp.int32), jnp.asarray(actions, jnp.int32))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert np.isneginf(expected).any()


@pytest.mark.parametrize(("state", "action"), [(3, 0), (-1, 0), (0, 2), (0, -1)])
def test_log_prob_of_states_and_actions_that_do_not_exist(state, action):
    trajectory = Trajectory(jnp.asarray([0, state]), jnp.asarray([0, action]), jnp.zeros(2))
    assert Trajectories(small_mdp(), POLICY).log_prob(trajectory) == -jnp.inf


def test_forward_returns_the_log_prob_of_what_it_draws():
    trajectories = Trajectories(small_mdp(horizon=7), POLICY)
    v = numerics.centred_uniform(numerics.random_words(jax.random.key(3), (1, 1000, trajectories.num_uniforms)))
    drawn, log_q = jax.jit(jax.vmap(trajectories.forward))(v)
    np.testing.assert_allclose(log_q, jax.vmap(trajectories.log_prob)(drawn), rtol=1e-5, atol=1e-5)


def test_a_last_choice_of_probability_zero_is_not_drawn_where_the_sum_rounds_below_one():
    uneven = np.append(np.full(12, 1 / 12), 0.0)  # twelve twelfths, which are less than 1 in float32
    mdp = TabularMDP(
        np.tile(uneven, (13, 1, 1)), np.zeros((13, 1)), uneven, discount=1.0, reward_noise=1.0, horizon=2
    )  # fmt: skip
    largest = jnp.asarray([-(2.0**-33), 0.25, 0.25] * 2, float)
    assert Trajectories(mdp, np.ones((13, 1))).forward(largest)[0].states.tolist() == [11, 11]


def test_value_of_policy_is_the_mean_over_every_path():
    for discount in (0.0, 0.9, 1.0):
        powers = discount ** np.arange(3)
        by_paths = sum(
            p * (powers * REWARD[list(s), list(a)]).sum() for s, a, p in every_path(TRANSITION, START, POLICY, 3)
        )
        assert value_of_policy(small_mdp(horizon=3, discount=discount), POLICY) == pytest.approx(by_paths, rel=1e-6)


def test_a_pathwise_gradient_along_the_policy_raises_and_one_along_the_rewards_is_right():
    mdp, v = small_mdp(), jnp.full(6, 0.3, float)
    with pytest.raises(ValueError, match="score form"):
        jax.grad(lambda policy: Trajectories(mdp, policy).forward(v)[0].rewards.sum())(jnp.asarray(POLICY, float))
    by_noise = jax.grad(lambda noise: Trajectories(small_mdp(reward_noise=noise), POLICY).forward(v)[0].rewards.sum())
    assert by_noise(0.5) == pytest.approx(2 * stats.norm.ppf(0.3), rel=1e-5)


def test_the_score_is_finite_where_the_policy_has_zeros():
    trajectory = Trajectory(jnp.asarray([1, 0]), jnp.asarray([1, 0]), jnp.zeros(2))
    score = jax.grad(lambda policy: Trajectories(small_mdp(), policy).log_prob(trajectory))(jnp.asarray(POLICY, float))
    np.testing.assert_allclose(score, [[1 / 0.9, 0], [0, 1 / 0.65], [0, 0]], rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transition": TRANSITION * 1.01}, r"transition must sum to 1 .* row \[0, 0\]"),
        ({"transition": TRANSITION[:2]}, r"transition must have shape \(3, 2, 3\), got \(2, 2, 3\)"),
        (
            {"transition": np.where(TRANSITION == 0.7, np.nan, TRANSITION)},
            r"not be negative or NaN, got nan at \[0, 0, 1\]",
        ),
        ({"start": [1.2, -0.2, 0.0]}, "start must not be negative"),
        ({"start": [0.5, 0.5]}, r"start must have shape \(3,\)"),
        ({"reward": REWARD[0]}, r"reward must have shape \(states, actions\)"),
        ({"reward": np.where(REWARD == 3, np.inf, REWARD)}, "reward must be finite"),
        ({"discount": 1.5}, r"discount must lie in \[0, 1\], got 1.5"),
        ({"discount": -0.1}, r"discount must lie in \[0, 1\]"),
        ({"discount": [0.9, 0.9]}, "discount must be one number"),
        ({"reward_noise": 0.0}, "reward_noise must be positive"),
        ({"horizon": 0}, "horizon must be a positive integer"),
        ({"horizon": 2.5}, "horizon must be a positive integer"),
    ],
)
def test_a_bad_mdp_raises_with_the_name_of_the_argument(changes, message):
    with pytest.raises(ValueError, match=message):
        small_mdp(**changes)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (POLICY[:2], r"policy must have shape \(3, 2\), got \(2, 2\)"),
        (POLICY + 0.1, "policy must sum to 1"),
        (np.asarray([[1.5, -0.5]] * 3), r"policy must not be negative or NaN, got -0.5 at \[0, 1\]"),
    ],
)
def test_a_bad_policy_raises_with_the_name_of_the_argument(policy, message):
    with pytest.raises(ValueError, match=message):
        Trajectories(small_mdp(), policy)


@pytest.mark.parametrize("end", [0, -1])
def test_a_rare_choice_at_either_end_is_drawn_with_its_probability(end):
    rare = 1e-8  # about 43 words of 2^32; 1 - rare is 1 in float32
    table = np.zeros(4)
    table[end], table[1] = rare, 1 - rare  # and choices of probability zero, first or last among them
    mdp = TabularMDP(np.tile(table, (4, 4, 1)), np.zeros((4, 4)), table, discount=1.0, reward_noise=1.0, horizon=2)
    words = np.concatenate([np.arange(200), 2**32 - 1 - np.arange(200)]).astype(np.uint32)
    v = jnp.tile(numerics.centred_uniform(jnp.asarray(words)[None])[:, None], (1, 6))
    drawn = jax.jit(jax.vmap(Trajectories(mdp, np.tile(table, (4, 1))).forward))(v)[0]
    for choices in (drawn.states, drawn.actions):
        counts = np.asarray([np.bincount(column, minlength=4) for column in np.asarray(choices).T])
        assert np.all(np.abs(counts[:, end] - rare * 2**32) <= 1)
        assert np.all(counts[:, table == 0] == 0)
