"""KL divergence against parameter distance: its quadratic model, and the estimators k1, k2, k3 from 1,000 actions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mcengine.rl import fisher_vector_product, kl

ACTIONS, SAMPLES, REPEATS = 10, 1_000, 400
DISTANCES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


def run() -> pd.DataFrame:
    """One row for each distance between the logits of two policies, pi and the reference."""
    keys = jax.random.split(jax.random.key(3), 3)
    logits = jax.random.normal(keys[0], (ACTIONS,))
    direction = jax.random.normal(keys[1], (ACTIONS,))
    direction = direction / jnp.linalg.norm(direction)

    def from_here(x: jax.Array) -> jax.Array:
        return kl.categorical_kl(logits, x)

    curvature = float(direction @ fisher_vector_product(from_here, logits, direction))
    actions = jax.random.categorical(keys[2], logits, shape=(REPEATS, SAMPLES))
    rows = []
    for distance in DISTANCES:
        other = logits + distance * direction
        exact = float(from_here(other))
        log_pi, log_reference = (jax.nn.log_softmax(x)[actions] for x in (logits, other))
        row: dict[str, Any] = {"distance": distance, "KL": exact, "quadratic model": 0.5 * distance**2 * curvature}
        for estimator in kl.ESTIMATORS:
            means = np.mean(np.asarray(kl.kl_estimate(log_reference, log_pi, estimator), np.float64), axis=1)
            row[f"{estimator} bias / KL"] = (np.mean(means) - exact) / exact
            row[f"{estimator} deviation / KL"] = np.std(means) / exact
        rows.append(row)
    return pd.DataFrame(rows)


def draw(axis: Axes, frame: pd.DataFrame) -> None:
    """KL and its model, and the estimators' deviations around it."""
    axis.loglog(frame["distance"], frame["KL"], "o-", color="#000000", label="KL(pi || reference)")
    axis.loglog(frame["distance"], frame["quadratic model"], "--", color="#808080", label="quadratic model")
    for colour, estimator in zip(("#0072B2", "#D55E00", "#009E73"), kl.ESTIMATORS, strict=True):
        deviation = frame[f"{estimator} deviation / KL"] * frame["KL"]
        axis.loglog(frame["distance"], deviation, "s:", color=colour, label=f"deviation of {estimator}")
    axis.set_xlabel("distance of the logits")
    axis.legend(fontsize=8, frameon=False)
