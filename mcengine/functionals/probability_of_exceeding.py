"""Exceedance probabilities at several levels, from the same samples."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from mcengine.functionals.protocol import Functional, check_scalar, pick_output
from mcengine.numerics.values import as_parameter, concrete
from mcengine.problems.protocol import Problem


class ProbabilityOfExceeding(Functional):
    """P(f(X) > level) for every level: a point of the exceedance curve each.

    Of a `Probability` it is the exceedance of the score, whatever its threshold; of an `Integral` the volume where f is
    above the level.

    **Arguments:**

    - `levels`: one number or an array [L], in any order, in the units of f.
    - `output`: the entry of what the integrand returns (a key, an index), where it returns several.

    **Returns** (from `estimate`): an `Estimate` with a value for each level, of the shape of `levels`.

    **Raises:** `ValueError` for levels that are NaN or empty, and for an output that is not one number.
    """

    sees_score = True

    levels: Float[Array, "..."] = eqx.field(converter=as_parameter)
    output: str | int | tuple[int, ...] | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        known = concrete(self.levels)
        if not self.levels.size or (known is not None and np.any(np.isnan(known))):
            raise ValueError(f"ProbabilityOfExceeding: levels must be numbers, at least one, got {self.levels}.")

    def columns(self, value: PyTree) -> tuple[Float[Array, "..."], None]:
        """(the indicators of exceeding each level, None)."""
        value = pick_output(value, self.output, "ProbabilityOfExceeding")
        check_scalar(value, "ProbabilityOfExceeding: the integrand must be a scalar, or `output` pick one")
        value = jnp.asarray(value, self.levels.dtype)
        return jnp.where(jnp.isnan(value), jnp.nan, jnp.where(value > self.levels, 1.0, 0.0).astype(value.dtype)), None

    def value_bound(self, problem: Problem) -> float | None:
        """1."""
        return 1.0

    def is_indicator(self, problem: Problem) -> bool:
        """Yes."""
        return True

    def exact(self, problem: Problem) -> np.ndarray | None:
        """From the exact distribution of the score or value."""
        if problem.exact_law is None or self.output is not None:
            return None
        return np.asarray(problem.exact_law.exceedance(np.asarray(self.levels, np.float64)))
