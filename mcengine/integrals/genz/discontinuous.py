"""Genz's discontinuous family: an exponential that is cut off along the first two axes."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.integrals.genz.family import genz_integral
from mcengine.integrals.genz.parameters import PerAxis, genz_parameters
from mcengine.numerics.values import Scalar, as_parameter
from mcengine.problems.integral import Integral


class GenzDiscontinuous(eqx.Module):
    """f(x) = 0 if x_1 > u_1 or x_2 > u_2, else exp(sum_i a_i x_i); a the difficulties, u the positions, each [d]."""

    difficulties: Float[Array, " dim"] = eqx.field(converter=as_parameter)
    positions: Float[Array, " dim"] = eqx.field(converter=as_parameter)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        beyond = jnp.any(x[:2] > self.positions[:2])
        return jnp.where(beyond, 0.0, jnp.exp(jnp.sum(self.difficulties * x)))


def genz_discontinuous(
    dim: Scalar = 5,
    total_difficulty: Scalar | None = None,
    difficulties: PerAxis | None = None,
    positions: PerAxis | None = None,
    *,
    seed: int | None = None,
) -> Integral:
    """int over [0, 1]^dim of exp(a.x) where x_1 <= u_1 and x_2 <= u_2, 0 elsewhere = `genz_discontinuous_volume`.

    **Arguments and errors:** as in `genz_parameters`; by default the difficulties sum to 4.3.
    """
    a, u = genz_parameters("discontinuous", dim, total_difficulty, difficulties, positions=positions, seed=seed)
    return genz_integral(GenzDiscontinuous, genz_discontinuous_volume, a, u)


def genz_discontinuous_volume(difficulties: PerAxis, positions: PerAxis) -> float:
    """prod_i (e^(a_i b_i) - 1)/a_i, b_i = u_i (at most 1, at least 0) on the first two axes and 1 on the rest."""
    a, u = np.asarray(difficulties, np.float64), np.asarray(positions, np.float64)
    end = np.where(np.arange(a.size) < 2, np.clip(u, 0.0, 1.0), 1.0)
    return float(np.prod(np.expm1(a * end) / a))
