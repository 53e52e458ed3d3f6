"""All estimators of one log side by side, and a recommendation."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mcengine.engine.from_samples import estimate_from
from mcengine.inference.estimate import Estimate
from mcengine.inference.status import Status
from mcengine.rl.ope.action_values import ActionValues, can_be_fitted, fitted_q
from mcengine.rl.ope.doubly_robust import direct_method, doubly_robust, weighted_doubly_robust
from mcengine.rl.ope.importance_sampling import (
    importance_sampling,
    per_decision,
    weighted_importance_sampling,
    weighted_per_decision,
)
from mcengine.rl.ope.logs import Log, TrajectoryLog, as_trajectories
from mcengine.rl.ope.magic import magic
from mcengine.rl.ope.marginalised import marginalised
from mcengine.rl.ope.policy_value import OF_WEIGHTS
from mcengine.rl.ope.switch import shrunk_doubly_robust, switch

# An error bar that is shorter by a smaller factor may be so by chance: the estimator that assumes less is preferred.
CLEARLY_SHORTER = 0.95
# The error bars of these contain those of DR or WDR, so they are never shorter.
NEVER_SHORTER = ("DM", "MAGIC")
# Behaviour probabilities count as wrong if the mean weight is more than so many standard errors from 1, which happens
# by chance for 1 log in 15,000.
WRONG_WEIGHTS = 4.0
ROUNDING = 1e-6


class Recommendation(NamedTuple):
    """The `name` of the estimator to use (None if none is reliable), and the `reason`."""

    name: str | None
    reason: str


class Estimates(dict[str, Estimate]):
    """Estimates by the short names of their estimators."""

    def __missing__(self, name: str) -> Estimate:
        if name == "MIS" and "MARG" in self:
            warnings.warn(
                'The estimate "MIS" is now "MARG" (marginalised importance sampling); the old name goes away with the '
                "next release.",
                DeprecationWarning,
                stacklevel=2,
            )
            return self["MARG"]
        raise KeyError(name)


def estimate_all(log: Log, model: ActionValues | None = None) -> Estimates:
    """The estimates of every estimator that the log has the columns for, in the order of how much they assume.

    - IS and WIS; for several steps also PDIS and WPDIS.
    - With a model (given, or `fitted_q` if the log has states, actions and target_probabilities): DR and WDR; SWITCH
      and DRos for one step, or MAGIC for several; DM.
    - With states and several steps: MARG.

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
        methods |= {"MARG": marginalised}
    return Estimates({name: method(log) for name, method in methods.items()})


def recommend(log: Log, estimates: dict[str, Estimate]) -> Recommendation:
    """The estimator with status ok whose error bar is clearly the shortest, and the reason in a sentence.

    No estimator is recommended if all are flagged, or if the mean weight shows that the behaviour probabilities are
    wrong, since every estimator uses them.
    """
    weights = mean_weight(log)
    error = np.nan_to_num(weights.std_error)
    if abs(weights.value - 1.0) > WRONG_WEIGHTS * error + ROUNDING and weights.status not in OF_WEIGHTS:
        return Recommendation(
            None,
            f"the mean weight is {weights.value:.4g} +- {error:.2g} and should be 1: the behaviour probabilities are "
            "not those of the policy that made the log.",
        )
    usable = {name: estimate for name, estimate in estimates.items() if estimate.status == Status.OK}
    if not usable:
        return Recommendation(None, _reason_against_all(estimates, weights))
    best = next(iter(usable))
    for name, estimate in usable.items():
        if name not in NEVER_SHORTER and estimate.std_error < CLEARLY_SHORTER * usable[best].std_error:
            best = name
    return Recommendation(best, _reason_for(best, usable, len(estimates)))


def mean_weight(log: Log) -> Estimate:
    """The mean weight of whole trajectories, whose expectation is 1, with the diagnostics of the weights."""
    log_weights = as_trajectories(log).log_weights[:, -1]
    return estimate_from(log_weights, np.ones(len(log_weights)))


def _reason_for(best: str, usable: dict[str, Estimate], num_all: int) -> str:
    error = usable[best].std_error
    others = {name: float(e.std_error) for name, e in usable.items() if name != best and name not in NEVER_SHORTER}
    reason = f"its status is ok, as is that of {len(usable)} of {num_all} estimators, and its error bar is {error:.3g}"
    if others:
        rival = min(others, key=lambda name: others[name])
        close = "" if others[rival] >= error else ", which assumes more for little gain"
        reason += f"; the shortest of the others' is {others[rival]:.3g} ({rival}{close})"
    return reason + "."


def _reason_against_all(estimates: dict[str, Estimate], weights: Estimate) -> str:
    name, least = min(estimates.items(), key=lambda item: int(item[1].status_code))
    if weights.status not in OF_WEIGHTS:
        return (
            f"every estimator is flagged, though the weights are not; the least severe is {name}: "
            f"{least.status.sentence} The rewards are too rare or too uneven for a log of {int(weights.num_samples):,}."
        )
    return (
        f"every estimator is flagged; the least severe is {name}: {least.status.sentence} The weights have ESS "
        f"{weights.ess:.3g} of {int(weights.num_samples):,}, and the largest has {weights.max_weight_share:.0%} of "
        "their sum: collect data with a policy closer to the target, or evaluate a target closer to the data."
    )
