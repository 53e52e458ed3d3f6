"""Ratios of two expectations under one set of samples."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mcengine import numerics
from mcengine.functionals.protocol import check_scalar, picked
from mcengine.problems.integral import Lebesgue


class Ratio(eqx.Module):
    """E_p[f] / E_p[g] = mean(w f) / mean(w g), error bar by the delta method over units; biased by O(1/n).

    var = sum (r - mean(r))^2 / (n (n - 1) mean(w g)^2), r = w f - R w g, of n units. `Ratio()` has g = 1: the
    self-normalised mean, for densities known up to a constant. A denominator within five of its own standard errors of
    0 has the status WEAK_DENOMINATOR: the delta method is then not to be trusted, and near 0 / 0 there is no finite
    interval (Fieller 1954).

    **Arguments:** `numerator` f and `denominator` g, entries of what the integrand returns (a key, an index); f is all
    of it by default. g must be one number.

    Source: Owen, Monte Carlo theory, methods and examples, equation (2.30).
    """

    numerator: Any = eqx.field(static=True, default=None)
    denominator: Any = eqx.field(static=True, default=None)

    @property
    def sees_score(self) -> bool:
        return False

    @property
    def keeps_samples(self) -> bool:
        return False

    def columns(self, value: Any) -> tuple[Any, Any]:
        """(numerators, denominator): see `Functional`."""
        below = 1.0 if self.denominator is None else picked(value, self.denominator, "Ratio")
        check_scalar(below, "Ratio: the denominator must be one number")
        below = jnp.asarray(below, numerics.float_dtype())
        return picked(value, self.numerator, "Ratio"), below

    def value_bound(self, problem: Any) -> float | None:
        """None: a ratio is not bounded by its parts."""
        return None

    def is_indicator(self, problem: Any) -> bool:
        """No: see `value_bound`."""
        return False

    def exact(self, problem: Any) -> Any:
        """From the problem's exact values, with E[1] = 1, or an integral's volume; None where it has none."""
        exact = getattr(problem, "exact", None)
        if exact is None:
            return None
        box = problem.target if isinstance(problem.target, Lebesgue) else None
        whole = 1.0 if box is None else np.prod(np.asarray(box.upper, np.float64) - np.asarray(box.lower, np.float64))
        below = whole if self.denominator is None else picked(exact, self.denominator, "Ratio")
        return jax.tree.map(lambda above: above / below, picked(exact, self.numerator, "Ratio"))
