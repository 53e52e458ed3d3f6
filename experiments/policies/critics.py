"""Critics from n episodes: Monte Carlo means of returns, batch TD and online TD."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import lax
from jaxtyping import PRNGKeyArray
from matplotlib.axes import Axes

from experiments.policies import softmax_mdp as mdp
from mcengine.rl import advantages

EPISODES, REPEATS = (10, 30, 100, 300), 400
STEP = 0.1
COLOURS = ("#0072B2", "#D55E00", "#009E73")


def visits(batch: mdp.Batch) -> jax.Array:
    """1 if trajectory i is in state s at time t, else 0, [n, T, S]."""
    return jax.nn.one_hot(batch.states, mdp.MDP.num_states)


def monte_carlo(batch: mdp.Batch) -> jax.Array:
    """V_t(s): the mean return from visits of s at t; 0 without visits."""
    seen = visits(batch)
    returns = advantages.rewards_to_go(batch.rewards, mdp.MDP.discount)
    return jnp.einsum("nts,nt->ts", seen, returns) / jnp.maximum(jnp.sum(seen, axis=0), 1.0)


def batch_td(batch: mdp.Batch) -> jax.Array:
    """V_t(s): the mean of r + discount V_{t+1}(s'), backwards from the end: the limit of TD(0) on the batch."""
    seen = jnp.moveaxis(visits(batch), 1, 0)
    following = jnp.concatenate([seen[1:], jnp.zeros_like(seen[:1])])

    def before(v: jax.Array, at_t: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        here, there, rewards = at_t
        targets = rewards + mdp.MDP.discount * (there @ v)
        v = here.T @ targets / jnp.maximum(jnp.sum(here, axis=0), 1.0)
        return v, v

    steps = (seen, following, batch.rewards.T)
    return lax.scan(before, jnp.zeros(mdp.MDP.num_states), steps, reverse=True)[1]


def online_td(batch: mdp.Batch) -> jax.Array:
    """V_t(s) from 0 by steps of `STEP` towards r + discount V_{t+1}(s'), once through the episodes."""
    time = jnp.arange(mdp.MDP.horizon)

    def learn(v: jax.Array, episode: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        states, rewards = episode
        following = jnp.where(time + 1 < mdp.MDP.horizon, v[(time + 1) % mdp.MDP.horizon, jnp.roll(states, -1)], 0.0)
        errors = advantages.td_targets(rewards, following, mdp.MDP.discount) - v[time, states]
        return v.at[time, states].add(STEP * errors), None

    start = jnp.zeros((mdp.MDP.horizon, mdp.MDP.num_states))
    return lax.scan(learn, start, (batch.states, batch.rewards))[0]


CRITICS = {"Monte Carlo": monte_carlo, "TD, batch": batch_td, f"TD, online, step {STEP}": online_td}


def run() -> pd.DataFrame:
    """Bias and standard deviation of V_0, root mean squares over the first state."""
    logits = jnp.asarray(mdp.TARGET)
    exact = np.asarray(mdp.values(logits).v[0], np.float64)
    weights = np.asarray(mdp.MDP.start, np.float64)
    rows = []
    for number in EPISODES:

        def critics(key: PRNGKeyArray, number: int = number) -> dict[str, jax.Array]:
            batch = mdp.draw(key, logits, number)
            return {name: critic(batch)[0] for name, critic in CRITICS.items()}

        found = jax.jit(jax.vmap(critics))(jax.random.split(jax.random.key(number), REPEATS))
        for name in CRITICS:
            errors = np.asarray(found[name], np.float64) - exact
            bias, variance = weights @ np.mean(errors, axis=0) ** 2, weights @ np.var(errors, axis=0)
            rows.append({"critic": name, "episodes": number, "bias": np.sqrt(bias), "deviation": np.sqrt(variance),
                         "RMSE": np.sqrt(bias + variance)})  # fmt: skip
    return pd.DataFrame(rows)


def draw(axis: Axes, frame: pd.DataFrame) -> None:
    """RMSE and bias against the number of episodes."""
    for colour, (name, rows) in zip(
        ("#0072B2", "#D55E00", "#009E73"), frame.groupby("critic", sort=False), strict=True
    ):
        axis.loglog(rows["episodes"], rows["RMSE"], "o-", color=colour, label=f"{name}, RMSE")
        axis.loglog(rows["episodes"], rows["bias"], "o:", color=colour, markerfacecolor="white", label=f"{name}, bias")
    axis.set_xlabel("episodes")
    axis.set_ylabel("error of V at the start")
    axis.legend(fontsize=8, frameon=False)
