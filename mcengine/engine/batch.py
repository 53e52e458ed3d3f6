"""`batch`: many problems, or proposals, of one structure whose numbers differ."""

from collections.abc import Callable
from typing import Generic, TypeVar

import jax
import numpy as np
from jaxtyping import PyTree

Made = TypeVar("Made")


class Batch(Generic[Made]):
    """`size` objects of one structure, problems or proposals; `mc.batch` makes it. `batch[i]` is one of them."""

    def __init__(self, make: Callable[[PyTree], Made], parameters: PyTree, size: int) -> None:
        self.make, self.parameters, self.size = make, parameters, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> Made:
        if not -self.size <= i < self.size:
            raise IndexError(f"batch: there are {self.size} rows, and no row {i}.")
        return self.make(jax.tree.map(lambda leaf: leaf[i], self.parameters))

    def __repr__(self) -> str:
        return f"Batch(size={self.size}, make={self.make!r})"


def batch(make: Callable[[PyTree], Made], parameters: PyTree) -> Batch[Made]:
    """Many problems, or proposals, of one structure: `make` of every row of the parameters.

        options = mc.batch(lambda row: mc.Expectation(payoff(row["strike"]), mc.Normal(0.0, row["sigma"])), parameters)

    **Arguments:**

    - `make`: from one row of the parameters, which has their structure without the leading axis, to a problem or a
      distribution. It is traced: use `jnp.where` instead of `if`. What does not depend on the row is shared by all
      problems and not copied. A function that it makes afresh (a lambda) is compiled with it.
    - `parameters`: a pytree of arrays [P, ...].

    **Raises:** `ValueError` for parameters without a leading axis, of different lengths, or none, naming the leaf;
    `TypeError` for leaves that are not numbers, and a `make` that is not a function.
    """
    if not callable(make):
        raise TypeError(f"batch: make must be a function of one row of the parameters, got {make!r}.")
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(parameters)}
    if not leaves:
        raise ValueError("batch: the parameters hold no arrays, so there are no rows.")
    for name, leaf in leaves.items():
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int) or np.asarray(leaf).dtype == object:
            raise TypeError(f"batch: parameters{name} must be an array of numbers with one entry a row, got {leaf!r}.")
        if np.ndim(leaf) == 0:
            raise ValueError(
                f"batch: parameters{name} is one number, {leaf!r}; every leaf needs a leading axis with one entry a "
                "row. What all rows share belongs in make."
            )
    lengths = {name: np.shape(leaf)[0] for name, leaf in leaves.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"parameters{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"batch: all leaves must have the same number of rows: {listed}.")
    size = next(iter(lengths.values()))
    if not size:
        raise ValueError(f"batch: there are no rows: parameters{next(iter(lengths))} is empty.")
    arrays = jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else np.asarray(leaf), parameters)
    return Batch(make, arrays, size)
