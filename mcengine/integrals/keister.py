"""Keister's integral: the cosine of the distance from the origin, under a normal distribution."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.controls.controls import Controls
from mcengine.distributions import Normal
from mcengine.numerics.values import Scalar, as_parameter
from mcengine.problems.expectation import Expectation


class Keister(eqx.Module):
    """f(t) = pi^(d/2) cos ||t||, t [d]."""

    def __call__(self, t: Float[Array, " dim"]) -> Float[Array, ""]:
        return math.pi ** (t.shape[0] / 2) * jnp.cos(jnp.sqrt(jnp.sum(t * t)))


def keister(dim: Scalar = 5) -> Expectation:
    """E[pi^(d/2) cos ||T||], T ~ N(0, I/2), the integral of cos ||t|| exp(-||t||^2) over all of space.

    **Arguments:** `dim` d, a whole number of at least 1.

    **Raises:** `ValueError` for another dim.

    Source: B. D. Keister, "Multidimensional quadrature algorithms", Computers in Physics 10 (1996), 119-122.
    """
    if isinstance(dim, bool) or int(dim) != dim or dim < 1:
        raise ValueError(f"keister: dim must be a positive integer, got {dim!r}.")
    dim = int(dim)
    return Expectation(Keister(), Normal(np.zeros(dim), math.sqrt(0.5)), exact=keister_exact(dim))


class RadiusPowers(eqx.Module):
    """h_k(t) = ||t||^(2 k) / E ||T||^(2 k), k = 1..K."""

    means: Float[Array, " powers"] = eqx.field(converter=as_parameter)

    def __call__(self, t: Float[Array, " dim"]) -> Float[Array, " powers"]:
        square = jnp.sum(t * t)
        return jnp.stack([square**k / mean for k, mean in enumerate(self.means, start=1)])


def radius_powers(problem: Expectation, number: Scalar = 4, pilot: int | None = None) -> Controls:
    """||T||^(2 k) over its mean E ||T||^(2 k) = prod_(j < k) (d/2 + j), for k = 1..number and the T of `keister`.

    The integrand is a smooth function of the radius, so a few powers remove most of its variance.

    **Arguments:** `problem`, a `keister`; `number` of powers, at least 1; `pilot` as in `Controls`.

    **Raises:** `TypeError` for another problem; `ValueError` for a number that is not a positive integer.
    """
    if not isinstance(problem.integrand, Keister):
        raise TypeError(f"radius_powers: the problem must be a keister, not one of {problem.integrand}.")
    if isinstance(number, bool) or int(number) != number or number < 1:
        raise ValueError(f"radius_powers: number must be a positive integer, got {number!r}.")
    means = np.cumprod(problem.target.loc.shape[0] / 2 + np.arange(int(number)))
    return Controls(RadiusPowers(means), np.ones(int(number)), pilot)


def keister_exact(dim: int) -> float:
    """S int_0^inf cos(r) r^(d-1) exp(-r^2) dr, S = 2 pi^(d/2) / Gamma(d/2) the unit sphere's area, by quadrature."""
    from scipy import integrate, special

    log_area = math.log(2.0) + dim / 2 * math.log(math.pi) - special.gammaln(dim / 2)

    def density(r: float) -> float:
        return np.cos(r) * np.exp(log_area + special.xlogy(dim - 1, r) - r * r)

    # The radius has a mean of about sqrt(d/2) and a standard deviation of at most 1/2.
    centre = math.sqrt(dim / 2)
    ends = max(0.0, centre - 7.0), centre + 7.0
    return float(integrate.quad(density, *ends, points=[centre], epsabs=0.0, epsrel=1e-13, limit=200)[0])
