"""Returns, critic targets and advantages: published values of RLax, and ends of episodes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcengine.rl import advantages as adv

RNG = np.random.default_rng(7)
# rlax/_src/multistep_test.py (Apache 2.0): rewards, discounts, values of what follows.
REWARDS = np.asarray([[1.0, 0.0, -1.0, 0.0, 1.0], [0.5, 0.8, -0.7, 0.0, 2.1]])
DISCOUNTS = np.asarray([[0.5, 0.9, 1.0, 0.5, 0.8], [0.9, 0.5, 0.3, 0.8, 0.7]])
NEXT = np.asarray([[3.0, 1.0, 5.0, -5.0, 3.0], [-1.7, 1.2, 2.3, 2.2, 2.7]])


def test_lambda_returns_of_rlax():
    published = [[1.6460547, 0.72281253, 0.7375001, 0.6500001, 3.4], [0.7866317, 0.9913063, 0.1101501, 2.834, 3.99]]
    np.testing.assert_allclose(adv.lambda_returns(REWARDS, NEXT, DISCOUNTS, 0.75), published, rtol=1e-5)


def test_discounted_returns_of_rlax():
    published = [[1.315, 0.63000005, 0.70000005, 1.7, 3.4], [1.33592, 0.9288, 0.2576, 3.192, 3.9899998]]
    np.testing.assert_allclose(adv.rewards_to_go(REWARDS, DISCOUNTS, bootstrap=NEXT), published, rtol=1e-5)


@pytest.mark.parametrize(
    ("n", "published"),
    [
        (3, [[2.8, -3.15, 0.7, 1.7, 3.4], [1.2155, 0.714, 0.2576, 3.192, 3.99]]),
        (5, [[1.315, 0.63, 0.7, 1.7, 3.4], [1.33592, 0.9288, 0.2576, 3.192, 3.99]]),
        (7, [[1.315, 0.63, 0.7, 1.7, 3.4], [1.33592, 0.9288, 0.2576, 3.192, 3.99]]),
    ],
)
def test_n_step_targets_of_rlax(n, published):
    np.testing.assert_allclose(adv.n_step_targets(REWARDS, NEXT, DISCOUNTS, n), published, rtol=1e-5)


@pytest.mark.parametrize(
    ("lambda_", "published"),
    [
        (1.0, [[-1.45118, -4.4557, 2.5396, 0.5249, -0.49], [3.0, 2.0, 1.0, 0.0, -4.9]]),
        (0.7, [[-0.676979, -5.248167, 2.4846, 0.6704, -0.49], [2.2899, 1.73, 1.0, 0.0, -4.9]]),
        (0.4, [[0.56731, -6.042, 2.3431, 0.815, -0.49], [1.725, 1.46, 1.0, 0.0, -4.9]]),
    ],
)
def test_gae_of_rlax(lambda_, published):
    rewards = np.asarray([[0.0, 0.0, 1.0, 0.0, -0.5], [0.0, 0.0, 0.0, 0.0, 1.0]])
    values = np.asarray([[1.0, 4.0, -3.0, -2.0, -1.0, -1.0], [-3.0, -2.0, -1.0, 0.0, 5.0, -1.0]])
    discounts = np.asarray([[0.99] * 5, [0.9, 0.9, 0.9, 0.0, 0.9]])
    found = adv.gae(rewards, values[:, :-1], values[:, 1:], discounts, lambda_=lambda_)
    # Published to three digits in places, .815 for .81596 among them.
    np.testing.assert_allclose(found.advantages, published, atol=1e-3)
    np.testing.assert_allclose(found.targets, found.advantages + values[:, :-1], rtol=1e-6)


def test_vtrace_of_rlax():
    behaviour = np.asarray(
        [[[8.9, 0.7], [5.0, 1.0], [0.6, 0.1], [-0.9, -0.1]], [[0.3, -5.0], [1.0, -8.0], [0.3, 1.7], [4.7, 3.3]]]
    )
    target = np.asarray(
        [[[0.4, 0.5], [9.2, 8.8], [0.7, 4.4], [7.9, 1.4]], [[1.0, 0.9], [1.0, -1.0], [-4.3, 8.7], [0.8, 0.3]]]
    )
    actions = np.asarray([[0, 1, 0, 0], [1, 0, 0, 1]])[..., None]
    log_pi, log_mu = (
        np.take_along_axis(x - np.log(np.exp(x).sum(-1, keepdims=True)), actions, -1)[..., 0]
        for x in (target, behaviour)
    )
    rewards = np.asarray([[-1.3, -1.3, 2.3, 42.0], [1.3, 5.3, -3.3, -5.0]])
    discounts = np.asarray([[0.0, 0.89, 0.85, 0.99], [0.88, 1.0, 0.83, 0.95]])
    values = np.asarray([[2.1, 1.1, -3.1, 0.0], [3.1, 0.1, -1.1, 7.4]])
    following = adv.next_values(values, np.asarray([8.4, -1.2]))
    found = adv.vtrace(rewards, values, following, log_pi - log_mu, discount=discounts)
    errors = [[-1.6155143, -3.4973226, 1.8670533, 50.316002], [1.4662437, 3.6116405, -8.3327293e-5, -13.54]]
    np.testing.assert_allclose(found.targets - values, errors, rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(found.advantages, errors, rtol=1e-5, atol=2e-6)


def two_episodes():
    """Two on-policy episodes in one array, the first cut off after two steps; rewards 0, V = 1 and V = 100."""
    values = np.asarray([1.0, 1.0, 100.0, 100.0])
    truncated = np.asarray([False, True, False, False])
    following = adv.next_values(values, np.asarray(100.0), truncated, np.asarray([0.0, 1.0, 0.0, 0.0]))
    return np.zeros(4), values, following, truncated


def test_a_truncation_gives_no_advantage():
    # One published implementation bootstraps from the next episode and gives 99.
    rewards, values, following, truncated = two_episodes()
    of_gae = adv.gae(rewards, values, following, 1.0, lambda_=0.0, truncated=truncated)
    of_vtrace = adv.vtrace(rewards, values, following, np.zeros(4), discount=1.0, truncated=truncated)
    for found in (of_gae, of_vtrace):
        np.testing.assert_array_equal(found.advantages, np.zeros(4))
        np.testing.assert_array_equal(found.targets, values)
    q = adv.q_targets(rewards, values, following, np.ones(4), discount=1.0, truncated=truncated)
    np.testing.assert_array_equal(q, values)
    # If the episode were terminated there, the advantage would be -1.
    ended = adv.gae(rewards, values, following, 1.0, lambda_=0.0, terminated=truncated)
    np.testing.assert_array_equal(ended.advantages, [0.0, -1.0, 0.0, 0.0])


def loops(rewards, values, following, log_r, discount, lambda_, terminated, truncated):
    """GAE and V-trace as loops over steps, in float64, forward from each step."""
    steps = len(rewards)
    gae, errors = np.zeros(steps), np.zeros(steps)
    rho = np.minimum(1.0, np.exp(log_r))
    for t in range(steps):
        factor, trace = 1.0, 1.0
        for i in range(t, steps):
            delta = rewards[i] + discount * (1 - terminated[i]) * following[i] - values[i]
            gae[t] += factor * delta
            errors[t] += trace * rho[i] * delta
            if terminated[i] or truncated[i]:
                break
            factor *= discount * lambda_
            trace *= discount * lambda_ * rho[i]
    return gae, errors


def test_gae_and_vtrace_against_loops():
    steps = 40
    rewards, values, following, log_r = RNG.standard_normal((4, steps))
    terminated, truncated = RNG.uniform(size=(2, steps)) < 0.15
    gae, errors = loops(rewards, values, following, log_r, 0.9, 0.8, terminated, truncated)
    ends = {"terminated": terminated, "truncated": truncated}
    found = jax.jit(lambda r: adv.gae(r, values, following, 0.9, lambda_=0.8, **ends))(rewards)
    np.testing.assert_allclose(found.advantages, gae, rtol=1e-5, atol=1e-6)
    found = adv.vtrace(rewards, values, following, log_r, discount=0.9, lambda_=0.8, **ends)
    np.testing.assert_allclose(found.targets, values + errors, rtol=1e-5, atol=1e-6)
    shifted = np.where(truncated, following, np.append((values + errors)[1:], following[-1]))
    rho = np.minimum(1.0, np.exp(log_r))
    advantage = rho * (rewards + 0.9 * (1 - terminated) * shifted - values)
    np.testing.assert_allclose(found.advantages, advantage, rtol=1e-5, atol=1e-6)


def test_on_policy_all_targets_are_lambda_returns():
    rewards, values, following = RNG.standard_normal((3, 2, 6))
    following[:, :-1] = values[:, 1:]
    wanted = adv.lambda_returns(rewards, following, 0.9, 0.7)
    np.testing.assert_allclose(
        adv.gae(rewards, values, following, 0.9, lambda_=0.7).targets, wanted, rtol=1e-5, atol=1e-6
    )
    found = adv.vtrace(rewards, values, following, np.zeros((2, 6)), discount=0.9, lambda_=0.7)
    np.testing.assert_allclose(found.targets, wanted, rtol=1e-5, atol=1e-6)
    traces = adv.retrace_traces(np.zeros((2, 6)), 0.7)
    np.testing.assert_allclose(
        adv.q_targets(rewards, values, following, traces, discount=0.9), wanted, rtol=1e-5, atol=1e-6
    )  # fmt: skip
    np.testing.assert_allclose(
        adv.td_targets(rewards, following, 0.9), rewards + 0.9 * following, rtol=1e-6
    )  # fmt: skip


def test_retrace_targets_against_the_sum():
    steps = 5
    rewards, q, following, log_r = RNG.standard_normal((4, steps))
    traces = np.asarray(adv.retrace_traces(log_r, 0.9), np.float64)
    np.testing.assert_allclose(traces, 0.9 * np.minimum(1.0, np.exp(log_r)), rtol=1e-6)
    delta = rewards + 0.95 * following - q
    wanted = [
        q[t] + sum(0.95 ** (i - t) * np.prod(traces[t + 1 : i + 1]) * delta[i] for i in range(t, steps))
        for t in range(steps)
    ]
    np.testing.assert_allclose(adv.q_targets(rewards, q, following, traces, discount=0.95), wanted, rtol=1e-5)


def a_walk(steps=6, actions=3):
    """(rewards, Q(x_t, .), pi(. | x_t), actions) of one trajectory; Q and pi also after the last step."""
    q, policy = RNG.standard_normal((steps + 1, actions)), RNG.dirichlet(np.ones(actions), steps + 1)
    return RNG.standard_normal(steps), q, policy, RNG.integers(0, actions, steps)


def test_tree_backup_is_its_definition_as_a_tree():
    # Precup et al. (2000): Q of every action by its probability, the taken one replaced by its own backup.
    rewards, q, policy, taken = a_walk()
    steps, time, discount = len(rewards), np.arange(len(taken)), 0.9
    value = np.sum(policy * q, axis=1)
    wanted = np.zeros(steps)
    wanted[-1] = rewards[-1] + discount * value[-1]
    for t in reversed(range(steps - 1)):
        onwards = policy[t + 1].copy()
        p_taken, onwards[taken[t + 1]] = onwards[taken[t + 1]], 0.0
        wanted[t] = rewards[t] + discount * (onwards @ q[t + 1] + p_taken * wanted[t + 1])
    traces = adv.tree_backup_traces(np.log(policy[time, taken]))
    found = adv.q_targets(rewards, q[time, taken], value[1:], traces, discount=discount)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    shorter = adv.tree_backup_traces(np.log(policy[time, taken]), 0.5)
    np.testing.assert_allclose(shorter, 0.5 * policy[time, taken], rtol=1e-6)


def test_q_lambda_is_the_mixture_of_corrected_n_step_returns():
    # Harutyunyan et al. (2016): (1 - lambda) sum_n lambda^(n-1) of r + .. + discount^n E_pi Q, each corrected by
    # E_pi Q - Q of the actions taken before.
    rewards, q, policy, taken = a_walk()
    steps, time, discount, lambda_ = len(rewards), np.arange(len(taken)), 0.9, 0.7
    value, q_taken = np.sum(policy * q, axis=1), q[time, taken]

    def corrected(t, n):
        on_the_way = sum(discount**i * (rewards[t + i] + (value[t + i] - q_taken[t + i] if i else 0)) for i in range(n))
        return on_the_way + discount**n * value[t + n]

    wanted = []
    for t in range(steps):
        longest = steps - t
        mixed = sum((1 - lambda_) * lambda_ ** (n - 1) * corrected(t, n) for n in range(1, longest))
        wanted.append(mixed + lambda_ ** (longest - 1) * corrected(t, longest))
    found = adv.q_targets(rewards, q_taken, value[1:], lambda_, discount=discount)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_array_equal(
        adv.q_targets(rewards, q_taken, value[1:], np.full(steps, lambda_), discount=discount), found
    )


def test_returns_of_whole_episodes():
    rewards = np.asarray([[1.0, 2.0, 4.0]])
    np.testing.assert_allclose(adv.rewards_to_go(rewards, 0.5), [[3.0, 4.0, 4.0]])
    np.testing.assert_allclose(adv.total_returns(rewards, 0.5), [[3.0]])
    ended = adv.rewards_to_go(rewards, 0.5, terminated=np.asarray([[True, False, False]]))
    np.testing.assert_allclose(ended, [[1.0, 4.0, 4.0]])


def test_group_advantages_by_hand():
    answers = np.asarray([0.0, 1.0, 0.0, 1.0])
    np.testing.assert_allclose(adv.group_advantages(answers, epsilon=0.0), [-1.0, 1.0, -1.0, 1.0])
    sample_std = adv.group_advantages(np.asarray([0.0, 1.0]), ddof=1, epsilon=0.0)
    np.testing.assert_allclose(sample_std, [-np.sqrt(0.5), np.sqrt(0.5)], rtol=1e-6)
    # Published implementations differ in ddof and epsilon.
    both = np.asarray([[1.0, 0.0, 0.0]])
    for ddof, epsilon in ((1, 1e-4), (0, 1e-6), (1, 1e-6), (0, 1e-4)):
        wanted = (both - both.mean()) / (both.std(ddof=ddof) + epsilon)
        np.testing.assert_allclose(adv.group_advantages(both, ddof=ddof, epsilon=epsilon), wanted, rtol=1e-6)
    rewards = RNG.standard_normal((3, 5))
    others = [[np.delete(row, i).mean() for i in range(5)] for row in rewards]
    np.testing.assert_allclose(adv.leave_one_out_advantages(rewards), rewards - others, rtol=1e-5)


@pytest.mark.parametrize(("n", "reward"), [(8, 1000.1), (16, 0.7), (3, 0.1), (3, 1.0), (5, -1e30)])
@pytest.mark.parametrize("scale", ["std", None])
def test_equal_rewards_have_advantage_0_exactly(n, reward, scale):
    # The mean of equal numbers rounds; the rounding error over an epsilon of 1e-6 would be an advantage of order 1.
    np.testing.assert_array_equal(adv.group_advantages(jnp.full((2, n), reward), scale=scale), np.zeros((2, n)))
    np.testing.assert_array_equal(adv.leave_one_out_advantages(jnp.full(n, reward)), np.zeros(n))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: adv.gae(REWARDS, NEXT[:, :2], NEXT, 0.9, lambda_=0.9), "values has shape"),
        (lambda: adv.gae(REWARDS * np.nan, NEXT, NEXT, 0.9, lambda_=0.9), "rewards must be finite"),
        (lambda: adv.gae(REWARDS, NEXT, NEXT, 0.9, lambda_=0.9, terminated=np.zeros(5, bool)), "terminated has shape"),
        (lambda: adv.vtrace(REWARDS, NEXT, NEXT, np.zeros(5), discount=0.9), "log_ratios has shape"),
        (lambda: adv.q_targets(REWARDS, NEXT, NEXT, np.ones(5), discount=0.9), "traces has shape"),
        (lambda: adv.q_targets(REWARDS, NEXT, NEXT, np.nan, discount=0.9), "traces must be finite"),
        (
            lambda: adv.gae(*[REWARDS[:, :0]] * 3, 0.9, lambda_=0.9),
            r"gae: there are no steps in arrays of shape \(2, 0\)",
        ),
        (lambda: adv.rewards_to_go(1.0), "must have an axis of steps"),
        (lambda: adv.rewards_to_go(REWARDS, np.ones(3)), "discount has shape"),
        (lambda: adv.next_values(NEXT, np.zeros(3)), "last has shape"),
        (lambda: adv.next_values(NEXT, np.zeros(2), truncated=NEXT > 0), "together"),
        (lambda: adv.n_step_targets(REWARDS, NEXT, 0.9, 0), "n must be a positive"),
        (lambda: adv.group_advantages(np.ones((2, 1))), "at least 2 answers"),
        (lambda: adv.group_advantages(np.asarray([1.0, 2.0]), scale="mad"), "scale must be"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_values_are_differentiated():
    slope = jax.grad(lambda v: jnp.sum(adv.gae(REWARDS, v, NEXT, 0.9, lambda_=0.0).advantages))(jnp.asarray(NEXT))
    np.testing.assert_allclose(slope, -np.ones_like(NEXT), rtol=1e-6)
