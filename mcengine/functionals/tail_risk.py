"""Quantiles (value at risk) and expected shortfall from weighted losses.

With P(L > t) estimated by mean(w 1{L > t}):

- quantile at level a: v = inf {t : P(L > t) <= 1 - a}, right for ties and discrete losses;
- expected shortfall: v + E[(L - v)+] / (1 - a), the mean beyond v with an atom at v split as it must be.

Intervals: Woodruff's for the quantile, which turns the interval of P(L > v) round; Student-t over units for the
shortfall, whose derivative along v is 0. Sources: Woodruff (1952); Rockafellar and Uryasev (2002); Glynn (1996).
"""

from typing import Any

import equinox as eqx
import numpy as np

from mcengine.functionals.protocol import check_scalar, picked


class TailRisk(eqx.Module):
    """Quantile and expected shortfall of the integrand's value, a loss, at each level.

    Of a `Probability` the loss is the score; of an `Integral` it is f(X) with X uniform on the box, which must be
    finite.
    The samples' losses and weights are kept (16 bytes each), so the sample count is limited by memory.

    **Arguments:** `levels`, each strictly between 0 and 1, as in `[0.99, 0.999]`; `output`, which entry of what the
    integrand returns is the loss, where it returns several.
    """

    levels: tuple[float, ...] = eqx.field(
        static=True, converter=lambda levels: tuple(float(a) for a in np.ravel(levels))
    )
    output: Any = eqx.field(static=True, default=None)

    def __check_init__(self):
        if not self.levels or not all(0 < a < 1 for a in self.levels):
            raise ValueError(f"TailRisk: levels must lie strictly between 0 and 1, got {self.levels}.")

    @property
    def sees_score(self) -> bool:
        return True

    @property
    def keeps_samples(self) -> bool:
        return True

    def columns(self, value: Any) -> tuple[Any, None]:
        """(the loss, None): see `Functional`."""
        loss = picked(value, self.output, "TailRisk")
        check_scalar(loss, "TailRisk: the integrand must return one number, the loss, or `output` pick one")
        return loss, None

    def value_bound(self, problem: Any) -> float | None:
        """None: losses have none."""
        return None

    def is_indicator(self, problem: Any) -> bool:
        """No: losses are numbers."""
        return False

    def exact(self, problem: Any) -> dict[str, Any] | None:
        """Quantiles and shortfalls of the loss's law; None where the problem does not know it."""
        law = getattr(problem, "exact_law", None)
        if law is None or self.output is not None:
            return None
        levels = np.asarray(self.levels)
        return {"quantile": law.quantile(levels), "shortfall": law.shortfall(levels)}
