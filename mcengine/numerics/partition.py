"""The numbers of a pytree apart from its static part, which is the key of the caches of kernels and shapes.

`equinox.filter_jit` treats Python floats as static, so that three thresholds cause three compilations. Here every float
becomes an array, and only leaves that are not numbers (functions, integers that may be shapes, strings) are static.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import PyTreeDef
from jaxtyping import Array

from mcengine import numerics
from mcengine.numerics.tracing import closes_over_trace, is_number


class StaticPart:
    """The static leaves of a pytree and its structure, hashable and compared by value."""

    def __init__(self, treedef: PyTreeDef, leaves: tuple[Any, ...]) -> None:
        self.treedef, self.leaves = treedef, leaves
        try:
            self._hash = hash((treedef, leaves))
        except TypeError as error:
            raise TypeError(
                f"A problem, proposal or weighting holds a leaf that is not a number, an array or hashable: {error}. "
                "Keep numbers in arrays and functions as functions."
            ) from None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StaticPart) and self.treedef == other.treedef and self.leaves == other.leaves


def _strong(leaf: Any) -> Array:
    """A number as an array that keeps its dtype when it meets others."""
    if isinstance(leaf, jax.Array):
        return jax.lax.convert_element_type(leaf, leaf.dtype) if leaf.weak_type else leaf
    if np.issubdtype(np.result_type(leaf), np.floating):
        return jnp.asarray(leaf, numerics.float_dtype())
    return jnp.asarray(leaf)


def partition(tree: Any) -> tuple[list[Array], StaticPart]:
    """(the numbers of a tree as strongly typed arrays, its static part)."""
    leaves, treedef = jax.tree.flatten(tree)
    dynamic = [_strong(leaf) for leaf in leaves if is_number(leaf)]
    return dynamic, StaticPart(treedef, tuple(None if is_number(leaf) else _StaticLeaf(leaf) for leaf in leaves))


class _StaticLeaf:
    """A static leaf, compared by type and value: True is not 1."""

    def __init__(self, leaf: Any) -> None:
        self.leaf = leaf

    def __hash__(self) -> int:
        return hash((type(self.leaf), self.leaf))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _StaticLeaf) and type(self.leaf) is type(other.leaf) and self.leaf == other.leaf


def combine(dynamic: list[Array], static: StaticPart) -> Any:
    """The tree of which `partition` made these: its inverse."""
    numbers = iter(dynamic)
    leaves = [next(numbers) if leaf is None else leaf.leaf for leaf in static.leaves]
    return jax.tree.unflatten(static.treedef, leaves)


def shapes_of(function: Callable[..., Any], *arguments: Any) -> Any:
    """`jax.eval_shape(function, *arguments)` for any pytrees as arguments, traced once for each structure.

    A run needs the same few shapes several times while it is planned, and tracing a sampler takes milliseconds.
    """
    leaves, treedef = jax.tree.flatten(arguments)
    numbers = tuple(_struct(leaf) for leaf in leaves if _has_shape(leaf))
    static = StaticPart(treedef, tuple(None if _has_shape(leaf) else _StaticLeaf(leaf) for leaf in leaves))
    if closes_over_trace(arguments):
        return _fresh_shapes(function, static, numbers)
    return _cached_shapes(function, static, numbers, numerics.float_dtype())


def _fresh_shapes(function: Callable[..., Any], static: StaticPart, numbers: tuple[Any, ...]) -> Any:
    return jax.eval_shape(lambda dynamic: function(*combine(dynamic, static)), list(numbers))


@lru_cache(maxsize=1024)
def _cached_shapes(function: Callable[..., Any], static: StaticPart, numbers: tuple[Any, ...], dtype: np.dtype) -> Any:
    return _fresh_shapes(function, static, numbers)


def _has_shape(leaf: Any) -> bool:
    return is_number(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _struct(leaf: Any) -> jax.ShapeDtypeStruct:
    """The shape and dtype of the array that `partition` would make of a number."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    dtype = jnp.result_type(leaf)
    if not isinstance(leaf, jax.Array) and np.issubdtype(dtype, np.floating):
        dtype = numerics.float_dtype()
    return jax.ShapeDtypeStruct(np.shape(leaf), dtype)
