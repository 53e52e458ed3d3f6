"""`estimate_from`: the estimate from samples that were drawn elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import PyTree

from mcengine.engine.budgets import FINITE_SAMPLE
from mcengine.engine.options import CovarianceMode
from mcengine.engine.validation import check_methods
from mcengine.functionals.protocol import Functional, Functionals, Result, WeightedSamples
from mcengine.functionals.requested import functionals_of
from mcengine.inference.betting import Betting
from mcengine.inference.confidence_sequences import FiniteSample
from mcengine.inference.covariance import check_covariance
from mcengine.inference.from_arrays import columns_of, estimate_of_arrays
from mcengine.numerics.tracing import is_traced
from mcengine.weights.weighting import Raw, Weighting


def estimate_from(
    log_weights: ArrayLike | None,
    values: PyTree,
    *,
    weighting: Weighting = Raw(),
    covariance: CovarianceMode = "diagonal",
    functional: Functionals = None,
    finite_sample: bool | str = False,
    largest: float | None = None,
) -> PyTree:
    """The estimate from samples that were drawn elsewhere: logged data, or another program's.

    value = mean(w_i f_i) with w_i = exp(log_weights_i), and the same error bar, diagnostics and status as `estimate`.
    Samples must be independent. Computed in float64.

    **Arguments:**

    - `log_weights`: log p(x_i) - log q(x_i), [n] (see `mcengine.weights.log_ratio`); None for unweighted samples.
    - `values`: f(x_i), an array [n, ...] or a pytree of such.
    - `weighting`, `covariance`, `functional`: as in `estimate`; the functional is one of each sample's value.
    - `finite_sample`: "betting" or "bernstein" for an interval without asymptotics, which holds for this n and any
      distribution of w f in [0, `largest`] (raw weights; samples in the order they were drawn).
    - `largest`: an upper bound on w f.

    **Returns:** an `Estimate`, or a `RiskEstimate` for `TailRisk`; for several functionals a dict or sequence of them.

    **Raises:** `ValueError` for empty input, lengths that differ, complex values, and a `largest` that is no bound;
    `TypeError` for traced arrays.
    """
    check_methods("estimate_from", weighting=weighting)
    check_covariance(covariance)
    if is_traced((log_weights, values)):
        raise TypeError(
            "estimate_from: it reduces in float64 on the host and cannot be called inside jit, vmap or grad."
        )
    if isinstance(values, list | tuple) and all(np.ndim(value) == 0 for value in values):
        values = np.asarray(values)  # a list of numbers, not a pytree of scalars
    if any(np.iscomplexobj(leaf) for leaf in jax.tree.leaves(values)):
        raise ValueError("estimate_from: values are complex; give their real and imaginary parts.")
    leaves, treedef = jax.tree.flatten(jax.tree.map(lambda v: np.asarray(v, np.float64), values))
    lengths = {leaf.shape[0] if leaf.ndim else None for leaf in leaves}
    log_weights = None if log_weights is None else np.asarray(log_weights, np.float64)
    if log_weights is not None and log_weights.ndim != 1:
        raise ValueError(f"estimate_from: log_weights must have one axis, got shape {log_weights.shape}.")
    known = lengths if log_weights is None else lengths | {log_weights.shape[0]}
    if len(known) != 1 or None in known:
        shapes = [leaf.shape for leaf in leaves]
        weights_shape = None if log_weights is None else log_weights.shape
        raise ValueError(f"estimate_from: lengths differ: log_weights {weights_shape}, values {shapes}.")
    if 0 in known:
        raise ValueError("estimate_from: there are no samples.")
    if not any(leaf.size for leaf in leaves):
        raise ValueError("estimate_from: there are no values.")
    if largest is not None and not (np.isfinite(largest) and largest > 0):
        raise ValueError(f"estimate_from: largest, a bound on w f, must be positive and finite, got {largest}.")
    values = jax.tree.unflatten(treedef, leaves)
    if functional is not None:
        if finite_sample is not False:
            raise ValueError("estimate_from: finite_sample is for the mean; leave functional out.")
        functionals, structure = functionals_of(functional)
        results = [_of_functional(one, log_weights, values, weighting, covariance) for one in functionals]
        return jax.tree.unflatten(structure, results)
    sequence = None
    if finite_sample is not False:
        columns = columns_of(leaves)
        sequence = _finite_sample_interval(
            log_weights, columns, weighting=weighting, choice=finite_sample, largest=largest
        )
    return estimate_of_arrays(log_weights, values, weighting, covariance=covariance, largest=largest, sequence=sequence)


def _of_functional(
    functional: Functional, log_w: np.ndarray | None, values: PyTree, weighting: Weighting, covariance: CovarianceMode
) -> Result:
    """The result of one functional."""
    with jax.enable_x64(True):
        columns = jax.vmap(functional.columns)(jax.tree.map(jnp.asarray, values))
    above, below = jax.tree.map(np.asarray, columns)
    if functional.keeps_samples:
        return functional.finish_samples(WeightedSamples(log_w, above, 1, weighting))
    own_covariance = "full" if functional.needs_covariance else covariance
    estimate = estimate_of_arrays(log_w, above, weighting, below=below, covariance=own_covariance)
    return functional.finish(estimate)


def _finite_sample_interval(
    log_weights: np.ndarray | None,
    columns: np.ndarray,
    *,
    weighting: Weighting,
    choice: bool | str,
    largest: float | None,
) -> Betting | FiniteSample:
    """The finite-sample interval asked for, checked; `columns` f, [K, n]."""
    if choice not in FINITE_SAMPLE:
        raise ValueError(f"estimate_from: finite_sample must be one of {FINITE_SAMPLE}, got {choice!r}.")
    if weighting.changes_weights or weighting.self_normalised:
        raise ValueError("estimate_from: finite_sample needs raw weights.")
    y = columns.T if log_weights is None else np.exp(log_weights)[:, None] * columns.T
    if largest is None or not np.all((y >= 0) & (y <= largest)):
        raise ValueError(
            f"estimate_from: finite_sample needs 0 <= w f <= largest; largest is {largest}, and w f lies between "
            f"{np.min(y)} and {np.max(y)}."
        )
    if choice == "betting":
        return Betting(y / largest, np.ones(len(y), int), np.asarray(float(largest)))
    return FiniteSample()
