"""What `estimate` returns: a value with its error bar, its sample count and a status."""

import dataclasses
import warnings
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Float, PyTree

from mcengine.inference.betting import Betting
from mcengine.inference.covariance import Combination, FlatOutputs, covariance_matrix, delta_method, linear_combination
from mcengine.inference.finalise import finalise
from mcengine.inference.intervals import UnitStatistics, interval_of
from mcengine.inference.result import Result, flat_outputs
from mcengine.inference.spec import EstimateSpec
from mcengine.inference.text import diagnostics_text, value_lines
from mcengine.numerics.arrays import AnyArray, Numbers, NumberTree, namespace
from mcengine.summaries.merge import alike
from mcengine.summaries.merge_tree import MergeTree
from mcengine.summaries.summary import Summary

# What two specifications must share for their estimates to merge.
SHARED = ("treedef", "shapes", "self_normalised", "bounded_by_one", "epsilon", "covariance", "controlled")


class Estimate(Result):
    """An estimated value, its error bar, and diagnostics that tell whether the error bar can be trusted.

    Fields are NumPy float64 from a script, JAX arrays under `jit`, `vmap` and `grad`; under `vmap` they have leading
    axes, and `interval` works on all of them at once.

    - `value`, `std_error`: of the structure of the integrand's value. The error is NaN, and not 0, without hits, with
      nothing but hits of an indicator, with one unit, and with units that are equal by chance.
    - `interval(level)`: Student-t over units, longer on the side to which the means of few units are skewed; valid at
      every interim look after a `Tolerance` budget; Clopper and Pearson's for plain sampling of a probability;
      [0, upper bound] for a non-negative integrand without hits, and [1 - upper bound, 1] for an indicator with nothing
      else; infinite where the error is NaN and w f unbounded.
    - `ess`, `pareto_k`, `max_weight_share`, `num_hits`: of |w f|, per output. `pareto_k` is NaN where the weights are
      discrete or too few, and beyond the first 16 outputs. With controls the status also tests the tail of the
      residuals, |w f - beta c - their mean|.
    - `num_samples`, `num_units`, `num_nonfinite`.
    - `status_codes`: a `Status` code per output; `status`, the most severe; `ok`, whether it is `Status.OK`.
    - `bias_seen`: the change of the raw estimate by the weighting; 0 for raw weights.
    - `upper_bound`: of an output without hits, the 95 % bound 3 sup(w f) / n (NaN where sup(w f) is unknown).
    - `skewness`: of the contributions of units of at least 8 samples; NaN of shorter ones, and after a `Tolerance` with
      growing units. `interval` is longer on that side; those of `combination`, `function_of` and `TailRisk` are not.
    - `summary`: the moments behind it all, for `merge`; `spec`, how they become an estimate.
    """

    value: NumberTree
    std_error: NumberTree
    ess: NumberTree
    pareto_k: NumberTree
    max_weight_share: NumberTree
    num_hits: NumberTree
    num_samples: Numbers
    num_units: Numbers
    num_nonfinite: Numbers
    bias_seen: NumberTree
    upper_bound: NumberTree
    skewness: NumberTree
    status_codes: NumberTree
    seconds: float | None
    summary: Summary
    spec: EstimateSpec

    @property
    def row(self) -> Summary:
        """The old name of `summary`."""
        _warn_of_old_name("row", "summary")
        return self.summary

    @property
    def recipe(self) -> EstimateSpec:
        """The old name of `spec`."""
        _warn_of_old_name("recipe", "spec")
        return self.spec

    @property
    def _num_batch_axes(self) -> int:
        return np.ndim(self.num_samples)

    def _interval(self, level: float) -> tuple[NumberTree, NumberTree]:
        if isinstance(self.spec.sequence, Betting):
            low, high = self.spec.sequence.bounds(level)
            return self.spec.unflatten(low), self.spec.unflatten(high)
        num_samples, num_units = np.asarray(self.num_samples), np.asarray(self.num_units)
        trees = (self.value, self.std_error, self.skewness, self.num_hits)
        sides = []
        for leaves in zip(*map(jax.tree.leaves, trees), strict=True):
            grow = (...,) + (None,) * (np.ndim(leaves[0]) - np.ndim(num_samples))
            statistics = UnitStatistics(*leaves, num_samples=num_samples[grow], num_units=num_units[grow])
            sides.append(interval_of(statistics, self.spec, level))
        low, high = zip(*sides, strict=True)
        return jax.tree.unflatten(self.spec.treedef, low), jax.tree.unflatten(self.spec.treedef, high)

    @property
    def covariance(self) -> Float[AnyArray, "*batch K"] | Float[AnyArray, "*batch K K"]:
        """Covariance of the estimates (not of a sample) of all outputs, flattened in the order of the value's leaves.

        [K, K] after `estimate(..., covariance="full")`, else the K variances. NaN for outputs without an error bar.
        """
        errors = flat_outputs(self.std_error, self._num_batch_axes)
        if self.spec.covariance != "full":
            return errors**2
        xp = namespace(errors)
        known = xp.isfinite(errors)
        known = known[..., :, None] & known[..., None, :]
        return xp.where(known, covariance_matrix(self.summary, self.spec), xp.nan)

    def combination(self, coefficients: NumberTree) -> Combination:
        """sum_k c_k value_k with its own `std_error`, `interval(level)` and `status`.

        **Arguments:** `coefficients`, a tree like `value` whose leaves broadcast to its leaves: for an array of outputs
        an array or a list, or one number for all of them.

        **Raises:** `ValueError` for another structure, and after a run without `covariance="full"` unless only one
        coefficient is not 0.
        """
        return linear_combination(coefficients, self._flat())

    def function_of(self, function: Callable[[PyTree], PyTree]) -> Combination:
        """g(value) of a smooth g, with standard errors by the delta method: sqrt(J C J'), J the Jacobian of g.

        For ratios, differences of logarithms, ... of several outputs; a self-normalised mean is a `functional` or a
        `weighting`. The result is biased by the curvature of g, by O(1/n).

        **Arguments:** `function` g, from a tree like `value` to any tree of arrays, in `jax.numpy`, nearly linear over
        the error bars.

        **Raises:** `ValueError` for several outputs after a run without `covariance="full"`.
        """
        return delta_method(function, self._flat())

    def _flat(self) -> FlatOutputs:
        trees = (self.value, self.std_error, self.status_codes)
        values, errors, codes = (flat_outputs(tree, self._num_batch_axes) for tree in trees)
        return FlatOutputs(values, errors, codes, self.summary, self.spec)

    def merge(self, other: "Estimate") -> "Estimate":
        """The estimate from both sets of samples, which must be independent (different keys) and of one problem.

        **Raises:** `ValueError` for results of another structure, weighting or precision, for batches from `vmap`, and
        for the same samples twice. That both are of the same problem cannot be checked.
        """
        self._check_mergeable(other)
        mine, theirs = self.spec, other.spec
        summaries = MergeTree()
        for summary in alike(self.summary, other.summary):
            summaries.append(jax.tree.map(lambda leaf: np.asarray(leaf)[None], summary))
        seconds = None if self.seconds is None or other.seconds is None else self.seconds + other.seconds
        # Binomial only if both are; a bound on w f must hold for both.
        spec = dataclasses.replace(
            mine,
            binomial=mine.binomial and theirs.binomial,
            indicator=mine.indicator and theirs.indicator,
            controlled=mine.controlled or theirs.controlled,
            largest=np.asarray(np.maximum(mine.largest, theirs.largest)),
        )
        return finish(summaries.merged(), spec, seconds)

    def _check_mergeable(self, other: "Estimate") -> None:
        mine, theirs = self.spec, other.spec
        if any(getattr(mine, name) != getattr(theirs, name) for name in SHARED):
            raise ValueError("merge: the two estimates are not of the same problem and weighting.")
        if mine.sequence is not None or theirs.sequence is not None:
            raise ValueError("merge: the sample count of an estimate stopped by a tolerance depends on its samples.")
        if np.ndim(self.num_samples) or np.ndim(other.num_samples):
            raise ValueError("merge: needs single estimates, not batches from vmap.")
        if all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (self.summary, other.summary)), strict=True)):
            raise ValueError("merge: both are the same samples; draw them with different keys.")

    def _entries(self) -> dict[str, NumberTree | list]:
        low, high = self.interval()
        return {
            "value": self.value, "std_error": self.std_error, "low": low, "high": high, "ess": self.ess,
            "pareto_k": self.pareto_k, "max_weight_share": self.max_weight_share, "num_hits": self.num_hits,
            "num_samples": self.num_samples, "num_units": self.num_units, "num_nonfinite": self.num_nonfinite,
            "bias_seen": self.bias_seen, "upper_bound": self.upper_bound, "skewness": self.skewness,
        }  # fmt: skip

    def _lines(self) -> list[str]:
        seconds = "" if self.seconds is None else f"   {self.seconds:.2f} s"
        bad = f"   non-finite {int(self.num_nonfinite):,}" if int(self.num_nonfinite) else ""
        diagnostics = diagnostics_text(self.num_hits, self.ess, self.pareto_k, self.max_weight_share)
        counts = f"{int(self.num_samples):,} samples{seconds}   {diagnostics}{bad}"
        return [*value_lines(self, self.status_codes), counts]


def _warn_of_old_name(old: str, new: str) -> None:
    warnings.warn(
        f"Estimate.{old} is now Estimate.{new}; the old name goes away with the next release.",
        DeprecationWarning,
        stacklevel=3,
    )


def finish(summary: Summary, spec: EstimateSpec, seconds: float | None = None) -> Estimate:
    """The estimate that a merged summary stands for."""
    columns = finalise(summary, spec)
    return Estimate(
        value=spec.unflatten(columns.value),
        std_error=spec.unflatten(columns.std_error),
        ess=spec.unflatten(columns.ess),
        pareto_k=spec.unflatten(columns.k),
        max_weight_share=spec.unflatten(columns.share),
        num_hits=spec.unflatten(columns.hits),
        num_samples=summary.stats.num_samples,
        num_units=summary.moments.count,
        num_nonfinite=summary.stats.num_nonfinite,
        bias_seen=spec.unflatten(columns.bias),
        upper_bound=spec.unflatten(columns.upper_bound),
        skewness=spec.unflatten(columns.skewness),
        status_codes=spec.unflatten(columns.codes),
        seconds=seconds,
        summary=summary,
        spec=spec,
    )
