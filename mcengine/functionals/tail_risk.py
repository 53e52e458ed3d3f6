"""Quantiles (value at risk) and expected shortfall from weighted losses."""

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, PyTree

from mcengine.functionals.protocol import Functional, WeightedSamples, check_scalar, pick_output
from mcengine.inference.tail_risk import RiskEstimate, risk_of_arrays
from mcengine.problems.protocol import Problem


def _as_levels(levels: float | tuple[float, ...] | list[float] | np.ndarray) -> tuple[float, ...]:
    return tuple(float(level) for level in np.ravel(levels))


class TailRisk(Functional):
    """Quantile and expected shortfall of the integrand's value, a loss, at each level.

    With P(L > t) estimated by mean(w 1{L > t}):

    - quantile at level a: v = inf {t : P(L > t) <= 1 - a}, right for ties and discrete losses;
    - expected shortfall: v + E[(L - v)+] / (1 - a), the mean beyond v with an atom at v split as it must be.

    Of a `Probability` the loss is the score; of an `Integral` it is f(X) with X uniform on the box, which must be
    finite. The samples' losses and weights are kept (16 bytes each), so memory limits the sample count.

    **Arguments:**

    - `levels`: each strictly between 0 and 1, as in `[0.99, 0.999]`.
    - `output`: the entry of what the integrand returns (a key, an index) that is the loss, where it returns several.

    **Returns** (from `estimate`): a `RiskEstimate`. Intervals: Woodruff's for the quantile, which inverts the interval
    of P(L > v); Student-t over units for the shortfall, whose derivative along v is 0.

    Sources: Woodruff (1952); Rockafellar and Uryasev (2002); Glynn (1996).
    """

    sees_score = True
    keeps_samples = True

    levels: tuple[float, ...] = eqx.field(static=True, converter=_as_levels)
    output: str | int | tuple[int, ...] | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if not self.levels or not all(0 < a < 1 for a in self.levels):
            raise ValueError(f"TailRisk: levels must lie strictly between 0 and 1, got {self.levels}.")

    def columns(self, value: PyTree) -> tuple[Float[Array, ""], None]:
        """(the loss, None)."""
        loss = pick_output(value, self.output, "TailRisk")
        check_scalar(loss, "TailRisk: the integrand must return one number, the loss, or `output` pick one")
        return loss, None

    def finish_samples(self, samples: WeightedSamples) -> RiskEstimate:
        """Quantiles and shortfalls at every level."""
        return risk_of_arrays(
            samples.log_weights, samples.values, self.levels, samples.weighting, unit_size=samples.unit_size
        )

    def exact(self, problem: Problem) -> PyTree:
        """Quantiles and shortfalls of the loss's exact distribution."""
        if problem.exact_law is None or self.output is not None:
            return None
        levels = np.asarray(self.levels)
        return {"quantile": problem.exact_law.quantile(levels), "shortfall": problem.exact_law.shortfall(levels)}
