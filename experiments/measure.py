"""Measures an estimator by many independent replicates at a ladder of sample counts.

Pure functions: (key, problem, proposal, ladder, points, ...) in, plain numbers out. `experiments.stopping` measures
runs that stop at a tolerance.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

import mcengine as mc
from mcengine.functionals import exact_value
from mcengine.inference.status import Status

# Called when a step of a budget begins, with its name, its number from 1 on, and the number of steps.
OnStep = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Ladder:
    """Sample counts N = min_samples, min_samples factor, ... up to max_samples, and R replicates at each.

    R = `replicates` where R N <= max_draws, else max(min_replicates, max_draws / N).
    """

    min_samples: int = 2**8
    max_samples: int = 2**20
    factor: int = 4
    replicates: int = 400
    max_draws: int = 2**22
    min_replicates: int = 16

    def __post_init__(self):
        for name, value in vars(self).items():
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"budget.{name} must be a whole number, got {value!r}.")
            if value < 1:
                raise ValueError(f"budget.{name} must be at least 1, got {value}.")
        if self.factor < 2:
            raise ValueError(f"budget.factor must be at least 2, got {self.factor}.")
        if self.max_samples < self.min_samples:
            raise ValueError(f"budget.max_samples = {self.max_samples} lies below min_samples = {self.min_samples}.")
        if min(self.replicates, self.min_replicates) < 2:
            raise ValueError("budget: a variance needs at least 2 replicates.")

    def steps(self) -> list[tuple[int, int]]:
        """The pairs (N, R), smallest N first."""
        steps, num_samples = [], self.min_samples
        while num_samples <= self.max_samples:
            affordable = max(self.min_replicates, self.max_draws // num_samples)
            steps.append((num_samples, min(self.replicates, affordable)))
            num_samples *= self.factor
        return steps


def measure(
    key: PRNGKeyArray,
    problem: Any,
    proposal: Any,
    ladder: Ladder,
    *,
    on_step: OnStep = lambda step, number, of: None,
    **methods: Any,
) -> list[dict[str, Any]]:
    """One row per sample count and output, see `summarise`.

    Replicate r of count N uses `fold_in(fold_in(key, N), r)`, for any number of replicates. `seconds` is the time of
    one estimate: N samples at the speed of the ladder's largest count, whose blocks are full.

    **Arguments:**
    - `methods`: further arguments of `mc.replicate` (points, mis, weighting, controls, functional);
    - `on_step(step, number, of)`: called when a count begins, as in ("N = 2^8", 1, 7).
    """
    exact = exact_value(methods.get("functional"), problem)
    replicate = partial(mc.replicate, problem=problem, proposal=proposal, **methods)
    compile_seconds = replicate(_keys(key, 1), budget=mc.Samples(ladder.min_samples)).seconds
    rows, pace = [], float("nan")
    steps = ladder.steps()
    for number, (num_samples, replicates) in enumerate(steps, start=1):
        on_step(_in_words(num_samples), number, len(steps))
        keys, budget = _keys(jax.random.fold_in(key, num_samples), replicates), mc.Samples(num_samples)
        if number == len(steps):
            _warm_up(replicate, jax.random.clone(keys), budget, **methods)
        estimates = replicate(keys, budget=budget)
        pace = (estimates.seconds or 0.0) / (replicates * num_samples)
        rows.extend(summarise(observe(estimates), exact))
    return [row | {"seconds": pace * row["num_samples"], "compile_seconds": compile_seconds} for row in rows]


def _in_words(num_samples: int) -> str:
    power = num_samples.bit_length() - 1
    return f"N = 2^{power}" if num_samples == 2**power else f"N = {num_samples:,}"


def _warm_up(
    replicate: Callable[..., Any], keys: Any, budget: mc.Samples, points: Any = None, mis: Any = None,
    controls: Any = None, **_: Any,
) -> None:  # fmt: skip
    """Compile the kernels that belong to this count only, so that its seconds do not include compilation."""
    if isinstance(mis, mc.mis.Optimal) or controls is not None:
        replicate(keys, budget=budget)  # a pilot's kernel depends on the number of keys
    elif points is not None and points.unit_size != points.for_budget(budget.count).unit_size:
        replicate(keys[:1], budget=budget)


def _keys(key: PRNGKeyArray, number: int) -> PRNGKeyArray:
    return jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(number))


class Observed(NamedTuple):
    """The kept numbers of R estimates: trees of the structure of `value` with a leading axis [R], and counts [R]."""

    value: Any
    std_error: Any
    low: Any
    high: Any
    code: Any
    ess: Any
    pareto_k: Any
    max_weight_share: Any
    num_hits: Any
    num_samples: Any
    num_nonfinite: Any


def observe(estimates: Any) -> Observed:
    """The kept numbers of estimates, or of one estimate (without the leading axis), with 95 % intervals."""
    low, high = estimates.interval(0.95)
    trees = (estimates.std_error, low, high, estimates.status_codes)
    trees += tuple(getattr(estimates, name) for name in ("ess", "pareto_k", "max_weight_share", "num_hits"))
    trees = (_of_each_output(tree, estimates.value) for tree in trees)
    return Observed(estimates.value, *trees, estimates.num_samples, estimates.num_nonfinite)


def _of_each_output(tree: Any, value: Any) -> Any:
    """The tree in the structure of `value`: `TailRisk` has one number per level for both quantile and shortfall."""
    if jax.tree.structure(tree) == jax.tree.structure(value):
        return tree
    return {name: tree[name] if isinstance(tree, dict) else tree for name in value}


def summarise(seen: Observed, exact: Any) -> Iterator[dict[str, Any]]:
    """One row of statistics of R estimates for each output of the integrand.

    `num_samples`, the mean if the counts differ; `mean`, `variance` (with `variance_se`, from the fourth moment) and
    `mean_std_error` over the replicates; `mse` and the number of 95 % intervals that cover (`covered`) if the exact
    value is known; means of ESS, hits and largest share; the median k-hat (None if there is none); the total of
    non-finite values; and the most common status.
    """
    replicates = len(np.asarray(seen.num_samples))
    trees = {name: tree for name, tree in seen._asdict().items() if name not in ("num_samples", "num_nonfinite")}
    columns = {name: _columns(tree, replicates) for name, tree in trees.items()}
    labels = output_labels(seen.value)
    truth = np.full(len(labels), np.nan) if exact is None else _columns(exact, 1, broadcast_to=seen.value)[0]
    for output, label in enumerate(labels):
        one = {name: column[:, output] for name, column in columns.items()}
        yield {
            "output": label,
            "num_samples": round(float(np.mean(seen.num_samples))),
            "replicates": replicates,
            "exact": float(truth[output]),
            **_spread(one["value"]),
            "mean_std_error": _average(one["std_error"]),
            "mse": float(np.mean((one["value"] - truth[output]) ** 2)),
            "covered": _covered(one["low"], one["high"], truth[output]),
            "ess": _average(one["ess"]),
            "pareto_k": _average(one["pareto_k"], np.median),
            "max_weight_share": _average(one["max_weight_share"]),
            "num_hits": _average(one["num_hits"]),
            "num_nonfinite": int(np.sum(np.asarray(seen.num_nonfinite))),
            **_statuses(one["code"]),
        }


def output_labels(value: Any) -> list[str]:
    """The names of the outputs of a batched value: '' for a scalar, else the path in the pytree and the index."""
    labels = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(value):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        shape = np.shape(leaf)[1:]
        labels.extend(name + ("" if not shape else str(list(index))) for index in np.ndindex(*shape))
    return labels


def _columns(tree: Any, replicates: int, broadcast_to: Any = None) -> np.ndarray:
    if broadcast_to is not None:
        tree = jax.tree.map(lambda x, like: np.broadcast_to(x, np.shape(like)[1:]), tree, broadcast_to)
    leaves = [np.asarray(leaf, np.float64).reshape(replicates, -1) for leaf in jax.tree.leaves(tree)]
    return np.concatenate(leaves, axis=1)


def _spread(values: np.ndarray) -> dict[str, float]:
    if not np.all(np.isfinite(values)):  # for example a quantile beyond the total weight
        return dict.fromkeys(("mean", "variance", "variance_se"), math.nan)
    size, mean = len(values), float(np.mean(values))
    variance = float(np.var(values, ddof=1))
    fourth = float(np.mean((values - mean) ** 4))
    # Var(s^2) = (m4 - s^4 (R - 3)/(R - 1)) / R, which sampling noise can make negative at small R.
    variance_se = np.sqrt(max(fourth - variance**2 * (size - 3) / (size - 1), 0.0) / size)
    return {"mean": mean, "variance": variance, "variance_se": float(variance_se)}


def _average(values: np.ndarray | None, of: Callable[[np.ndarray], Any] = np.mean) -> float | None:
    known = np.zeros(0) if values is None else values[np.isfinite(values)]
    return float(of(known)) if len(known) else None


def _covered(low: np.ndarray, high: np.ndarray, truth: float) -> int | None:
    return None if np.isnan(truth) else int(np.sum((low <= truth) & (truth <= high)))


def _statuses(codes: np.ndarray) -> dict[str, Any]:
    counts = Counter(int(code) for code in codes)
    return {
        "status": str(Status(counts.most_common(1)[0][0])),
        "ok_share": counts[int(Status.OK)] / len(codes),
        "statuses": {str(Status(code)): number for code, number in sorted(counts.items())},
    }
