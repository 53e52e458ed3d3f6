"""Gradient ascent on one batch: exact return, the batch's own estimate and weight diagnostics after each step."""

import jax
import jax.numpy as jnp
import pandas as pd
from matplotlib.axes import Axes

from experiments.policies import softmax_mdp as mdp
from mcengine.rl import levels, objectives, reductions, update_diagnostics

TRAJECTORIES, STEPS, EVERY, RATE = 100, 41, 4, 0.03
OBJECTIVES = ("unclipped", "PPO-clip")
COLUMNS = ("exact return", "by the batch", "ESS share", "k-hat", "mean KL a step", "clipped")


def ascend(name: str) -> list[dict]:
    """One row per step: the batch's estimate of the return, the exact return, and diagnostics of the weights."""
    old = jnp.asarray(mdp.BEHAVIOUR)
    batch = mdp.draw(jax.random.key(8), old, TRAJECTORIES)
    returns = batch.rewards @ mdp.discounts()
    time = jnp.arange(mdp.MDP.horizon)
    exact = mdp.values(old)
    advantages = exact.q[time, batch.states, batch.actions] - exact.v[time, batch.states]

    def log_pi(x: jax.Array) -> jax.Array:
        return mdp.log_probabilities(x, batch.states, batch.actions)

    def loss(x: jax.Array) -> jax.Array:
        if name == "PPO-clip":
            return objectives.ppo_clip(log_pi(x), batch.log_mu, advantages, reduction=reductions.sequence_sum)
        return objectives.surrogate_loss(log_pi(x), batch.log_mu, returns[:, None], level=levels.sequence)

    @jax.jit
    def step(x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        found = update_diagnostics(log_pi(x), batch.log_mu, level=levels.sequence)
        estimated = -objectives.surrogate_loss(log_pi(x), batch.log_mu, returns[:, None], level=levels.sequence)
        per_step = update_diagnostics(log_pi(x), batch.log_mu)
        seen = {"exact return": mdp.expected_return(x), "by the batch": estimated, "ESS share": found.ess_share,
                "k-hat": found.pareto_k, "mean KL a step": per_step.kl,
                "clipped": per_step.clipped_low + per_step.clipped_high}  # fmt: skip
        return x - RATE * jax.grad(loss)(x), seen

    rows, x = [], old
    for number in range(STEPS):
        x, seen = step(x)
        rows.append({"objective": name, "step": number} | {key: float(seen[key]) for key in COLUMNS})
    return rows


def run() -> pd.DataFrame:
    """Every fourth step of both objectives."""
    rows = [row for name in OBJECTIVES for row in ascend(name)]
    return pd.DataFrame([row for row in rows if row["step"] % EVERY == 0])


def draw(axis: Axes, frame: pd.DataFrame) -> None:
    """Exact returns and those estimated from the batch; a line where the ESS falls below one half."""
    for colour, (name, rows) in zip(("#D55E00", "#0072B2"), frame.groupby("objective", sort=False), strict=True):
        axis.plot(rows["step"], rows["exact return"], "-", color=colour, label=f"{name}, exact return")
        axis.plot(rows["step"], rows["by the batch"], ":", color=colour, label=f"{name}, by the batch's weights")
        broken = rows.loc[rows["ESS share"] < 0.5]
        if len(broken):
            axis.axvline(broken["step"].iloc[0], color=colour, linewidth=0.8, label=f"{name}, ESS below one half")
    axis.set_xlabel("gradient steps on the same batch")
    axis.legend(fontsize=8, frameon=False)
