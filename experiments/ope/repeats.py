"""Estimators on many logs whose true value is known: one row per estimate, and a summary of the rows."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.ope import digits
from experiments.ope.mdp import MDPLogs, exact_model, joined
from mcengine.rl import ope
from mcengine.rl.ope.logs import Log

OPEN_BANDIT = digits.DATA.parent / "open_bandit"


def rows_of(logs: Iterable[Log], exact: float, model: Callable[[Any], ope.ActionValues] | None = None) -> pd.DataFrame:
    """Every estimator on every log."""
    rows = []
    for number, log in enumerate(logs):
        for name, estimate in ope.estimate_all(log, None if model is None else model(log)).items():
            low, high = estimate.interval()
            rows.append(
                {
                    "log": number, "estimator": name, "value": float(estimate.value),
                    "std_error": float(estimate.std_error), "low": float(low), "high": float(high),
                    "pareto_k": float(estimate.pareto_k), "ess": float(estimate.ess), "status": str(estimate.status),
                    "exact": exact,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def mdp_rows(
    num_logs: int,
    size: int,
    *,
    horizon: int = 20,
    seed: int = 0,
    model: str = "fitted",
    loggers: Sequence[str] = ("behaviour",),
) -> pd.DataFrame:
    """Rows of logs of `size` trajectories, equally many by each of `loggers`.

    `model` is "exact", "shifted" (the exact values plus 0.5) or "fitted".
    """
    each = size // len(loggers)
    drawn = [MDPLogs.draw(horizon, num_logs * each, seed + 1_000_003 * i, policy) for i, policy in enumerate(loggers)]
    models = {"exact": exact_model, "shifted": lambda log: exact_model(log, shift=0.5), "fitted": None}
    return rows_of((joined(drawn, i * each, each) for i in range(num_logs)), drawn[0].exact, models[model])


def digits_rows(num_logs: int, size: int, *, seed: int = 0) -> pd.DataFrame:
    """Rows of logs of `size` images."""
    logs = (digits.draw(size, seed * num_logs + i) for i in range(num_logs))
    return rows_of(logs, digits.digits().exact)


def open_bandit_rows(num_logs: int, size: int, campaign: str, *, seed: int = 0) -> pd.DataFrame:
    """Rows of logs of `size` rounds drawn with replacement from the bts log; the truth is the click rate of `random`.

    That rate has a standard error of about 0.0006, and resampled logs contain no weights that the log does not have.
    """
    sample, clicks = ope.read_open_bandit(OPEN_BANDIT, campaign)
    whole, generator = sample.trajectories, np.random.default_rng([seed, size])

    def log() -> ope.BanditLog:
        rows = generator.integers(0, whole.num_units, size)
        arrays = whole.actions, whole.rewards, whole.log_behaviour, whole.target_probabilities, whole.states
        actions, rewards, log_behaviour, probabilities, contexts = (np.asarray(array)[rows, 0] for array in arrays)
        return ope.BanditLog(actions, rewards, log_behaviour, target_probabilities=probabilities, contexts=contexts)

    return rows_of((log() for _ in range(num_logs)), float(np.mean(clicks)))


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per estimator: errors, coverage of the intervals, and how often the status is ok.

    `silent` is the share of logs with status ok and an error of more than four of its standard errors.
    """
    found = []
    for name, of in rows.groupby("estimator", sort=False):
        error, ok = of["value"] - of["exact"], of["status"] == "ok"
        covers = (of["low"] <= of["exact"]) & (of["exact"] <= of["high"])
        found.append(
            {
                "estimator": name, "rmse": np.sqrt(np.mean(error**2)), "bias": error.mean(),
                "bias_error": error.std() / np.sqrt(len(of)), "median_error_bar": of["std_error"].median(),
                "coverage": covers.mean(), "median_k": of["pareto_k"].median(), "ok": ok.mean(),
                "coverage_ok": covers[ok].mean() if ok.any() else np.nan,
                "silent": np.mean(ok & (error.abs() > 4 * of["std_error"])), "logs": len(of),
            }
        )  # fmt: skip
    return pd.DataFrame(found)
