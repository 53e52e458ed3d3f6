"""Ratios of two expectations under one set of samples."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from mcengine import numerics
from mcengine.functionals.protocol import Functional, check_scalar, pick_output
from mcengine.problems.integral import volume_of
from mcengine.problems.protocol import Problem


class Ratio(Functional):
    """E_p[f] / E_p[g] = mean(w f) / mean(w g), with an error bar by the delta method over units; biased by O(1/n).

    var = sum (r - mean(r))^2 / (n (n - 1) mean(w g)^2), r = w f - R w g, of n units. `Ratio()` has g = 1: the
    self-normalised mean, for densities known up to a constant. A denominator within five of its own standard errors of
    0 has the status WEAK_DENOMINATOR: the delta method does not hold there, and near 0 / 0 no finite interval exists
    (Fieller 1954).

    **Arguments:**

    - `numerator` f: an entry of what the integrand returns (a key, an index); all of it by default.
    - `denominator` g: such an entry, one number; 1 by default.

    Source: Owen, Monte Carlo theory, methods and examples, equation (2.30).
    """

    numerator: str | int | tuple[int, ...] | None = eqx.field(static=True, default=None)
    denominator: str | int | tuple[int, ...] | None = eqx.field(static=True, default=None)

    def columns(self, value: PyTree) -> tuple[PyTree, Float[Array, ""]]:
        """(numerators, denominator)."""
        below = 1.0 if self.denominator is None else pick_output(value, self.denominator, "Ratio")
        check_scalar(below, "Ratio: the denominator must be one number")
        below = jnp.asarray(below, numerics.float_dtype())
        return pick_output(value, self.numerator, "Ratio"), below

    def exact(self, problem: Problem) -> PyTree:
        """From the problem's exact values, with E[1] = 1, or an integral's volume."""
        if problem.exact is None:
            return None
        whole = volume_of(problem.target)
        below = whole if self.denominator is None else pick_output(problem.exact, self.denominator, "Ratio")
        return jax.tree.map(lambda above: above / below, pick_output(problem.exact, self.numerator, "Ratio"))
