"""What a functional offers the engine: which columns it needs of every sample, and what is known of them."""

from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np


@runtime_checkable
class Functional(Protocol):
    """What is made of the weighted samples: the `functional` argument of `estimate`.

    - `columns(value)`: (what is averaged, a tree; what its mean is divided by, a scalar, or None) of a sample's f(x);
    - `sees_score`: whether it is asked about a `Probability`'s score rather than its indicator;
    - `keeps_samples`: whether it needs every sample; `columns` then gives one number, and `tail_risk` is what finishes;
    - `value_bound(problem)`: sup |column| where known; `is_indicator(problem)`: whether columns are 0 or 1.
    """

    @property
    def sees_score(self) -> bool: ...

    @property
    def keeps_samples(self) -> bool: ...

    def columns(self, value: Any) -> tuple[Any, Any]: ...

    def value_bound(self, problem: Any) -> float | None: ...

    def is_indicator(self, problem: Any) -> bool: ...


def is_functional(thing: Any) -> bool:
    """Whether it is an object that offers all that, and not a class."""
    return isinstance(thing, Functional) and not isinstance(thing, type)


def exact_value(functional: Any, problem: Any) -> Any:
    """What is known to be true of the functional (None for the mean) of a problem; None where nothing is.

    For tests and tables. A functional that knows offers `exact(problem)`, of the structure of its estimate's value.
    """
    if functional is None:
        return getattr(problem, "exact", None)
    known = getattr(functional, "exact", None)
    return None if known is None else known(problem)


def picked(value: Any, output: Any, who: str) -> Any:
    """One entry of f(x): its key, index or field name; all of it where `output` is None."""
    if output is None:
        return value
    try:
        if hasattr(value, "shape"):
            # JAX clamps an index that is out of range; NumPy raises.
            np.broadcast_to(np.int8(0), value.shape)[output]
        return value[output]
    except (KeyError, IndexError, TypeError):
        if isinstance(output, str) and hasattr(value, output):
            return getattr(value, output)
    shapes = jax.tree.map(np.shape, value)
    raise ValueError(f"{who}: the integrand has no output {output!r}; it returns shapes {shapes}.")


def check_scalar(value: Any, demand: str) -> None:
    """Raise, with the demand and what is there instead, unless the value is one number."""
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or leaves[0] is not value or np.shape(value) != ():
        raise ValueError(f"{demand}; got {jax.tree.map(np.shape, value)}.")
