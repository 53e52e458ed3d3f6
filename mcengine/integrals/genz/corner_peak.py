"""Genz's corner peak family: highest at the origin, falling towards the opposite corner."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.integrals.genz.family import genz_integral
from mcengine.integrals.genz.parameters import PerAxis, genz_parameters
from mcengine.numerics.values import Scalar, as_parameter
from mcengine.problems.integral import Integral


class GenzCornerPeak(eqx.Module):
    """f(x) = (1 + sum_i a_i x_i)^-(d + 1), a the difficulties [d]; the positions are not used."""

    difficulties: Float[Array, " dim"] = eqx.field(converter=as_parameter)
    positions: Float[Array, " dim"] = eqx.field(converter=as_parameter)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        return (1.0 + jnp.sum(self.difficulties * x)) ** -(x.shape[0] + 1)


def genz_corner_peak(
    dim: Scalar = 5,
    total_difficulty: Scalar | None = None,
    difficulties: PerAxis | None = None,
    positions: PerAxis | None = None,
    *,
    seed: int | None = None,
) -> Integral:
    """int over [0, 1]^dim of (1 + a.x)^-(dim + 1) = `genz_corner_peak_volume`.

    **Arguments and errors:** as in `genz_parameters`; by default the difficulties sum to 1.85.
    """
    a, u = genz_parameters("corner_peak", dim, total_difficulty, difficulties, positions=positions, seed=seed)
    return genz_integral(GenzCornerPeak, genz_corner_peak_volume, a, u)


def genz_corner_peak_volume(difficulties: PerAxis, positions: PerAxis | None = None) -> float:
    """(1/(d! prod a)) sum over r in {0, 1}^d of (-1)^|r| / (1 + a.r), by an integral that does not cancel.

    With s^-(d + 1) = int_0^inf t^d e^(-s t) dt / d! the integrals over x_i separate. The result is the mean of positive
    factors under a gamma distribution, int_0^inf t^d e^-t / d! prod_i (1 - e^(-a_i t))/(a_i t) dt, with relative error
    1e-12 in any dimension. The alternating sum has 2^d terms, and at d = 10 it is 4e-5 of the largest of them.
    """
    from scipy import integrate, special

    a = np.asarray(difficulties, np.float64)
    d = a.size

    def density(t: float) -> float:
        log_factors = np.log(-np.expm1(-a * t) / (a * t))
        return np.exp(d * np.log(t) - t - special.gammaln(d + 1) + log_factors.sum())

    # The gamma distribution of shape d + 1 has no mass beyond to rounding, and the factors decrease with t.
    end = d + 50.0 + 15.0 * np.sqrt(d)
    return float(integrate.quad(density, 0.0, end, points=[d / (1.0 + a.sum()), d], epsabs=0.0, epsrel=1e-13)[0])
