"""Signals of a policy gradient (total return, less a baseline, reward-to-go, advantage): one mean, falling variance."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray
from matplotlib.axes import Axes

from experiments.policies import softmax_mdp as mdp
from mcengine.rl import advantages, objectives

TRAJECTORIES, BATCHES = 32, 2_000
SIGNALS = ("total return", "less the mean return", "reward-to-go", "reward-to-go less V", "advantage Q - V")


def signals(batch: mdp.Batch, exact: mdp.Values) -> dict[str, jax.Array]:
    """The factors of grad log pi(a_t | s_t), discounted from the start so that the gradient is that of the return."""
    rewards = mdp.discounts()[None] * batch.rewards
    time = jnp.arange(mdp.MDP.horizon)[None]
    to_go = advantages.rewards_to_go(rewards)
    v = mdp.discounts()[None] * exact.v[time, batch.states]
    q = mdp.discounts()[None] * exact.q[time, batch.states, batch.actions]
    total = to_go[:, :1]
    baseline = exact.v[0] @ mdp.MDP.start
    return dict(zip(SIGNALS, (total, total - baseline, to_go, to_go - v, q - v), strict=True))


def run() -> pd.DataFrame:
    """One row for each signal."""
    logits = jnp.asarray(mdp.TARGET)
    exact, values = jax.grad(mdp.expected_return)(logits), mdp.values(logits)

    def gradients(key: PRNGKeyArray) -> dict[str, jax.Array]:
        batch = mdp.draw(key, logits, TRAJECTORIES)

        def gradient(signal: jax.Array) -> jax.Array:
            def loss(x: jax.Array) -> jax.Array:
                return objectives.policy_gradient(mdp.log_probabilities(x, batch.states, batch.actions), signal)

            return -jax.grad(loss)(logits)

        return {name: gradient(signal) for name, signal in signals(batch, values).items()}

    found = jax.jit(jax.vmap(gradients))(jax.random.split(jax.random.key(1), BATCHES))
    rows, first = [], None
    for name in SIGNALS:
        errors = np.asarray(found[name], np.float64) - np.asarray(exact)
        variance = np.sum(np.var(errors, axis=0, ddof=1))
        first = variance if first is None else first
        z = np.mean(errors, axis=0) / (np.std(errors, axis=0, ddof=1) / np.sqrt(BATCHES))
        rows.append({"signal": name, "variance": variance, "of the first": variance / first,
                     "largest z of the bias": np.max(np.abs(z))})  # fmt: skip
    return pd.DataFrame(rows)


def draw(axis: Axes, frame: pd.DataFrame) -> None:
    """Bars of the variance."""
    axis.barh(frame["signal"][::-1], frame["variance"][::-1], color="#0072B2")
    axis.set_xscale("log")
    axis.set_xlabel(f"variance of the gradient from {TRAJECTORIES} trajectories")
