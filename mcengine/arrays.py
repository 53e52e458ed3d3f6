"""Estimates of samples that are there, as arrays, in float64 on the host: behind `estimate_from` and `TailRisk`."""

import time
from typing import Any

import jax
import numpy as np

from mcengine.diagnostics import MIN_UNITS, Status
from mcengine.execution.blocks import row_of_arrays
from mcengine.functionals import RiskEstimate, TailRisk, tail_risk
from mcengine.recipe import Recipe
from mcengine.result import Estimate, finish
from mcengine.weighting import Raw, Weighting


def estimate_of_arrays(
    log_w: np.ndarray | None,
    values: Any,
    weighting: Weighting = Raw(),
    *,
    below: np.ndarray | None = None,
    covariance: str | None = "diagonal",
    largest: float | None = None,
    sequence: Any = None,
) -> Estimate:
    """mean(w f), or mean(w f) / mean(w below); `values` a tree of arrays [n, ...], `log_w` and `below` [n]."""
    leaves, treedef = jax.tree.flatten(values)
    columns = columns_of(leaves)
    divided = below is not None
    if divided:
        # The mean weight would cancel.
        weighting = getattr(weighting, "of", weighting)
        columns = np.concatenate([columns, np.asarray(below, np.float64)[None]])
    recipe = Recipe(
        treedef=treedef,
        shapes=tuple(leaf.shape[1:] for leaf in leaves),
        self_normalised=weighting.self_normalised or divided,
        binomial=False,
        bounded_by_one=False,
        epsilon=float(np.finfo(np.float64).eps),
        largest=np.asarray(np.nan if largest is None else float(largest)),
        covariance=covariance,
        sequence=sequence,
        divided=divided,
    )
    return finish(row_of_arrays(log_w, columns, weighting, covariance, int(divided)), recipe, np)


def columns_of(leaves: list[Any]) -> np.ndarray:
    """All numbers of each sample as columns, [K, n]."""
    return np.concatenate([np.asarray(leaf, np.float64).reshape(len(leaf), -1).T for leaf in leaves])


def risk_of_arrays(
    log_w: np.ndarray | None, losses: np.ndarray, functional: TailRisk, weighting: Weighting = Raw(), unit_size: int = 1
) -> RiskEstimate:
    """Quantiles and shortfalls of weighted losses [n], in units of `unit_size` samples, and how far to trust them."""
    start = time.perf_counter()
    usable = np.isfinite(losses) if log_w is None else np.isfinite(losses) & ~np.isnan(log_w) & (log_w < np.inf)
    if not usable.all():  # left out, and said so by the status
        log_w = np.where(usable, 0.0 if log_w is None else log_w, -np.inf)
        losses = np.where(usable, losses, np.min(losses[usable], initial=0.0))
    values, errors, ordered, exceedance = tail_risk(
        log_w, losses, functional.levels, unit_size, weighting.self_normalised
    )
    found = np.isfinite(values["quantile"])
    v = np.where(found, values["quantile"], np.inf)
    excess = np.where(found, np.maximum(losses[:, None] - np.where(found, v, 0.0), 0.0), 0.0)
    tail = estimate_of_arrays(log_w, (losses[:, None] >= v) * 1.0, weighting)
    beyond = estimate_of_arrays(log_w, excess, weighting)
    # An atom at the quantile may leave nothing beyond it.
    both = np.asarray(beyond.num_hits) > 0
    # Of an indicator that is 1 throughout, as below an atom, nothing is lost by rounding.
    codes = np.where(tail.status_codes == Status.ROUNDING, Status.OK, tail.status_codes)
    codes = np.where(both, np.maximum(codes, beyond.status_codes), codes)
    num_units = len(losses) // unit_size
    unknown = num_units < MIN_UNITS or np.isnan(errors["exceedance"])
    codes = np.where(unknown, np.maximum(codes, Status.FEW_UNITS), codes)
    return RiskEstimate(
        levels=functional.levels,
        value=values,
        std_error=errors,
        ess=np.where(both, np.minimum(tail.ess, beyond.ess), tail.ess),
        pareto_k=np.fmax(tail.pareto_k, beyond.pareto_k),
        max_weight_share=np.maximum(tail.max_weight_share, beyond.max_weight_share),
        num_hits=np.asarray(tail.num_hits),
        num_samples=len(losses),
        num_units=num_units,
        num_nonfinite=int(np.sum(~usable)),
        status_codes=codes if usable.all() else np.full(len(codes), Status.NON_FINITE),
        seconds=time.perf_counter() - start,
        losses=ordered,
        exceedance=exceedance,
    )
