"""What `estimate` returns: a value with its error bar, its sample count and a word on how far to trust it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from mcengine.inference.betting import Betting
from mcengine.inference.covariance import Combination, covariance_matrix, delta_method, linear_combination
from mcengine.inference.finalise import finalise
from mcengine.inference.intervals import interval_of
from mcengine.inference.spec import EstimateSpec
from mcengine.inference.status import Status
from mcengine.inference.text import detail_of, head_of
from mcengine.numerics.tracing import is_traced
from mcengine.summaries.merge import alike
from mcengine.summaries.merge_tree import MergeTree
from mcengine.summaries.summary import Summary


class Estimate(eqx.Module):
    """An estimated value and how far to trust it.

    Fields are NumPy float64 from a script, JAX arrays under `jit`, `vmap` and `grad`; under `vmap` they have leading
    axes, and `interval` works on all of them at once.

    - `value`, `std_error`: of the structure of the integrand's value. Without hits, with nothing but hits of an
      indicator, with one unit, or with units that are equal by chance, the error is NaN, not 0.
    - `ess`, `pareto_k`, `max_weight_share`, `num_hits`: of |w f|, per output. `pareto_k` is NaN where the weights are
      discrete or too few, and beyond the first 16 outputs. With controls the status looks at the tail of what they
      leave too, |w f - beta c - its mean|.
    - `num_samples`, `num_units`, `num_nonfinite`.
    - `status_codes`: a `Status` code per output; `status`, the gravest; `ok`, whether it is `Status.OK`.
    - `bias_seen`: what the weighting took away from (or added to) the raw estimate; 0 for raw weights.
    - `upper_bound`: of an output without hits, the 95 % bound 3 sup(w f)/n (NaN where sup(w f) is unknown).
    - `skewness`: of what units of at least 8 samples contribute; NaN of shorter ones, and after a `Tolerance` with
      growing units. `interval` is longer on that side; those of `combination`, `function_of` and `TailRisk` are not.
    - `row`: the moments behind it all, for `merge`.
    """

    value: Any
    std_error: Any
    ess: Any
    pareto_k: Any
    max_weight_share: Any
    num_hits: Any
    num_samples: Any
    num_units: Any
    num_nonfinite: Any
    bias_seen: Any
    upper_bound: Any
    skewness: Any
    status_codes: Any
    seconds: float | None
    summary: Summary
    spec: EstimateSpec

    @property
    def status_code(self) -> Any:
        """The gravest `Status` code over all outputs, an integer (array, under `vmap`)."""
        leaves = jax.tree.leaves(self.status_codes)
        batch = np.ndim(self.num_samples)
        flat = [leaf.reshape(*leaf.shape[:batch], -1) for leaf in leaves]
        xp = jnp if isinstance(flat[0], jax.Array) else np
        return xp.max(xp.concatenate(flat, axis=-1), axis=-1)

    @property
    def status(self) -> Status:
        """The gravest status, with its `sentence`. Needs a single, concrete result: see `status_code` otherwise."""
        code = self.status_code
        if isinstance(code, Tracer) or np.ndim(code):
            raise ValueError("status: under jit or vmap the status is an integer code per estimate; use status_code.")
        return Status(int(code))

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the interval."""
        return self.status == Status.OK

    def interval(self, level: float = 0.95) -> tuple[Any, Any]:
        """Two-sided confidence interval (low, high), NumPy float64, of the structure of `value`.

        Student-t over units, longer on the side to which the means of few units are skewed (after a `Tolerance` budget,
        an interval that holds all the same); Clopper and Pearson's for plain sampling of a probability; [0, upper
        bound] where a non-negative integrand had no hits, and [1 - upper bound, 1] where an indicator had nothing else;
        infinite where the error is NaN and w f unbounded.

        **Raises:** `ValueError` for a level outside (0, 1), and inside a trace.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"interval: level must lie strictly between 0 and 1, got {level}.")
        if is_traced(self.value):
            raise ValueError(
                "interval: inside jit, vmap and grad there are no intervals, which SciPy makes: return the whole "
                "estimate from the trace, or use value and std_error."
            )
        if isinstance(self.spec.sequence, Betting):
            low, high = self.spec.sequence.bounds(level)
            return self.spec.unflatten(low, np), self.spec.unflatten(high, np)
        num_samples, num_units = np.asarray(self.num_samples), np.asarray(self.num_units)

        def of_leaf(value, std_error, hits, skewness):
            grow = (...,) + (None,) * (np.ndim(value) - np.ndim(num_samples))
            counts = num_samples[grow], num_units[grow]
            return interval_of(value, std_error, skewness, hits, *counts, self.spec, level)

        trees = (self.value, self.std_error, self.num_hits, self.skewness)
        pairs = [of_leaf(*leaves) for leaves in zip(*map(jax.tree.leaves, trees), strict=True)]
        low, high = zip(*pairs, strict=True)
        return jax.tree.unflatten(self.spec.treedef, low), jax.tree.unflatten(self.spec.treedef, high)

    @property
    def covariance(self) -> Any:
        """Covariance of the estimates (not of a sample) of all outputs, flattened in the order of the value's leaves.

        [K, K] after `estimate(..., covariance="full")`, else the K variances. NaN for outputs without an error bar.
        """
        batch, xp = np.ndim(self.num_samples), jnp if isinstance(self.num_samples, jax.Array) else np
        errors = [leaf.reshape(*leaf.shape[:batch], -1) for leaf in jax.tree.leaves(self.std_error)]
        errors = xp.concatenate(errors, axis=-1)
        if self.spec.covariance != "full":
            return errors**2
        known = xp.isfinite(errors)
        known = known[..., :, None] & known[..., None, :]
        return xp.where(known, covariance_matrix(self.summary, self.spec, xp), xp.nan)

    def combination(self, coefficients: Any) -> Combination:
        """sum_k c_k value_k with its own `std_error` and `interval(level)`, from how the outputs vary together.

        **Arguments:** `coefficients`, a tree like `value` whose leaves broadcast to its leaves: for an array of outputs
        an array or a list, or one number for all of them.

        **Raises:** `ValueError` for another structure, and after a run without `covariance="full"` unless only one
        coefficient is not 0.
        """
        return linear_combination(self.value, self.std_error, coefficients, self.summary, self.spec)

    def function_of(self, function: Callable[[Any], Any]) -> Combination:
        """g(value) of a smooth g, with standard errors by the delta method: sqrt(J C J'), J the Jacobian of g.

        For ratios, differences of logarithms, ... of several outputs; a self-normalised mean is a `functional` or a
        `weighting`. g maps a tree like `value` to any tree of arrays, in `jax.numpy`; it must be as good as linear
        over the error bars, and the result is biased by its curvature (by O(1/n)).

        **Raises:** `ValueError` for several outputs after a run without `covariance="full"`.
        """
        value, std_error = delta_method(function, self.value, self.std_error, self.summary, self.spec)
        return Combination(value, std_error, self.num_units)

    def merge(self, other: "Estimate") -> "Estimate":
        """The estimate from both sets of samples, which must be independent (different keys) and of one problem.

        **Raises:** `ValueError` for results of another structure, weighting or precision, for batches from `vmap`, and
        for the same samples twice. That both are of the same problem cannot be seen from them.
        """
        mine, theirs = self.spec, other.spec
        same = ("treedef", "shapes", "self_normalised", "bounded_by_one", "epsilon", "covariance", "controlled")
        if any(getattr(mine, name) != getattr(theirs, name) for name in same):
            raise ValueError("merge: the two estimates are not of the same problem and weighting.")
        if mine.sequence is not None or theirs.sequence is not None:
            raise ValueError("merge: an estimate that stopped by a tolerance depends on its samples' own course.")
        if np.ndim(self.num_samples) or np.ndim(other.num_samples):
            raise ValueError("merge: needs single estimates, not batches from vmap.")
        if all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (self.summary, other.summary)), strict=True)):
            raise ValueError("merge: both are the same samples; draw them with different keys.")
        summaries = MergeTree()
        for summary in alike(self.summary, other.summary):
            summaries.append(jax.tree.map(lambda leaf: np.asarray(leaf)[None], summary))
        seconds = None if self.seconds is None or other.seconds is None else self.seconds + other.seconds
        # Binomial only together; a bound on w f must hold for both.
        spec = dataclasses.replace(
            mine,
            binomial=mine.binomial and theirs.binomial,
            indicator=mine.indicator and theirs.indicator,
            controlled=mine.controlled or theirs.controlled,
            largest=np.asarray(np.maximum(mine.largest, theirs.largest)),
        )
        return finish(summaries.merged(), spec, np, seconds)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python numbers and lists, ready for JSON (NaN becomes None)."""
        low, high = self.interval()
        fields = {
            "value": self.value, "std_error": self.std_error, "low": low, "high": high, "ess": self.ess,
            "pareto_k": self.pareto_k, "max_weight_share": self.max_weight_share, "num_hits": self.num_hits,
            "num_samples": self.num_samples, "num_units": self.num_units, "num_nonfinite": self.num_nonfinite,
            "bias_seen": self.bias_seen, "upper_bound": self.upper_bound, "skewness": self.skewness,
        }  # fmt: skip
        plain = {name: jax.tree.map(_plain, value) for name, value in fields.items()}
        return {**plain, "status": str(self.status), "sentence": self.status.sentence, "seconds": self.seconds}

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if np.ndim(self.status_code):
            return f"Estimate of {np.shape(self.status_code)} replicates; see .value, .std_error, .status_code."
        seconds = "" if self.seconds is None else f"   {self.seconds:.2f} s"
        bad = f"   non-finite {int(self.num_nonfinite):,}" if int(self.num_nonfinite) else ""
        counts = f"{int(self.num_samples):,} samples{seconds}   {detail_of(self)}{bad}"
        return f"{head_of(self)}\n{counts}\nstatus: {self.status.sentence}"


def _plain(leaf: Any) -> Any:
    array = np.asarray(leaf, np.float64)
    if array.ndim:
        return [_plain(entry) for entry in array]
    return float(array) if np.isfinite(array) else None


def finish(summary: Summary, spec: EstimateSpec, xp: Any, seconds: float | None = None) -> Estimate:
    """The estimate that a merged row stands for."""
    columns = finalise(summary, spec, xp)

    def of_outputs(column):
        return spec.unflatten(column, xp)

    return Estimate(
        value=of_outputs(columns.value),
        std_error=of_outputs(columns.std_error),
        ess=of_outputs(columns.ess),
        pareto_k=of_outputs(columns.k),
        max_weight_share=of_outputs(columns.share),
        num_hits=of_outputs(columns.hits),
        num_samples=summary.stats.num_samples,
        num_units=summary.moments.count,
        num_nonfinite=summary.stats.num_nonfinite,
        bias_seen=of_outputs(columns.bias),
        upper_bound=of_outputs(columns.upper_bound),
        skewness=of_outputs(columns.skewness),
        status_codes=of_outputs(columns.codes),
        seconds=seconds,
        summary=summary,
        spec=spec,
    )
