"""Genz's continuous (C0) family: a product of two-sided exponential peaks, with a kink along every axis."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.integrals.genz.family import genz_integral
from mcengine.integrals.genz.parameters import PerAxis, genz_parameters
from mcengine.numerics.values import Scalar, as_parameter
from mcengine.problems.integral import Integral


class GenzContinuous(eqx.Module):
    """f(x) = exp(-sum_i a_i |x_i - u_i|), a the difficulties, u the positions, each [d]."""

    difficulties: Float[Array, " dim"] = eqx.field(converter=as_parameter)
    positions: Float[Array, " dim"] = eqx.field(converter=as_parameter)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        return jnp.exp(-jnp.sum(self.difficulties * jnp.abs(x - self.positions)))


def genz_continuous(
    dim: Scalar = 5,
    total_difficulty: Scalar | None = None,
    difficulties: PerAxis | None = None,
    positions: PerAxis | None = None,
    *,
    seed: int | None = None,
) -> Integral:
    """int over [0, 1]^dim of exp(-sum a |x - u|) = `genz_continuous_volume`.

    **Arguments and errors:** as in `genz_parameters`; by default the difficulties sum to 20.4.
    """
    a, u = genz_parameters("continuous", dim, total_difficulty, difficulties, positions=positions, seed=seed)
    return genz_integral(GenzContinuous, genz_continuous_volume, a, u)


def genz_continuous_volume(difficulties: PerAxis, positions: PerAxis) -> float:
    """prod_i (2 - e^(-a_i u_i) - e^(-a_i (1 - u_i))) / a_i, for u inside or outside [0, 1]."""
    a, u = np.asarray(difficulties, np.float64), np.asarray(positions, np.float64)

    def from_peak(y: Float[np.ndarray, " dim"]) -> Float[np.ndarray, " dim"]:
        """int_0^y e^(-a |s|) ds."""
        return -np.sign(y) * np.expm1(-a * np.abs(y)) / a

    return float(np.prod(from_peak(u) + from_peak(1 - u)))
