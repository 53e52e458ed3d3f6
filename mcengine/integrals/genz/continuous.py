"""Genz's continuous (C0) family: a product of two-sided exponential peaks, with a kink along every axis."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.integrals.genz.family import genz_integral
from mcengine.numerics.values import as_parameter
from mcengine.problems.integral import Integral


class GenzContinuous(eqx.Module):
    """f(x) = exp(-sum_i a_i |x_i - u_i|), a the difficulties, u the positions, each [d]."""

    difficulties: Float[Array, " dim"] = eqx.field(converter=as_parameter)
    positions: Float[Array, " dim"] = eqx.field(converter=as_parameter)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        return jnp.exp(-jnp.sum(self.difficulties * jnp.abs(x - self.positions)))


def genz_continuous(dim=5, total_difficulty=None, difficulties=None, positions=None, seed=None) -> Integral:
    """int over [0, 1]^dim of exp(-sum a |x - u|) = `genz_continuous_volume`.

    **Arguments and errors:** as in `genz_parameters`; the difficulties sum to 20.4 unless told otherwise.
    """
    choices = total_difficulty, difficulties, positions, seed
    return genz_integral("continuous", GenzContinuous, genz_continuous_volume, dim, *choices)


def genz_continuous_volume(difficulties, positions) -> float:
    """prod_i (2 - e^(-a_i u_i) - e^(-a_i (1 - u_i))) / a_i, for u inside [0, 1] and beyond."""
    a, u = np.asarray(difficulties, np.float64), np.asarray(positions, np.float64)

    def from_peak(y):
        """int_0^y e^(-a |s|) ds."""
        return -np.sign(y) * np.expm1(-a * np.abs(y)) / a

    return float(np.prod(from_peak(u) + from_peak(1 - u)))
