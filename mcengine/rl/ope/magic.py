"""MAGIC: a weighted mean of partial WDR returns of every length, by their estimated mean square errors."""

import numpy as np
from jaxtyping import Float

from mcengine.rl.ope.action_values import ActionValues, action_values_of
from mcengine.rl.ope.doubly_robust import Corrections, value_against_reference
from mcengine.rl.ope.logs import Log, as_trajectories
from mcengine.rl.ope.policy_value import PolicyValue, without_numpy_warnings


@without_numpy_warnings
def magic(
    log: Log, model: ActionValues | None = None, *, level: float = 0.5, num_bootstrap: int = 200, seed: int = 0
) -> PolicyValue:
    """MAGIC: sum_j x_j g_j, g_j = mean(V_0) + sum_{t <= j} discount^t D_t, D_t the corrections of WDR at step t.

    g_{-1} is the model's value (DM) and g_{T-1} is WDR. The weights x >= 0 with sum 1 minimise x'(Omega + b b')x, where
    Omega is the covariance of the g_j over trajectories and b_j the distance of g_j from the bootstrap interval of WDR.
    The error bar combines in quadrature that of WDR and the distance from it, for the reason given in `direct_method`;
    the status is BIASED if that distance is larger than chance explains.

    **Arguments:**

    - `model` as in `doubly_robust`.
    - `level`: that of the bootstrap interval; the higher, the more weight the model has.
    - `num_bootstrap`: resamples of the log, at least 20, from NumPy's generator with this `seed`.

    **Raises:** `ValueError` for numbers out of range; and as `doubly_robust`.

    **Source:** P. Thomas and E. Brunskill (2016), Data-efficient off-policy policy evaluation, section 6 and
    algorithm 1.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"magic: level must lie strictly between 0 and 1, got {level}.")
    if num_bootstrap < 20:
        raise ValueError(f"magic: num_bootstrap must be at least 20, got {num_bootstrap}.")
    log = as_trajectories(log)
    model = action_values_of(log, model)
    corrections = Corrections.of(log, model)
    terms = np.concatenate([model.v[:, :1], corrections.terms() * log.discounts], axis=-1)
    # Row i, column j: the contribution of trajectory i to g_{j-1}.
    lengths = np.cumsum(terms, axis=-1)
    returns = lengths.mean(axis=0)
    resampled = _bootstrap(model.v[:, 0], corrections, log.discounts, num_bootstrap, np.random.default_rng(seed))
    low, high = np.quantile(resampled, [0.5 - 0.5 * level, 0.5 + 0.5 * level])
    distance = np.maximum(low - returns, 0.0) - np.maximum(returns - high, 0.0)
    # One trajectory has no covariance, and its bootstrap interval is WDR itself.
    covariance = np.atleast_2d(np.cov(lengths, rowvar=False)) / log.num_units if log.num_units > 1 else 0.0
    blend = simplex_minimum(covariance + np.outer(distance, distance))
    return value_against_reference(lengths @ blend, lengths[:, -1], log, model)


def _bootstrap(
    start_values: Float[np.ndarray, " n"],
    corrections: Corrections,
    discounts: Float[np.ndarray, " steps"],
    count: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, " count"]:
    """WDR of `count` bootstrap resamples of the trajectories; weights are normalised in each resample."""
    n = len(start_values)
    weighted = corrections.weights * corrections.deltas
    values = np.empty(count)
    for i in range(count):
        times = generator.multinomial(n, np.full(n, 1.0 / n)).astype(np.float64)
        total = times @ corrections.weights
        ratios = np.divide(times @ weighted, total, out=np.zeros_like(total), where=total > 0)
        values[i] = times @ start_values / n + discounts @ ratios
    return values


def simplex_minimum(matrix: Float[np.ndarray, "k k"]) -> Float[np.ndarray, " k"]:
    """The x >= 0 with sum 1 that minimises x' matrix x; (0, .., 0, 1) if the matrix is 0.

    By non-negative least squares: for any scale, the minimiser of x' matrix x + scale (sum x - 1)^2 is a multiple of x.
    """
    from scipy.optimize import nnls  # takes 0.2 s to import, which `import mcengine` avoids

    scale = np.trace(matrix) / len(matrix)
    if not scale > 0:
        return np.eye(len(matrix))[-1]
    values, vectors = np.linalg.eigh(matrix / scale)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))).T
    x = nnls(np.vstack([root, np.ones(len(matrix))]), np.append(np.zeros(len(matrix)), 1.0))[0]
    return x / x.sum()
