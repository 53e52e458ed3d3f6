"""Measures runs that stop at a tolerance: their cost, and whether they keep it.

Pure functions, as in `experiments.measure`: (key, problem, proposal, tolerances, points, ...) in, plain numbers out.
"""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

import mcengine as mc
from experiments.measure import Observed, OnStep, observe, summarise
from mcengine.functionals import exact_value


@dataclass(frozen=True)
class Tolerances:
    """R = `replicates` runs at each rtol, each until the interval's half-width is at most max(atol, rtol |value|).

    **Arguments:** `rtols`, each above 0; `atol`, 0.0 if the true value is known not to be 0; `max_samples`, the largest
    number of samples of a run.
    """

    rtols: Any = field(default_factory=lambda: (0.1, 0.03, 0.01))
    atol: float = 0.0
    replicates: int = 100
    max_samples: int = 2**22

    def __post_init__(self):
        rtols = np.asarray(self.rtols)
        # `not all` refuses NaN too.
        if rtols.ndim != 1 or not rtols.size or rtols.dtype.kind not in "if" or not np.all((rtols > 0) & (rtols < 1)):
            raise ValueError(f"budget.rtols must be a list of numbers between 0 and 1, got {self.rtols!r}.")
        if isinstance(self.atol, bool | str) or not (math.isfinite(self.atol) and self.atol >= 0):
            raise ValueError(f"budget.atol must be a number of at least 0, got {self.atol!r}.")
        for name, least in (("replicates", 2), ("max_samples", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"budget.{name} must be a whole number of at least {least}, got {value!r}.")

    def steps(self) -> list[float]:
        """The rtols, loosest first."""
        return sorted({float(rtol) for rtol in self.rtols}, reverse=True)


def measure_stopping(
    key: PRNGKeyArray,
    problem: Any,
    proposal: Any,
    tolerances: Tolerances,
    *,
    on_step: OnStep = lambda step, number, of: None,
    **methods: Any,
) -> list[dict[str, Any]]:
    """One row per rtol and output, see `experiments.measure.summarise`.

    `num_samples` and `seconds` are means over the replicates, whose intervals are valid at every interim look. Each row
    also has `rtol`, and if the exact value is known `exceeded`: the number of runs with an error above the tolerance at
    which they stopped, max(atol, rtol |value|).

    Replicate r of a tolerance uses `fold_in(fold_in(key, bits of rtol), r)`, for any other rtols.

    **Arguments:** as in `experiments.measure.measure`; `methods`: further arguments of `mc.estimate`.
    """
    exact = exact_value(methods.get("functional"), problem)
    run = partial(mc.estimate, problem=problem, proposal=proposal, **methods)
    steps, rows, compile_seconds = tolerances.steps(), [], None
    for number, rtol in enumerate(steps, start=1):
        on_step(f"rtol = {rtol:g}", number, len(steps))
        budget = mc.Tolerance(rtol, tolerances.atol, tolerances.max_samples)
        of_rtol = jax.random.fold_in(key, np.float32(rtol).view(np.uint32))
        # One more run than is measured, first: it compiles the code of the others.
        warm_up = run(jax.random.fold_in(of_rtol, tolerances.replicates), budget=budget)
        compile_seconds = warm_up.seconds if compile_seconds is None else compile_seconds
        results = [run(jax.random.fold_in(of_rtol, r), budget=budget) for r in range(tolerances.replicates)]
        seen = jax.tree.map(lambda *leaves: np.stack(leaves), *map(observe, results))
        seconds = float(np.mean([result.seconds or math.nan for result in results]))
        for row, exceeded in zip(summarise(seen, exact), _exceeded(seen, exact, rtol, tolerances.atol), strict=True):
            rows.append(row | {"rtol": rtol, "exceeded": exceeded, "seconds": seconds})
    return [row | {"compile_seconds": compile_seconds} for row in rows]


def _exceeded(seen: Observed, exact: Any, rtol: float, atol: float) -> list[int | None]:
    """The number of values of each output with an error above the tolerance; None if the exact value is unknown."""
    values = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(seen.value)], axis=1)
    if exact is None:
        return [None] * values.shape[1]
    of_outputs = jax.tree.map(lambda x, like: np.ravel(np.broadcast_to(x, like.shape[1:])), exact, seen.value)
    off = np.abs(values - np.concatenate(jax.tree.leaves(of_outputs)))
    return [int(count) for count in np.sum(off > np.maximum(atol, rtol * np.abs(values)), axis=0)]
