"""Genz's Gaussian family: a product of normal peaks on the unit cube."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.integrals.genz.family import genz_integral
from mcengine.integrals.genz.parameters import PerAxis, genz_parameters
from mcengine.numerics.values import Scalar, as_parameter
from mcengine.problems.integral import Integral


class GenzGaussian(eqx.Module):
    """f(x) = exp(-sum_i a_i^2 (x_i - u_i)^2), a the difficulties, u the positions, each [d]."""

    difficulties: Float[Array, " dim"] = eqx.field(converter=as_parameter)
    positions: Float[Array, " dim"] = eqx.field(converter=as_parameter)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        return jnp.exp(-jnp.sum((self.difficulties * (x - self.positions)) ** 2))

    @property
    def centre(self) -> Float[Array, " dim"]:
        return self.positions

    @property
    def spread(self) -> Float[Array, " dim"]:
        """Standard deviations of the normal distribution with the shape of the peak."""
        return 1.0 / (self.difficulties * np.sqrt(2.0).item())


def genz_gaussian(
    dim: Scalar = 5,
    total_difficulty: Scalar | None = None,
    difficulties: PerAxis | None = None,
    positions: PerAxis | None = None,
    *,
    seed: int | None = None,
) -> Integral:
    """int over [0, 1]^dim of exp(-sum a^2 (x - u)^2) = `genz_gaussian_volume`.

    **Arguments and errors:** as in `genz_parameters`; by default the difficulties sum to 7.03.
    """
    a, u = genz_parameters("gaussian", dim, total_difficulty, difficulties, positions=positions, seed=seed)
    return genz_integral(GenzGaussian, genz_gaussian_volume, a, u)


def genz_gaussian_volume(difficulties: PerAxis, positions: PerAxis) -> float:
    """prod_i sqrt(pi) / (2 a_i) [erf(a_i (1 - u_i)) + erf(a_i u_i)]."""
    from scipy.special import erf

    a, u = np.asarray(difficulties, np.float64), np.asarray(positions, np.float64)
    return float(np.prod(np.sqrt(np.pi) / (2 * a) * (erf(a * (1 - u)) + erf(a * u))))
