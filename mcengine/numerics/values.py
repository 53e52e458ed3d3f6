"""Parameters as arrays, and their values where these are known."""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from mcengine import numerics

# A number that a user passes: Python's or NumPy's, or an array without axes, which may be traced.
Scalar = Real[Array, ""] | Real[np.ndarray, ""] | np.number | int | float
# A parameter that a user passes: a number, an array, or (nested) sequences of numbers.
Parameter = ArrayLike | Sequence[Any]


def pilot_size(name: str) -> Callable[[Any], Any]:
    """A converter that refuses, in the name of the class, what is neither None nor a number of samples."""

    def convert(pilot: Any) -> Any:
        if pilot is None:
            return None
        if isinstance(pilot, bool) or not isinstance(pilot, Integral) or pilot < 1:
            raise ValueError(f"{name}: pilot must be a whole number of samples, at least 1, got {pilot!r}.")
        return int(pilot)

    return convert


def as_parameter(value: Parameter) -> Float[Array, "..."]:
    """A strongly typed float array, so that a new number never means a new compilation."""
    return jnp.asarray(value, dtype=numerics.float_dtype())


def concrete(value: Any) -> np.ndarray | None:
    """The value as NumPy, or None where it is traced (or a mere placeholder) and cannot be checked."""
    if isinstance(value, Tracer) or not hasattr(value, "__array__"):
        return None
    return np.asarray(value)
