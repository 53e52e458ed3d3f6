"""Checks of logs whose errors name the place of the bad entry: a trajectory and step, or a row of a table or file."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy.typing import ArrayLike

# Of log-probabilities and of the sums of probabilities: float32 softmax outputs are off by as much.
ROUNDING = 1e-5
MOST_PLACES = 5
# From here on float64 does not represent every whole number.
MOST_EXACT = 2.0**53


class Validator(NamedTuple):
    """Checks on behalf of `owner`, with errors that name the entry at an index by `place(index)`."""

    owner: str
    place: Callable[[tuple[int, ...]], str]

    def raise_where(
        self, bad: Bool[np.ndarray, "*shape"], reason: str, values: Shaped[np.ndarray, "..."] | None = None
    ) -> None:
        """Raise `ValueError` with the reason and the first places where `bad` is true, if there are any."""
        indices = np.argwhere(bad)
        if not len(indices):
            return
        places = []
        for index in indices[:MOST_PLACES]:
            index = tuple(int(i) for i in index)
            places.append(self.place(index) + ("" if values is None else f" ({np.asarray(values)[index]:.6g})"))
        more = f" and {len(indices) - MOST_PLACES:,} more" if len(indices) > MOST_PLACES else ""
        raise ValueError(f"{self.owner}: {reason}: {'; '.join(places)}{more}.")

    def check_shape(
        self,
        name: str,
        array: Shaped[np.ndarray, "..."] | None,
        shape: tuple[int, ...],
        more_axes: tuple[int, ...] = (0,),
    ) -> None:
        """Raise unless the array is None or has `shape` followed by one of the allowed numbers of further axes."""
        if array is None or (array.shape[: len(shape)] == shape and array.ndim - len(shape) in more_axes):
            return
        words = ", ".join([*map(str, shape), *(["..."] if max(more_axes) else [])])
        raise ValueError(f"{self.owner}: {name} must have shape [{words}], as rewards have; got {array.shape}.")

    def check_log_probabilities(
        self, name: str, log_p: Float[np.ndarray, "*shape"], mask: Bool[np.ndarray, "*shape"], *, discrete: bool
    ) -> None:
        """Raise for NaN and +inf, and for log-probabilities above 0 if actions are discrete."""
        self.raise_where(mask & (np.isnan(log_p) | (log_p == np.inf)), f"{name} is NaN or infinite", log_p)
        if discrete:
            reason = (
                f"{name} is above 0, so a discrete action has a probability above 1 (give logarithms of probabilities, "
                "or continuous=True for densities)"
            )
            self.raise_where(mask & (log_p > ROUNDING), reason, log_p)

    def check_probabilities(
        self, name: str, table: Float[np.ndarray, "*shape actions"], mask: Bool[np.ndarray, "*shape"]
    ) -> None:
        """Raise unless the last axis holds probabilities wherever the mask is true."""
        self.raise_where(mask & ~np.all(table >= 0, axis=-1), f"{name} has a negative entry or NaN")
        sums = table.sum(axis=-1)
        self.raise_where(mask & ~(np.abs(sums - 1.0) <= ROUNDING), f"{name} must sum to 1 over the actions", sums)

    def check_exact(self, name: str, floats: Float[np.ndarray, "..."]) -> None:
        """Raise for floats so large that float64 does not distinguish neighbouring whole numbers."""
        reason = f"{name} is a float of 2^53 or more, where float64 does not distinguish whole numbers"
        self.raise_where(np.abs(floats) >= MOST_EXACT, reason, floats)

    def whole_numbers(self, name: str, array: ArrayLike) -> Int[np.ndarray, "..."]:
        """The array, which may hold floats, as int64; raises for fractions and NaN."""
        array = np.asarray(array)
        if not np.issubdtype(array.dtype, np.integer):
            floats = np.asarray(array, np.float64)
            self.raise_where(~(floats == np.round(floats)), f"{name} must be whole numbers", floats)
            self.check_exact(name, floats)
            array = floats
        return array.astype(np.int64)


def trajectory_and_step(index: tuple[int, ...]) -> str:
    """The place of an entry of an array [n, T], or [n]."""
    return f"trajectory {index[0]}" + (f", step {index[1]}" if len(index) > 1 else "")


def row(index: tuple[int, ...]) -> str:
    """The place of an entry of a bandit log."""
    return f"row {index[0]}"


def as_float(array: ArrayLike) -> Float[np.ndarray, "..."]:
    """The array in float64."""
    return np.asarray(array, np.float64)
