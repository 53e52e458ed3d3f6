"""Genz's oscillatory family: a plane wave across the unit cube."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.integrals.genz.family import genz_integral
from mcengine.integrals.genz.parameters import PerAxis, genz_parameters
from mcengine.numerics.values import Scalar, as_parameter
from mcengine.problems.integral import Integral


class GenzOscillatory(eqx.Module):
    """f(x) = cos(2 pi u_1 + sum_i a_i x_i), a the difficulties, u_1 the phase in turns; each [d]."""

    difficulties: Float[Array, " dim"] = eqx.field(converter=as_parameter)
    positions: Float[Array, " dim"] = eqx.field(converter=as_parameter)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        return jnp.cos(2 * np.pi * self.positions[0] + jnp.sum(self.difficulties * x))


def genz_oscillatory(
    dim: Scalar = 5,
    total_difficulty: Scalar | None = None,
    difficulties: PerAxis | None = None,
    positions: PerAxis | None = None,
    *,
    seed: int | None = None,
) -> Integral:
    """int over [0, 1]^dim of cos(2 pi u_1 + a.x) = `genz_oscillatory_volume`.

    **Arguments and errors:** as in `genz_parameters`; by default the difficulties sum to 9.
    """
    a, u = genz_parameters("oscillatory", dim, total_difficulty, difficulties, positions=positions, seed=seed)
    return genz_integral(GenzOscillatory, genz_oscillatory_volume, a, u)


def genz_oscillatory_volume(difficulties: PerAxis, positions: PerAxis) -> float:
    """Re[e^(2 pi i u_1) prod_i (e^(i a_i) - 1)/(i a_i)] = cos(2 pi u_1 + sum a / 2) prod_i sin(a_i / 2)/(a_i / 2)."""
    a, u = np.asarray(difficulties, np.float64), np.asarray(positions, np.float64)
    # NumPy's sinc(x) is sin(pi x) / (pi x).
    return float(np.cos(2 * np.pi * u[0] + a.sum() / 2) * np.prod(np.sinc(a / (2 * np.pi))))
