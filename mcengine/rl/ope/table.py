"""All estimators of one log side by side, and which of them to use."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mcengine.engine.from_samples import estimate_from
from mcengine.inference.estimate import Estimate
from mcengine.inference.status import Status
from mcengine.rl.ope.bandit import shrunk_doubly_robust, switch
from mcengine.rl.ope.blended import magic
from mcengine.rl.ope.corrections import direct_method, doubly_robust, weighted_doubly_robust
from mcengine.rl.ope.importance import (
    importance_sampling,
    per_decision,
    weighted_importance_sampling,
    weighted_per_decision,
)
from mcengine.rl.ope.logs import Log, TrajectoryLog, as_trajectories
from mcengine.rl.ope.marginal import marginalised
from mcengine.rl.ope.models import can_be_fitted, fitted_q
from mcengine.rl.ope.policy_value import OF_WEIGHTS

# Below, a shorter error bar is luck or rounding: the estimator that assumes less is preferred.
CLEARLY_SHORTER = 0.95
# Their error bars are those of DR and WDR and more, and so never shorter.
BORROWED = ("DM", "MAGIC")
# Standard errors of the mean weight from 1 at which behaviour probabilities are called wrong: by chance in 1 of 15,000.
WRONG_WEIGHTS = 4.0
ROUNDING = 1e-6


class Recommendation(NamedTuple):
    """Which estimator to use (None where none is to be trusted), and why."""

    name: str | None
    reason: str


def estimate_all(log: Log, model: Any = None) -> dict[str, Estimate]:
    """Every estimator that the log has the columns for, by its short name, in the order of what it assumes.

    IS, WIS, then for trajectories PDIS and WPDIS; with a model (given, or `fitted_q` where the log has states, actions
    and target_probabilities) DR and WDR, SWITCH and DRos for one step or MAGIC for several, and DM; with states MIS.
    Arguments and errors as in `doubly_robust`.
    """
    log = as_trajectories(log)
    methods: dict[str, Callable[[TrajectoryLog], Estimate]] = {
        "IS": importance_sampling,
        "WIS": weighted_importance_sampling,
    }
    several_steps = log.horizon > 1
    if several_steps:
        methods |= {"PDIS": per_decision, "WPDIS": weighted_per_decision}
    if model is not None or can_be_fitted(log):
        model = fitted_q(log) if model is None else model
        with_model = {"DR": doubly_robust, "WDR": weighted_doubly_robust}
        with_model |= {"MAGIC": magic} if several_steps else {"SWITCH": switch, "DRos": shrunk_doubly_robust}
        with_model |= {"DM": direct_method}
        methods |= {name: lambda log, method=method: method(log, model) for name, method in with_model.items()}
    if log.states is not None and several_steps:
        methods |= {"MIS": marginalised}
    return {name: method(log) for name, method in methods.items()}


def recommend(log: Log, estimates: dict[str, Estimate]) -> Recommendation:
    """The estimator with the clearly shortest error bar of those whose status is ok, and the reason in a sentence.

    None where all are flagged, or where the weights' mean says that the behaviour probabilities are wrong: every
    estimator here reads those.
    """
    weights = weights_of(log)
    error = np.nan_to_num(weights.std_error)
    if abs(weights.value - 1.0) > WRONG_WEIGHTS * error + ROUNDING and weights.status not in OF_WEIGHTS:
        return Recommendation(
            None,
            f"the mean weight is {weights.value:.4g} +- {error:.2g} and should be 1: the behaviour probabilities are "
            "not those of the policy that made the log.",
        )
    usable = {name: estimate for name, estimate in estimates.items() if estimate.status == Status.OK}
    if not usable:
        return Recommendation(None, _why_none(estimates, weights))
    best = next(iter(usable))
    for name, estimate in usable.items():
        if name not in BORROWED and estimate.std_error < CLEARLY_SHORTER * usable[best].std_error:
            best = name
    return Recommendation(best, _why(best, usable, len(estimates)))


def weights_of(log: Log) -> Estimate:
    """The mean weight of whole trajectories, whose expectation is 1, and how uneven the weights are."""
    log_weights = as_trajectories(log).log_weights[:, -1]
    return estimate_from(log_weights, np.ones(len(log_weights)))


def _why(best: str, usable: dict[str, Estimate], num_all: int) -> str:
    error = usable[best].std_error
    others = {name: float(e.std_error) for name, e in usable.items() if name != best and name not in BORROWED}
    reason = f"its status is ok, as is that of {len(usable)} of {num_all} estimators, and its error bar is {error:.3g}"
    if others:
        rival = min(others, key=lambda name: others[name])
        close = "" if others[rival] >= error else ", which assumes more for little gain"
        reason += f"; the shortest of the others' is {others[rival]:.3g} ({rival}{close})"
    return reason + "."


def _why_none(estimates: dict[str, Estimate], weights: Estimate) -> str:
    name, least = min(estimates.items(), key=lambda item: int(item[1].status_code))
    if weights.status not in OF_WEIGHTS:
        return (
            f"every estimator is flagged, though the weights are not; the least grave, {name}, says: "
            f"{least.status.sentence} The rewards are too rare or too uneven for a log of {int(weights.num_samples):,}."
        )
    return (
        f"every estimator is flagged; the least grave, {name}, says: {least.status.sentence} The weights have ESS "
        f"{weights.ess:.3g} of {int(weights.num_samples):,}, and the largest has {weights.max_weight_share:.0%} of "
        "all: collect data from a policy nearer to the target, or ask about a target nearer to the data."
    )
