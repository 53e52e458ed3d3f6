"""Distributions of integrands or scores that are known exactly: the truth for quantiles and histograms.

They are for tests and tables only, like a problem's `exact`: float64 NumPy, and never part of a kernel.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float
from scipy import special

# Results have the shape of the argument.
Numbers = Float[np.ndarray, "..."] | np.float64
Points = ArrayLike | Sequence[float]


def as_exact(value: Any) -> Any:
    """The true value, a pytree, in NumPy float64; None where it is not known."""
    # float64 always: the truth must not be rounded to the precision of what is compared with it.
    return None if value is None else jax.tree.map(lambda v: np.asarray(v, np.float64), value)


@runtime_checkable
class ExactDistribution(Protocol):
    """The distribution of a real Y with a density.

    - `exceedance(x)`: P(Y > x) of every x;
    - `quantile(level)`: inf {y : P(Y > y) <= 1 - level} of every level in (0, 1);
    - `shortfall(level)`: E[Y | Y > quantile(level)] of every level.
    """

    def exceedance(self, x: Points) -> Numbers: ...

    def quantile(self, level: Points) -> Numbers: ...

    def shortfall(self, level: Points) -> Numbers: ...


class ExactNormal(eqx.Module):
    """Y ~ N(loc, scale^2)."""

    loc: Numbers = eqx.field(converter=as_exact)
    scale: Numbers = eqx.field(converter=as_exact)

    def exceedance(self, x: Points) -> Numbers:
        """P(Y > x) = Phi(-z), z = (x - loc) / scale."""
        return special.ndtr((self.loc - np.asarray(x, np.float64)) / self.scale)

    def quantile(self, level: Points) -> Numbers:
        """loc + scale z, z = Phi^-1(level)."""
        return self.loc + self.scale * special.ndtri(np.asarray(level, np.float64))

    def shortfall(self, level: Points) -> Numbers:
        """loc + scale phi(z) / (1 - level), z = Phi^-1(level)."""
        level = np.asarray(level, np.float64)
        z = special.ndtri(level)
        return self.loc + self.scale * np.exp(-0.5 * z * z) / (np.sqrt(2.0 * np.pi) * (1.0 - level))
