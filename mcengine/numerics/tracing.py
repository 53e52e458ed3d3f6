"""Whether values are traced, and a note on the errors of functions that need the values of what is traced."""

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.core import Tracer


def is_number(leaf: Any) -> bool:
    """Whether a leaf is a number or an array, and not a static value."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | float)


def is_traced(tree: Any) -> bool:
    """Whether any leaf is traced."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def closes_over_trace(tree: Any) -> bool:
    """Whether any leaf is a function or an object that holds a tracer, so that it must not be the key of a cache."""
    return any(_holds_tracer(leaf, set()) for leaf in jax.tree.leaves(tree) if not is_number(leaf))


def _holds_tracer(thing: Any, seen: set[int]) -> bool:
    if id(thing) in seen:
        return False
    seen.add(id(thing))
    if isinstance(thing, Tracer):
        return True
    if isinstance(thing, dict | list | tuple):
        return any(_holds_tracer(x, seen) for x in (thing.values() if isinstance(thing, dict) else thing))
    if not callable(thing) and not hasattr(thing, "__dict__"):
        return False
    if isinstance(thing, type | types.ModuleType | types.BuiltinFunctionType | np.ndarray | jax.Array):
        return False
    return any(_holds_tracer(part, seen) for part in _parts(thing))


def _parts(thing: Any) -> list[Any]:
    """The values that a function or an object holds: closure, defaults, partial arguments, `self`, attributes."""
    cells = [cell.cell_contents for cell in getattr(thing, "__closure__", None) or () if _is_filled(cell)]
    partial = [getattr(thing, name, None) for name in ("func", "args", "keywords", "__self__", "__defaults__")]
    return [*cells, *(part for part in partial if part is not None), *getattr(thing, "__dict__", {}).values()]


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:  # a recursive function's own cell, not yet assigned
        return False
    return True


@contextmanager
def traced(what: str) -> Iterator[None]:
    """Adds a note to the error of a user's function that needs the values of a sample while it is traced."""
    try:
        yield
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        # The most likely first mistake, and JAX's own message is about tracers.
        error.add_note(
            f"mcengine: {what} is compiled once for all samples, so it cannot branch on the values of one: use "
            "jnp.where(condition, a, b) instead of if, and jax.numpy instead of NumPy, math and float()."
        )
        raise
