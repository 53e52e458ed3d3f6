"""Maximum-likelihood Student-t for returns."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

MIN_RETURNS = 50
# Below 1 the mean return is infinite; above 200 a sample of daily returns cannot distinguish t from normal.
DF_RANGE = (1.0, 200.0)


class StudentFit(NamedTuple):
    """Degrees of freedom, location and scale (not the standard deviation), with the log-likelihood reached."""

    df: float
    loc: float
    scale: float
    log_likelihood: float


def fit_student(returns: Float[np.ndarray, " n"]) -> StudentFit:
    """argmax over (df, loc, scale) of sum_i log t_df((r_i - loc) / scale) / scale, in float64.

    Quasi-Newton on (log df, loc, log scale) after standardising by median and quartiles, with the analytic gradient.
    The degrees of freedom are restricted to [1, 200].

    **Arguments:** `returns` [n], at least 50, finite.

    **Returns:** a `StudentFit`.

    **Raises:** `ValueError` for fewer returns, for values that are not finite, and if half of them are equal.

    Fails silently if returns are dependent: the likelihood is that of independent days. Real volatility changes over
    time, which makes the fitted tail of one day heavier, and the model misses that large losses cluster.
    """
    from scipy.optimize import minimize
    from scipy.special import digamma, gammaln

    r = np.asarray(returns, dtype=np.float64)
    if r.ndim != 1 or r.size < MIN_RETURNS:
        raise ValueError(f"fit_student: at least {MIN_RETURNS} returns are needed, got an array of shape {r.shape}.")
    if not np.isfinite(r).all():
        i = int(np.argmin(np.isfinite(r)))
        raise ValueError(f"fit_student: return {i} is {r[i]}; all must be finite.")
    low, centre, high = np.quantile(r, (0.25, 0.5, 0.75))
    if not high > low:
        raise ValueError(f"fit_student: half of the returns are equal to {centre}; such prices have no scale to fit.")
    unit = (high - low) / 2
    y = (r - centre) / unit

    def loss(theta: Float[np.ndarray, "3"]) -> tuple[float, Float[np.ndarray, "3"]]:
        """(-mean log-likelihood, its gradient) at theta = (log df, loc, log scale)."""
        df, loc, scale = np.exp(theta[0]), theta[1], np.exp(theta[2])
        z = (y - loc) / scale
        q = z * z / df
        tail = (df + 1) / 2
        norm = gammaln(tail) - gammaln(df / 2) - np.log(np.pi * df) / 2 - theta[2]
        value = norm - tail * np.mean(np.log1p(q))
        # w is the weight of a return in the EM algorithm: returns far from the centre have small weights.
        w = (df + 1) / (df + z * z)
        d_df = 0.5 * (digamma(tail) - digamma(df / 2) - 1 / df - np.mean(np.log1p(q)) + np.mean(w * z * z) / df)
        gradient = np.array([df * d_df, np.mean(w * z) / scale, np.mean(w * z * z) - 1.0])
        return -value, -gradient

    bounds = [tuple(np.log(DF_RANGE)), (None, None), (None, None)]
    start = np.array([np.log(5.0), 0.0, 0.0])
    # Both tolerances are at rounding; L-BFGS-B stops on relative progress first.
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-16, "gtol": 1e-10})
    log_df, loc, log_scale = found.x
    likelihood = -r.size * (float(found.fun) + float(np.log(unit)))
    return StudentFit(float(np.exp(log_df)), float(centre + unit * loc), float(unit * np.exp(log_scale)), likelihood)
