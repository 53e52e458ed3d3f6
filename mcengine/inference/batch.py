"""The estimates of many problems, with one leading axis."""

import dataclasses
from collections import Counter

import jax
import numpy as np
from jaxtyping import Bool, Int

from mcengine.inference.estimate import Estimate
from mcengine.inference.status import Status
from mcengine.summaries.summary import LONG_UNIT

# Fields with one entry a problem.
PER_PROBLEM = (
    "value", "std_error", "ess", "pareto_k", "max_weight_share", "num_hits", "num_samples", "num_units",
    "num_nonfinite", "bias_seen", "upper_bound", "skewness", "status_codes", "summary",
)  # fmt: skip
# Skewness over the square root of the number of samples: above it Student's intervals cover less than 93 %. An
# indicator with 25 hits has it.
MAX_SKEWNESS = 0.2


class BatchEstimate(Estimate):
    """Estimates of P problems: the fields of an `Estimate` with a leading axis [P]; `batch[i]` is that of problem i.

    `tails_checked` lists the problems whose tails were inspected: `pareto_k` is NaN for the others.
    """

    tails_checked: Int[np.ndarray, " checked"]

    def __len__(self) -> int:
        return len(self.num_samples)

    def __getitem__(self, i: int) -> Estimate:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(Estimate)}
        of_problem = {name: jax.tree.map(lambda leaf: np.asarray(leaf)[i], fields[name]) for name in PER_PROBLEM}
        return Estimate(**fields | of_problem)

    @property
    def ok(self) -> bool:
        """Whether every problem is ok; `status_code == mc.Status.OK` says which are."""
        return bool(np.all(self.status_code == Status.OK))

    @property
    def status_counts(self) -> dict[Status, int]:
        """How many problems have each status, the mildest first."""
        counts = Counter(np.asarray(self.status_code).tolist())
        return {Status(code): counts[code] for code in sorted(counts)}

    def __str__(self) -> str:
        samples = np.asarray(self.num_samples)
        each = " to ".join(f"{count:,}" for count in sorted({int(samples.min()), int(samples.max())}))
        seconds = "" if self.seconds is None else f"   {self.seconds:.2f} s"
        statuses = "   ".join(f"{status} {count:,}" for status, count in self.status_counts.items())
        checked = ", ".join(map(str, self.tails_checked[:8])) + (", ..." if len(self.tails_checked) > 8 else "")
        tails = f"tails inspected in problems {checked}" if len(self.tails_checked) else "no tails inspected"
        return f"{len(self):,} problems   {each} samples each{seconds}\nstatus: {statuses}\n{tails}"


def as_batch(result: Estimate, tails_checked: Int[np.ndarray, " checked"], seconds: float) -> BatchEstimate:
    """An estimate whose fields have a leading axis of problems, as a `BatchEstimate`."""
    fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(Estimate)}
    return BatchEstimate(**{**fields, "seconds": seconds, "tails_checked": tails_checked})


def judged_by_skewness(result: Estimate) -> Estimate:
    """The estimate with the status that third moments ask for where no tail was kept.

    They are kept for units of any length here. For short units (of less than 8 samples) they make the status alone, and
    the interval is Student's, as that of a single estimate; for long units they make the interval alone.
    """
    per_unit = np.asarray(result.num_samples) / np.maximum(np.asarray(result.num_units), 1.0)

    def of_problem(leaf: np.ndarray, like: np.ndarray) -> np.ndarray:
        return leaf.reshape(-1, *(1,) * (np.ndim(like) - 1))

    def code(code: np.ndarray, skewness: np.ndarray) -> np.ndarray:
        units = of_problem(np.asarray(result.num_units), skewness)
        is_short = of_problem(per_unit, skewness) < LONG_UNIT
        is_skewed = is_short & (np.abs(np.nan_to_num(skewness)) > MAX_SKEWNESS * np.sqrt(units))
        return np.where(is_skewed, np.maximum(code, Status.HEAVY_TAIL), code)

    def of_long_units(skewness: np.ndarray) -> np.ndarray:
        return np.where(of_problem(per_unit, skewness) >= LONG_UNIT, skewness, np.nan)

    return dataclasses.replace(
        result,
        status_codes=jax.tree.map(code, result.status_codes, result.skewness),
        skewness=jax.tree.map(of_long_units, result.skewness),
    )


def with_tails(
    results: dict[int, Estimate], tailed: dict[int, Estimate], index: Int[np.ndarray, " checked"]
) -> dict[int, Estimate]:
    """The results with k-hat and status of the problems `index` from a pass that kept their tails."""

    def put(leaf: np.ndarray, of_checked: np.ndarray) -> np.ndarray:
        leaf = np.array(leaf)
        leaf[index] = of_checked
        return leaf

    return {
        i: dataclasses.replace(
            result,
            pareto_k=jax.tree.map(put, result.pareto_k, tailed[i].pareto_k),
            status_codes=jax.tree.map(put, result.status_codes, tailed[i].status_codes),
        )
        for i, result in results.items()
    }


def where_reached(reached: Bool[np.ndarray, " P"], result: Estimate, missed: Estimate) -> Estimate:
    """The estimate with the status of `missed` for the problems that did not reach their tolerance."""

    def choose(code: np.ndarray, missed_code: np.ndarray) -> np.ndarray:
        return np.where(reached.reshape(-1, *(1,) * (np.ndim(code) - 1)), code, missed_code)

    return dataclasses.replace(result, status_codes=jax.tree.map(choose, result.status_codes, missed.status_codes))
