"""How much work a run may do: the `budget` argument of `estimate`."""

import math
import operator
from collections.abc import Callable

import equinox as eqx
import numpy as np


def _whole(value: float) -> int:
    """An int from 10**6 or 1e6, which is how people and YAML write it; anything else raises."""
    if isinstance(value, bool):
        raise TypeError(f"Samples: the number of samples must be a whole number, got {value!r}.")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    try:
        return operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise TypeError(f"Samples: the number of samples must be a whole number, got {value!r}.") from None


def _number_of_seconds(value: float | str) -> float:
    try:
        if not isinstance(value, bool | str):
            return float(value)
    except (TypeError, ValueError):
        pass
    raise TypeError(f"Seconds: the time must be a number of seconds, got {value!r}.")


def _one_number(name: str) -> Callable[[float | None], float | None]:
    """A converter to float (None stays) that raises for several numbers and for other types."""

    def convert(value: float | None) -> float | None:
        try:
            if value is None or np.ndim(value) == 0:
                return None if value is None else float(value)
        except (TypeError, ValueError):
            pass
        raise TypeError(f"Tolerance: {name} must be one number, for all outputs, got {value!r}.")

    return convert


# Blocks are numbered in 32 bits.
MOST_SAMPLES = 2**48


class Samples(eqx.Module):
    """Exactly `count` samples (rounded down to whole units where points come in units)."""

    count: int = eqx.field(static=True, converter=_whole)

    def __check_init__(self):
        if self.count <= 0:
            raise ValueError(f"Samples: the budget must be positive, got {self.count}.")
        if self.count > MOST_SAMPLES:
            raise ValueError(f"Samples: more than 2^48 samples have no block of their own, got {self.count}.")


class Seconds(eqx.Module):
    """As many blocks of samples as fit in `limit` seconds of sampling, at least one. Compilation is not counted.

    The sample count depends on the machine; `Samples(result.num_samples)` with the same key and block size repeats the
    result.
    """

    limit: float = eqx.field(static=True, converter=_number_of_seconds)

    def __check_init__(self):
        if not (math.isfinite(self.limit) and self.limit > 0):
            raise ValueError(f"Seconds: the budget must be positive and finite, got {self.limit}.")


FINITE_SAMPLE = (False, True, "bernstein", "betting")


class Tolerance(eqx.Module):
    """As many samples as it takes until the interval's half-width is at most max(atol, rtol |value|), for every output.

    The interval stays valid although the run stops when it is short. It is an asymptotic confidence sequence over
    units, valid at every interim look (`mcengine.inference.confidence_sequences`). For Sobol points without a size it
    is a wider Student-t interval over 8 scrambles, whose length doubles from look to look, valid where the run stops.

    **Arguments:**

    - `rtol`, `atol`: at least one above 0. Where the true value may be 0, `rtol` alone may never be reached, so `atol`
      must be given too (0.0 where you know that the value is not 0).
    - `max_samples`: where to stop in any case, with `Status.BUDGET_SPENT`.
    - `level`: of the interval that must be short.
    - `finite_sample`: "betting", or "bernstein" (or True), for an interval without asymptotics. It needs 0 <= w f <= B
      with a known B: a `Probability` by plain sampling or under a defensive mixture. Betting gives the shorter interval
      (`mcengine.inference.betting`); it draws the samples a second time and keeps batch means.
    """

    rtol: float = eqx.field(static=True, default=0.0, converter=_one_number("rtol"))
    atol: float | None = eqx.field(static=True, default=None, converter=_one_number("atol"))
    max_samples: int = eqx.field(static=True, default=10**9, converter=_whole)
    level: float = eqx.field(static=True, default=0.95, converter=float)
    finite_sample: bool | str = eqx.field(static=True, default=False)

    def __check_init__(self):
        if self.finite_sample not in FINITE_SAMPLE:
            raise ValueError(f"Tolerance: finite_sample must be one of {FINITE_SAMPLE}, got {self.finite_sample!r}.")
        for name, value in (("rtol", self.rtol), ("atol", self.atol or 0.0)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"Tolerance: {name} must be finite and at least 0, got {value}.")
        if self.rtol == 0 and not self.atol:
            raise ValueError("Tolerance: give rtol or atol above 0.")
        if self.max_samples <= 0:
            raise ValueError(f"Tolerance: max_samples must be positive, got {self.max_samples}.")
        if not 0 < self.level < 1:
            raise ValueError(f"Tolerance: level must lie strictly between 0 and 1, got {self.level}.")


Budget = Samples | Seconds | Tolerance
