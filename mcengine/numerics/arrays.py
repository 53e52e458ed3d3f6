"""Arrays of NumPy or JAX: the same functions run on the host in float64 and inside traces."""

from types import ModuleType
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Num, PyTree

# NumPy on the host, JAX in kernels and traces.
AnyArray = jax.Array | np.ndarray
if TYPE_CHECKING:
    # A type checker cannot tell when NumPy returns a scalar. The tests check the types below at run time.
    AnyScalar = Any
else:
    # The same for values that may have no axes: NumPy then returns scalars, which are not arrays.
    AnyScalar = jax.Array | np.ndarray | np.generic | float | int | bool
# A number, or an array of numbers; a tree of them, such as the value of an estimate.
Numbers = Num[AnyScalar, "..."]
NumberTree = PyTree[Numbers]


def namespace(x: AnyScalar | float) -> ModuleType:
    """The module that computes with x: `jax.numpy` for JAX arrays and tracers, NumPy for all else.

    `x.__array_namespace__()` would not do: Python numbers and the scalars of NumPy 2.0 lack it.
    """
    return jnp if isinstance(x, jax.Array) else np
