"""The values of a model at the logged states and actions: given, or from fitted Q evaluation on the log itself."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mcengine.rl.ope.linear_basis import LinearBasis, basis_of
from mcengine.rl.ope.logs import Log, TrajectoryLog, as_trajectories

FOLDS = 5
# The ridge penalty, in observations: each coefficient shrinks as if so many observations of the mean were added.
RIDGE = 1.0


class ActionValues(NamedTuple):
    """The values of a model at every logged step, [n, T] each; [n] for a bandit log.

    - `q`: Q_t(s_t, a_t) of the logged actions.
    - `v`: V_t(s_t) = sum_a pi(a | s_t) Q_t(s_t, a).

    Both are of the return from step t to the horizon, discounted to step t. Error bars treat them as independent of the
    log: fit them to other data, or use `fitted_q`, which cross-fits.
    """

    q: Float[np.ndarray, "n steps"]
    v: Float[np.ndarray, "n steps"]


def action_values_of(log: Log, model: ActionValues | None) -> ActionValues:
    """The model's values, 0 after the end of each trajectory; `fitted_q` of the log if `model` is None.

    **Raises:** `ValueError` for values of another shape than the rewards, and for NaN or infinite values.
    """
    trajectories = as_trajectories(log)
    model = fitted_q(log) if model is None else model
    shape, arrays = trajectories.rewards.shape, []
    for name, array in zip(("q", "v"), model, strict=True):
        array = np.asarray(array, np.float64)
        array = array[:, None] if array.ndim == 1 and shape[1] == 1 else array
        if array.shape != shape:
            raise ValueError(f"ActionValues: {name} must have shape {shape}, as rewards have; got {array.shape}.")
        wrong = np.argwhere(trajectories.mask & ~np.isfinite(array))
        if len(wrong):
            raise ValueError(f"ActionValues: {name} is NaN or infinite at {wrong[0].tolist()}.")
        arrays.append(np.where(trajectories.mask, array, 0.0))
    return ActionValues(*arrays)


def fitted_q(log: Log, *, folds: int = FOLDS, ridge: float = RIDGE, share_steps: bool = True) -> ActionValues:
    """Fitted Q evaluation: backwards in t, a ridge regression of r + discount V_{t+1}(s') on s for each action.

    The model is a table if states are whole numbers, with cells that shrink towards the mean; otherwise it is linear in
    the features, with an intercept. The values of each trajectory come from a fit to the other folds (cross-fitting).
    Without it a flexible model fits the noise of the rewards that it is compared with, and error bars are too short.

    **Arguments:**

    - `log`, with states, actions and target_probabilities.
    - `folds`: at least 2, or 1 for no cross-fitting. Trajectory i is in fold i mod folds, so shuffle logs that are
      sorted by outcome. With fewer trajectories each is a fold of its own; for one trajectory the values are 0.
    - `ridge` > 0: the penalty in observations (features are scaled to mean square 1).
    - `share_steps`: one regression for all steps, which assumes that rewards and transitions do not depend on time, or
      one for each step.

    **Raises:** `ValueError` for a log without these columns, for folds below 1 and a ridge that is not positive.

    **Limits:** a linear model of a nonlinear value is wrong for any amount of data.

    **Source:** H. Le, C. Voloshin, Y. Yue (2019), Batch policy learning under constraints, algorithm 3 (FQE);
    V. Chernozhukov et al. (2018), Double/debiased machine learning, definition 3.1 (cross-fitting).
    """
    log = as_trajectories(log)
    if log.states is None or log.actions is None or log.target_probabilities is None:
        raise ValueError(
            "fitted_q: the log needs states (contexts), actions and target_probabilities; or give q and v."
        )
    if folds < 1:
        raise ValueError(f"fitted_q: folds must be at least 1, got {folds}.")
    if not ridge > 0:
        raise ValueError(f"fitted_q: ridge must be positive, got {ridge}.")
    states = basis_of(log)
    fold_of = np.arange(log.num_units) % folds
    q, v = np.zeros(log.rewards.shape), np.zeros(log.rewards.shape)
    for fold in range(min(folds, log.num_units)):
        held_out = fold_of == fold
        training = ~held_out if folds > 1 else held_out
        fitted = _fit_backwards(log, states, training, ridge, share_steps)
        q[held_out], v[held_out] = (values[held_out] for values in fitted)
    return ActionValues(q, v)


class _Regression:
    """Ridge regressions of many targets on the same rows, one for each action, of deviations from the common mean."""

    def __init__(self, states: LinearBasis, actions: Int[np.ndarray, " rows"], num_actions: int, ridge: float):
        self._rows = [actions == a for a in range(num_actions)]
        self._solvers = [states.at(rows).ridge(ridge) for rows in self._rows]

    def fit(self, targets: Float[np.ndarray, " rows"]) -> tuple[float, Float[np.ndarray, "features actions"]]:
        """(mean, coefficients): the fitted value of action a is mean + phi(s)' coefficients[:, a]."""
        mean = float(targets.mean()) if len(targets) else 0.0
        deviations = targets - mean
        solved = [solve(deviations[rows]) for solve, rows in zip(self._solvers, self._rows, strict=True)]
        return mean, np.stack(solved, axis=-1)


def _fit_backwards(
    log: TrajectoryLog, states: LinearBasis, training: Bool[np.ndarray, " n"], ridge: float, share_steps: bool
) -> tuple[Float[np.ndarray, "n steps"], Float[np.ndarray, "n steps"]]:
    """(Q_t, V_t) at every logged step, from a fit to the trajectories of `training`."""
    actions = np.where(log.mask, np.asarray(log.actions), 0)
    probabilities = np.asarray(log.target_probabilities)
    last = log.horizon - 1
    seen, step = log.mask & training[:, None], np.broadcast_to(np.arange(log.horizon), log.mask.shape)
    q, v = np.zeros(log.rewards.shape), np.zeros(log.rewards.shape)
    next_value = np.zeros(log.rewards.shape)
    regression = None
    for t in reversed(range(log.horizon)):
        # The value after the last step is 0 for that step but unknown for the shared regression of earlier steps.
        rows = seen & (((step < last) | (t == last)) if share_steps else (step == t))
        if regression is None or not share_steps or t == last - 1:
            regression = _Regression(states.at(rows), actions[rows], probabilities.shape[-1], ridge)
        mean, coefficients = regression.fit((log.rewards + log.discount * next_value)[rows])
        values = mean + states.values(coefficients)
        state_values = np.where(log.mask, np.sum(probabilities * values, axis=-1), 0.0)
        q[:, t] = np.take_along_axis(values[:, t], actions[:, t, None], axis=-1)[:, 0]
        v[:, t] = state_values[:, t]
        next_value = np.concatenate([state_values[:, 1:], np.zeros((log.num_units, 1))], axis=-1)
    return np.where(log.mask, q, 0.0), v


def can_be_fitted(log: Log) -> bool:
    """Whether the log has the columns that `fitted_q` needs."""
    log = as_trajectories(log)
    return log.states is not None and log.actions is not None and log.target_probabilities is not None
