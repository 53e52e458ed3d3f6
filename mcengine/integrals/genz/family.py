"""The integral of a Genz family over the unit cube, from its integrand and the closed form of its volume."""

from collections.abc import Callable

import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from mcengine.integrals.genz.parameters import PerAxis
from mcengine.problems.integral import Integral


def genz_integral(
    integrand_of: Callable[[PerAxis, PerAxis], Callable[[Float[Array, " dim"]], Float[Array, ""]]],
    volume_of: Callable[[PerAxis, PerAxis], float],
    difficulties: Float[Array, " dim"] | Float[np.ndarray, " dim"],
    positions: Float[Array, " dim"] | Float[np.ndarray, " dim"],
) -> Integral:
    """int over [0, 1]^dim of integrand_of(difficulties, positions).

    Its `exact` is volume_of(difficulties, positions), or None if one of them is traced.
    """
    is_known = not any(isinstance(value, Tracer) for value in (difficulties, positions))  # traced in jit, vmap, grad
    dim = difficulties.shape[0]
    exact = volume_of(difficulties, positions) if is_known else None
    return Integral(integrand_of(difficulties, positions), np.zeros(dim), np.ones(dim), exact=exact)
