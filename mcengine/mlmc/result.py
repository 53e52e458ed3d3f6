"""The result of `multilevel`: a value with its error bar, its bias, and a line for each level."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mcengine.inference.status import Status
from mcengine.mlmc import allocation
from mcengine.mlmc.allocation import PerLevel


@dataclass(frozen=True)
class LevelEstimate:
    """One level: `mean` and `std_error` of its correction, `variance` and `cost` of one sample."""

    level: int
    num_samples: int
    mean: float
    std_error: float
    variance: float
    cost: float
    seconds: float
    status: Status


@dataclass(frozen=True)
class MultilevelEstimate:
    """The sum of independent levels.

    - `value`, `std_error`: of E[P_L], with L the finest level used; the variances of the levels add.
    - `bias`: |E[P - P_L]| by extrapolation (`allocation.bias`) from the means of these levels.
    - `levels`: a `LevelEstimate` each.
    - `weak_order`, `strong_order`: the fitted rates a of |E[P_l - P_(l-1)]| ~ 2^(-a l) and b of the root mean square
      ~ 2^(-b l). If the step halves from level to level they are the orders of the scheme for this payoff. NaN where
      fewer than two corrections are above their noise.
    - `cost`: sum N_l C_l, in the unit of the levels' costs; `pilot_cost`, what the pilot cost besides; `seconds`.
    - `status_code`, `status`, `ok`: the most severe status of the levels; `BIASED` if the bias has more than its share;
      `BUDGET_SPENT` if the tolerance was not reached. Findings about the tails of a level with less than a tenth of the
      variance do not count: they have no visible effect on the interval.
    """

    levels: tuple[LevelEstimate, ...]
    bias: float
    pilot_cost: float
    seconds: float
    status: Status

    @property
    def value(self) -> float:
        return float(sum(level.mean for level in self.levels))

    @property
    def std_error(self) -> float:
        return math.sqrt(sum(level.std_error**2 for level in self.levels))

    @property
    def cost(self) -> float:
        return float(sum(level.num_samples * level.cost for level in self.levels))

    @property
    def num_samples(self) -> int:
        return sum(level.num_samples for level in self.levels)

    @property
    def weak_order(self) -> float:
        return allocation.rate(allocation.denoised(self._per_level("mean"), self._per_level("std_error")))

    @property
    def strong_order(self) -> float:
        # The rate of the second moment, since that bounds |P_l - P_(l-1)|.
        return 0.5 * allocation.rate(self._per_level("variance") + self._per_level("mean") ** 2)

    @property
    def status_code(self) -> int:
        return int(self.status)

    @property
    def ok(self) -> bool:
        return self.status == Status.OK

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """(low, high) for the limit E[P]: value -+ (t std_error + bias).

        t has the degrees of freedom of Welch and Satterthwaite for a sum of independent means. The estimated bias
        widens both sides, since its sign is uncertain.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"interval: level must lie strictly between 0 and 1, got {level}.")
        half_width = self.half_width(level)
        return self.value - half_width, self.value + half_width

    def half_width(self, level: float) -> float:
        """Half the length of the interval."""
        from scipy import special  # 0.2 s, which `import mcengine` need not pay

        dof = allocation.welch_dof(self._per_level("std_error") ** 2, self._per_level("num_samples"))
        t = special.stdtrit(dof, 0.5 + 0.5 * level) if math.isfinite(dof) else special.ndtri(0.5 + 0.5 * level)
        return float(t) * self.std_error + self.bias

    def to_dict(self) -> dict[str, Any]:
        """Plain Python numbers, ready for JSON (NaN becomes None)."""
        low, high = self.interval()
        names = ("value", "std_error", "bias", "weak_order", "strong_order", "cost", "pilot_cost", "seconds")
        numbers = {"low": low, "high": high, **{name: getattr(self, name) for name in names}}
        lines = [_plain(asdict(line) | {"status": str(line.status)}) for line in self.levels]
        return _plain(numbers) | {
            "num_samples": self.num_samples, "levels": lines, "status": str(self.status),
            "sentence": self.status.sentence,
        }  # fmt: skip

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        low, high = self.interval()
        head = (
            f"{self.value:.8g} +- {self.std_error:.2g}   bias {self.bias:.2g}   95 % interval [{low:.6g}, {high:.6g}]"
        )
        lines = [f"{'level':>5} {'samples':>12} {'mean':>12} {'variance':>10} {'cost':>9} {'seconds':>8}  status"]
        lines += [
            f"{x.level:>5} {x.num_samples:>12,} {x.mean:>12.5g} {x.variance:>10.3g} {x.cost:>9.4g} {x.seconds:>8.2f}  "
            f"{x.status}"
            for x in self.levels
        ]
        orders = f"weak order {self.weak_order:.2f}   strong order {self.strong_order:.2f}"
        return "\n".join([head, *lines, f"{orders}   {self.seconds:.2f} s", f"status: {self.status.sentence}"])

    def _per_level(self, name: str) -> PerLevel:
        return np.asarray([getattr(level, name) for level in self.levels], np.float64)


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """With None for NaN and infinity, which JSON does not have."""
    return {name: None if isinstance(x, float) and not math.isfinite(x) else x for name, x in fields.items()}
