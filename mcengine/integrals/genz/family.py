"""From the pieces of a Genz family (integrand, closed form) to its integral over the unit cube."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax.core import Tracer

from mcengine.integrals.genz.parameters import genz_parameters
from mcengine.problems.integral import Integral


def genz_integral(
    family: str, integrand: Callable[..., Any], volume: Callable[..., float], dim: int, *choices: Any
) -> Integral:
    """int over [0, 1]^dim of integrand(a, u), exactly volume(a, u) where a and u are numbers.

    **Arguments and errors:** `choices` and what is raised: as in `genz_parameters`.
    """
    a, u = genz_parameters(family, dim, *choices)
    known = not any(isinstance(value, Tracer) for value in (a, u))  # not inside jit or vmap
    return Integral(integrand(a, u), np.zeros(dim), np.ones(dim), exact=volume(a, u) if known else None)
