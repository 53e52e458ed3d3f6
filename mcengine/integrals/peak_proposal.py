"""A proposal for an integrand with one known peak."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from mcengine.distributions import Distribution, Mixture, Normal, Truncated
from mcengine.numerics.values import Scalar, as_parameter
from mcengine.problems.integral import Integral


@runtime_checkable
class Peaked(Protocol):
    """An integrand with one peak: where it is, and the standard deviations of a normal distribution of its shape."""

    @property
    def centre(self) -> Float[Array, "..."]: ...

    @property
    def spread(self) -> Float[Array, "..."]: ...


def peak_proposal(problem: Integral, width: Scalar = 1.0, uniform_share: Scalar = 0.0) -> Distribution:
    """Normal coordinates at the integrand's peak, truncated to the limits; uniform with probability `uniform_share`.

    **Arguments:** `problem`, an `Integral` whose integrand is `Peaked`; `width` > 0, the standard deviations over those
    of the peak; `uniform_share` in [0, 1].

    **Raises:** `TypeError` for an integrand without `centre` and `spread`; `ValueError` for a width or share out of
    range.

    With `uniform_share` = 0 the weights are unbounded where f falls more slowly than the proposal; k-hat shows it.
    """
    integrand = problem.integrand
    if not isinstance(integrand, Peaked):
        raise TypeError(f"peak_proposal: the integrand {type(integrand).__name__} has no centre and spread.")
    scale = as_parameter(width) * integrand.spread
    peak = Truncated(Normal(integrand.centre, scale), problem.lower, problem.upper)
    if isinstance(uniform_share, int | float) and uniform_share == 0:
        return peak
    return Mixture([problem.plain, peak], [uniform_share, 1.0 - uniform_share])
