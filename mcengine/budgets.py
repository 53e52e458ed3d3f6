"""How much work a run may do: the `budget` argument of `estimate`."""

import math
import operator
from typing import Any

import equinox as eqx


def _whole(value: Any) -> int:
    """An int from 10**6 or 1e6, which is how people and YAML write it; anything else raises."""
    if isinstance(value, bool):
        raise TypeError(f"Samples: the number of samples must be a whole number, got {value!r}.")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    try:
        return operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise TypeError(f"Samples: the number of samples must be a whole number, got {value!r}.") from None


def _number_of_seconds(value: Any) -> float:
    try:
        if not isinstance(value, bool | str):
            return float(value)
    except (TypeError, ValueError):
        pass
    raise TypeError(f"Seconds: the time must be a number of seconds, got {value!r}.")


class Samples(eqx.Module):
    """Exactly `count` samples (rounded down to whole units where points come in units)."""

    count: int = eqx.field(static=True, converter=_whole)

    def __check_init__(self):
        if self.count <= 0:
            raise ValueError(f"Samples: the budget must be positive, got {self.count}.")


class Seconds(eqx.Module):
    """As many blocks of samples as fit in `limit` seconds of sampling, at least one. Compilation is not counted.

    The sample count depends on the machine; `Samples(result.num_samples)` with the same key and block size repeats the
    result.
    """

    limit: float = eqx.field(static=True, converter=_number_of_seconds)

    def __check_init__(self):
        if not (math.isfinite(self.limit) and self.limit > 0):
            raise ValueError(f"Seconds: the budget must be positive and finite, got {self.limit}.")


Budget = Samples | Seconds
