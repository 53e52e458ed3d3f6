"""What all results share: a value with a standard error, an interval, a status, and the dict and text made of them."""

from abc import abstractmethod

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

from mcengine.inference.status import Status
from mcengine.numerics.arrays import AnyScalar, Numbers, NumberTree, namespace
from mcengine.numerics.tracing import is_traced

# What JSON has.
Plain = str | int | float | list | dict | None


class Result(eqx.Module):
    """A value with an error bar and a status.

    **Adding a result** is a subclass with

    - fields (or properties) `value`, `std_error`, `seconds`, and `status_codes`, a `Status` code for each output;
    - `_interval(level)`: the interval at a level that has been checked;
    - `_entries()`: the numbers of `to_dict`, by name;
    - `_lines()`: the lines of `print`, without the status;
    - `_num_batch_axes`: how many leading axes count replicates or problems.
    """

    value: eqx.AbstractVar[NumberTree]
    std_error: eqx.AbstractVar[NumberTree]
    status_codes: eqx.AbstractVar[NumberTree]
    seconds: eqx.AbstractVar[float | None]

    @property
    def _num_batch_axes(self) -> int:
        return 0

    @property
    def status_code(self) -> Numbers:
        """The most severe `Status` code over all outputs: an integer, or an array of them for a batch."""
        codes = flat_outputs(self.status_codes, self._num_batch_axes)
        return namespace(codes).max(codes, axis=-1)

    @property
    def status(self) -> Status:
        """The most severe status, with its `sentence`.

        **Raises:** `ValueError` for a batch and inside a trace: see `status_code` there.
        """
        code = self.status_code
        if isinstance(code, Tracer) or np.ndim(code):
            raise ValueError("status: under jit or vmap the status is an integer code per estimate; use status_code.")
        return Status(int(code))

    @property
    def ok(self) -> bool:
        """Whether no rule found an objection to the interval."""
        return self.status == Status.OK

    def interval(self, level: float = 0.95) -> tuple[NumberTree, NumberTree]:
        """Two-sided confidence interval (low, high), NumPy float64, of the structure of `value`; see the class.

        **Raises:** `ValueError` for a level outside (0, 1), and inside a trace.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"interval: level must lie strictly between 0 and 1, got {level}.")
        if is_traced(self.value):
            raise ValueError(
                "interval: it is computed with SciPy, so there is none inside jit, vmap and grad: return the whole "
                "estimate from the trace, or use value and std_error."
            )
        return self._interval(level)

    @abstractmethod
    def _interval(self, level: float) -> tuple[NumberTree, NumberTree]:
        """See the class."""

    @abstractmethod
    def _entries(self) -> dict[str, NumberTree | list]:
        """See the class."""

    @abstractmethod
    def _lines(self) -> list[str]:
        """See the class."""

    def to_dict(self) -> dict[str, Plain]:
        """Plain Python numbers and lists, ready for JSON (NaN and infinities become None)."""
        plain = {name: jax.tree.map(_plain, entry) for name, entry in self._entries().items()}
        return {**plain, "status": str(self.status), "sentence": self.status.sentence, "seconds": self.seconds}

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        code = self.status_code
        if np.ndim(code):
            return f"{type(self).__name__} of {np.shape(code)} replicates; see .value, .std_error, .status_code."
        return "\n".join([*self._lines(), f"status: {self.status.sentence}"])


def flat_outputs(tree: NumberTree, num_batch_axes: int) -> Numbers:
    """All leaves of a tree in one array [*batch, K]."""
    leaves = [leaf.reshape(*np.shape(leaf)[:num_batch_axes], -1) for leaf in map(_as_array, jax.tree.leaves(tree))]
    return namespace(leaves[0]).concatenate(leaves, axis=-1)


def _as_array(leaf: AnyScalar) -> Numbers:
    return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)


def _plain(leaf: AnyScalar | str) -> Plain:
    if isinstance(leaf, str | int):
        return leaf
    array = np.asarray(leaf, np.float64)
    if array.ndim:
        return [_plain(entry) for entry in array]
    return float(array) if np.isfinite(array) else None
