"""MAGIC: a blend of model and weighted returns of every length, by what each is seen to lose."""

from typing import Any

import numpy as np
from jaxtyping import Float

from mcengine.rl.ope.corrections import Corrections, judged_by
from mcengine.rl.ope.logs import Log, as_trajectories
from mcengine.rl.ope.models import checked_values
from mcengine.rl.ope.policy_value import PolicyValue, met_with_a_status


@met_with_a_status
def magic(log: Log, model: Any = None, *, level: float = 0.5, num_bootstrap: int = 200, seed: int = 0) -> PolicyValue:
    """MAGIC: sum_j x_j g_j, g_j = mean(V_0) + sum_{t <= j} discount^t D_t, D_t the corrections of WDR at step t.

    g_{-1} is the model's value (DM) and g_{T-1} is WDR. The weights x >= 0 of sum 1 minimise x'(Omega + b b')x: Omega
    is the covariance of the g_j over trajectories, and b_j is the distance of g_j from the bootstrap interval of WDR.
    The error bar is that of WDR and the distance from it in quadrature, for the reason given in `direct_method`; the
    status is BIASED where that distance is more than chance.

    **Arguments:** `level` of the bootstrap interval: the wider, the more the model is trusted; `num_bootstrap`
    resamples from NumPy's generator seeded with `seed`; `model` as in `doubly_robust`.

    **Raises:** `ValueError` for a level outside (0, 1) or fewer than 20 resamples; and as `doubly_robust`.

    Source: P. Thomas and E. Brunskill (2016), Data-efficient off-policy policy evaluation, section 6 and algorithm 1.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"magic: level must lie strictly between 0 and 1, got {level}.")
    if num_bootstrap < 20:
        raise ValueError(f"magic: num_bootstrap must be at least 20, got {num_bootstrap}.")
    log = as_trajectories(log)
    model = checked_values(log, model)
    corrections = Corrections.of(log, model)
    terms = np.concatenate([model.v[:, :1], corrections.terms() * log.discounts], axis=-1)
    # Column j: what trajectory i contributes to g_{j-1}.
    lengths = np.cumsum(terms, axis=-1)
    returns = lengths.mean(axis=0)
    resampled = _bootstrap(model.v[:, 0], corrections, log.discounts, num_bootstrap, np.random.default_rng(seed))
    low, high = np.quantile(resampled, [0.5 - 0.5 * level, 0.5 + 0.5 * level])
    distance = np.maximum(low - returns, 0.0) - np.maximum(returns - high, 0.0)
    # Of one trajectory there is none, and no bootstrap interval but WDR.
    covariance = np.atleast_2d(np.cov(lengths, rowvar=False)) / log.num_units if log.num_units > 1 else 0.0
    blend = simplex_minimum(covariance + np.outer(distance, distance))
    return judged_by(lengths @ blend, lengths[:, -1], log, model)


def _bootstrap(
    start_values: Float[np.ndarray, " n"], corrections: Corrections, discounts: Any, count: int, generator: Any
) -> Float[np.ndarray, " count"]:
    """WDR of resampled trajectories, normalised anew in each."""
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
    """The x >= 0 of sum 1 that makes x' matrix x least; the last corner where the matrix is 0.

    By non-negative least squares: the least of x' matrix x + scale (sum x - 1)^2 is a multiple of it, whatever the
    scale.
    """
    from scipy.optimize import nnls  # 0.2 s, which `import mcengine` need not pay

    scale = np.trace(matrix) / len(matrix)
    if not scale > 0:
        return np.eye(len(matrix))[-1]
    values, vectors = np.linalg.eigh(matrix / scale)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))).T
    x = nnls(np.vstack([root, np.ones(len(matrix))]), np.append(np.zeros(len(matrix)), 1.0))[0]
    return x / x.sum()
