"""Probabilities of bins, from the same samples."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from mcengine.functionals.protocol import Functional, check_scalar, pick_output
from mcengine.numerics.values import as_parameter, concrete
from mcengine.problems.protocol import Problem


class Histogram(Functional):
    """P(edges_i <= f(X) < edges_{i+1}) for every bin, or the density: the mean of an indicator for each.

    The last bin includes its upper edge. Values outside are in no bin: the bins sum to P(edges_0 <= f <= edges_B). Of a
    `Probability` it is the score's histogram, of an `Integral` the volume where f lies in each bin.

    **Arguments:**

    - `edges`: at least two increasing numbers, [B + 1].
    - `density`: divide by the widths of the bins.
    - `output`: the entry of what the integrand returns (a key, an index), where it returns several.

    **Raises:** `ValueError` for edges that do not increase, and for an output that is not one number.
    """

    sees_score = True

    edges: Float[Array, " edges"] = eqx.field(converter=as_parameter)
    density: bool = eqx.field(static=True, default=False)
    output: str | int | tuple[int, ...] | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        known = concrete(self.edges)
        if self.edges.ndim != 1 or self.edges.shape[0] < 2 or (known is not None and not np.all(np.diff(known) > 0)):
            raise ValueError(f"Histogram: edges must be at least two increasing numbers, got {self.edges}.")

    def columns(self, value: PyTree) -> tuple[Float[Array, " bins"], None]:
        """(the indicators of the bins, None)."""
        value = pick_output(value, self.output, "Histogram")
        check_scalar(value, "Histogram: the integrand must be a scalar")
        value = jnp.asarray(value, self.edges.dtype)
        lower, upper = self.edges[:-1], self.edges[1:]
        below = (value < upper) | ((value == upper) & (jnp.arange(len(upper)) == len(upper) - 1))
        inside = jnp.where((value >= lower) & below, 1.0, 0.0).astype(value.dtype)
        share = inside / (upper - lower) if self.density else inside
        return jnp.where(jnp.isnan(value), jnp.nan, share), None

    def value_bound(self, problem: Problem) -> float | None:
        """1, unless it is a density."""
        return None if self.density else 1.0

    def is_indicator(self, problem: Problem) -> bool:
        """Yes, unless it is a density."""
        return not self.density

    def exact(self, problem: Problem) -> np.ndarray | None:
        """From the exact distribution of what is binned."""
        if problem.exact_law is None or self.output is not None:
            return None
        edges = np.asarray(self.edges, np.float64)
        share = -np.diff(problem.exact_law.exceedance(edges))
        return share / np.diff(edges) if self.density else share
