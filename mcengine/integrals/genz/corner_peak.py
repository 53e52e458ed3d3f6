"""Genz's corner peak family: highest at the origin, falling towards the opposite corner."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.integrals.genz.family import genz_integral
from mcengine.numerics.values import as_parameter
from mcengine.problems.integral import Integral


class GenzCornerPeak(eqx.Module):
    """f(x) = (1 + sum_i a_i x_i)^-(d + 1), a the difficulties [d]; the positions are not used."""

    difficulties: Float[Array, " dim"] = eqx.field(converter=as_parameter)
    positions: Float[Array, " dim"] = eqx.field(converter=as_parameter)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        return (1.0 + jnp.sum(self.difficulties * x)) ** -(x.shape[0] + 1)


def genz_corner_peak(dim=5, total_difficulty=None, difficulties=None, positions=None, seed=None) -> Integral:
    """int over [0, 1]^dim of (1 + a.x)^-(dim + 1) = `genz_corner_peak_volume`.

    **Arguments and errors:** as in `genz_parameters`; the difficulties sum to 1.85 unless told otherwise.
    """
    choices = total_difficulty, difficulties, positions, seed
    return genz_integral("corner_peak", GenzCornerPeak, genz_corner_peak_volume, dim, *choices)


def genz_corner_peak_volume(difficulties, positions=None) -> float:
    """(1/(d! prod a)) sum over r in {0, 1}^d of (-1)^|r| / (1 + a.r), by an integral that does not cancel.

    With s^-(d + 1) = int_0^inf t^d e^(-s t) dt / d! the x integrate one by one, and what is left is a mean under a
    gamma law of positive factors, int_0^inf t^d e^-t / d! prod_i (1 - e^(-a_i t))/(a_i t) dt: good to 1e-12 in any
    dimension. The alternating sum has 2^d terms, and is itself 4e-5 of the largest of them at d = 10.
    """
    from scipy import integrate, special

    a = np.asarray(difficulties, np.float64)
    d = a.size

    def density(t):
        log_factors = np.log(-np.expm1(-a * t) / (a * t))
        return np.exp(d * np.log(t) - t - special.gammaln(d + 1) + log_factors.sum())

    # The gamma law of shape d + 1 has nothing beyond; the factors only draw it towards 0.
    end = d + 50.0 + 15.0 * np.sqrt(d)
    return float(integrate.quad(density, 0.0, end, points=[d / (1.0 + a.sum()), d], epsabs=0.0, epsrel=1e-13)[0])
