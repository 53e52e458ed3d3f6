"""Genz's product peak family: a product of Cauchy peaks on the unit cube."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.integrals.genz.family import genz_integral
from mcengine.integrals.genz.parameters import PerAxis, genz_parameters
from mcengine.numerics.values import Scalar, as_parameter
from mcengine.problems.integral import Integral


class GenzProductPeak(eqx.Module):
    """f(x) = prod_i 1 / (a_i^-2 + (x_i - u_i)^2), a the difficulties, u the positions, each [d]."""

    difficulties: Float[Array, " dim"] = eqx.field(converter=as_parameter)
    positions: Float[Array, " dim"] = eqx.field(converter=as_parameter)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        return 1.0 / jnp.prod(self.difficulties**-2 + (x - self.positions) ** 2)


def genz_product_peak(
    dim: Scalar = 5,
    total_difficulty: Scalar | None = None,
    difficulties: PerAxis | None = None,
    positions: PerAxis | None = None,
    *,
    seed: int | None = None,
) -> Integral:
    """int over [0, 1]^dim of prod 1 / (a^-2 + (x - u)^2) = `genz_product_peak_volume`.

    **Arguments and errors:** as in `genz_parameters`; by default the difficulties sum to 7.25.
    """
    a, u = genz_parameters("product_peak", dim, total_difficulty, difficulties, positions=positions, seed=seed)
    return genz_integral(GenzProductPeak, genz_product_peak_volume, a, u)


def genz_product_peak_volume(difficulties: PerAxis, positions: PerAxis) -> float:
    """prod_i a_i [atan(a_i (1 - u_i)) + atan(a_i u_i)]."""
    a, u = np.asarray(difficulties, np.float64), np.asarray(positions, np.float64)
    return float(np.prod(a * (np.arctan(a * (1 - u)) + np.arctan(a * u))))
