"""A proposal that goes where an integrand with one known peak is high."""

from mcengine.distributions import Distribution, Mixture, Normal, Truncated
from mcengine.numerics.values import as_parameter
from mcengine.problems.integral import Integral


def peak_proposal(problem: Integral, width=1.0, uniform_share=0.0) -> Distribution:
    """Normal coordinates at the integrand's peak, truncated to the limits; uniform with probability `uniform_share`.

    Standard deviations are `width` times the peak's own. With `uniform_share` = 0 and a narrow `width` the weights are
    unbounded where f does not vanish as fast as the proposal: the k-hat of the result shows it.

    **Arguments:** `problem`, an `Integral` whose integrand has `centre` and `spread`; `width` > 0; `uniform_share` in
    [0, 1].

    **Raises:** `TypeError` for an integrand that does not tell its peak; `ValueError` for width or share out of range.
    """
    integrand = problem.integrand
    if not (hasattr(integrand, "centre") and hasattr(integrand, "spread")):
        raise TypeError(f"peak_proposal: the integrand {type(integrand).__name__} has no centre and spread.")
    scale = as_parameter(width) * integrand.spread
    peak = Truncated(Normal(integrand.centre, scale), problem.lower, problem.upper)
    if isinstance(uniform_share, int | float) and uniform_share == 0:
        return peak
    return Mixture([problem.plain, peak], [uniform_share, 1.0 - uniform_share])
