"""What a log may not hold, said with the place where it is: a trajectory and step, a row, or a row of a file."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

# Of log-probabilities and of rows of probabilities: softmax outputs in float32 miss 1 by as much.
ROUNDING = 1e-5
MOST_PLACES = 5
# From here on float64 leaves whole numbers out.
MOST_EXACT = 2.0**53


class Voice(NamedTuple):
    """Who complains, and how it names the entry at an index."""

    owner: str
    place: Callable[[tuple[int, ...]], str]

    def refuse(self, wrong: Any, reason: str, values: Any = None) -> None:
        """Raise `ValueError` with the reason and the first places where `wrong` is true, if there are any."""
        indices = np.argwhere(wrong)
        if not len(indices):
            return
        places = []
        for index in indices[:MOST_PLACES]:
            index = tuple(int(i) for i in index)
            places.append(self.place(index) + ("" if values is None else f" ({np.asarray(values)[index]:.6g})"))
        more = f" and {len(indices) - MOST_PLACES:,} more" if len(indices) > MOST_PLACES else ""
        raise ValueError(f"{self.owner}: {reason}: {'; '.join(places)}{more}.")

    def check_shape(self, name: str, array: Any, shape: tuple[int, ...], more_axes: tuple[int, ...] = (0,)) -> None:
        """Raise unless the array, if there is one, has `shape` and then as many axes more as allowed."""
        if array is None or (array.shape[: len(shape)] == shape and array.ndim - len(shape) in more_axes):
            return
        words = ", ".join([*map(str, shape), *(["..."] if max(more_axes) else [])])
        raise ValueError(f"{self.owner}: {name} must have shape [{words}], as rewards have; got {array.shape}.")

    def check_log_probabilities(self, name: str, log_p: Any, mask: Any, *, discrete: bool) -> None:
        """Raise for NaN and +inf, and for what is above 0 where actions are discrete."""
        self.refuse(mask & (np.isnan(log_p) | (log_p == np.inf)), f"{name} is NaN or infinite", log_p)
        if discrete:
            reason = (
                f"{name} is above 0, so a discrete action has a probability above 1 (give logarithms of probabilities, "
                "or continuous=True for densities)"
            )
            self.refuse(mask & (log_p > ROUNDING), reason, log_p)

    def check_probabilities(self, name: str, table: Any, mask: Any) -> None:
        """Raise unless the last axis holds probabilities wherever the mask is true."""
        self.refuse(mask & ~np.all(table >= 0, axis=-1), f"{name} has a negative entry or NaN")
        sums = table.sum(axis=-1)
        self.refuse(mask & ~(np.abs(sums - 1.0) <= ROUNDING), f"{name} must sum to 1 over the actions", sums)

    def check_exact(self, name: str, floats: Any) -> None:
        """Raise for floats so large that several whole numbers are one."""
        reason = f"{name} is a float of 2^53 or more, where whole numbers are no longer told apart"
        self.refuse(np.abs(floats) >= MOST_EXACT, reason, floats)

    def whole(self, name: str, array: Any) -> Any:
        """The array as whole numbers, which may come as floats; None where there is none."""
        if array is None:
            return None
        array = np.asarray(array)
        if not np.issubdtype(array.dtype, np.integer):
            floats = np.asarray(array, np.float64)
            self.refuse(~(floats == np.round(floats)), f"{name} must be whole numbers", floats)
            self.check_exact(name, floats)
            array = floats
        return array.astype(np.int64)


def trajectory_and_step(index: tuple[int, ...]) -> str:
    """The place of an entry of [n, T], or of [n]."""
    return f"trajectory {index[0]}" + (f", step {index[1]}" if len(index) > 1 else "")


def row(index: tuple[int, ...]) -> str:
    """The place of an entry of a bandit log."""
    return f"row {index[0]}"


def as_float(array: Any) -> Any:
    """float64; None where there is none."""
    return None if array is None else np.asarray(array, np.float64)
