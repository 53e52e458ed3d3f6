"""Probabilities of bins, from the same samples."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.distributions import as_parameter
from mcengine.distributions.univariate import concrete


class Histogram(eqx.Module):
    """P(edges_i <= f(X) < edges_{i+1}) for every bin, or the density: the mean of an indicator for each.

    The last bin holds its upper edge. What lies outside is in none: the bins sum to P(edges_0 <= f <= edges_B).

    **Arguments:** `edges`, increasing, at least two; `density`, divide by the bins' widths.

    **Raises:** `ValueError` for edges that do not increase.
    """

    edges: Float[Array, " edges"] = eqx.field(converter=as_parameter)
    density: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        known = concrete(self.edges)
        if self.edges.ndim != 1 or self.edges.shape[0] < 2 or (known is not None and not np.all(np.diff(known) > 0)):
            raise ValueError(f"Histogram: edges must be at least two increasing numbers, got {self.edges}.")

    def of(self, integrand: Callable[[Any], Float[Array, ""]]) -> "Binned":
        """The integrand whose mean is the histogram of another's value."""
        return Binned(integrand, self)


class Binned(eqx.Module):
    """f(x) as the indicators of its bins, [B]."""

    integrand: Callable[[Any], Float[Array, ""]]
    histogram: Histogram

    def __call__(self, x: Any) -> Float[Array, " bins"]:
        value = jnp.asarray(self.integrand(x), self.histogram.edges.dtype)
        if value.shape != ():
            raise ValueError(f"Histogram: the integrand must be a scalar, got shape {value.shape}.")
        lower, upper = self.histogram.edges[:-1], self.histogram.edges[1:]
        below = (value < upper) | ((value == upper) & (jnp.arange(len(upper)) == len(upper) - 1))
        inside = jnp.where((value >= lower) & below, 1.0, 0.0).astype(value.dtype)
        share = inside / (upper - lower) if self.histogram.density else inside
        return jnp.where(jnp.isnan(value), jnp.nan, share)
