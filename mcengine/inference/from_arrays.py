"""Estimates of samples that are there, as arrays, in float64 on the host: behind `estimate_from` and `TailRisk`."""

from typing import Any

import jax
import numpy as np

from mcengine.inference.betting import Betting
from mcengine.inference.confidence_sequences import Asymptotic, FewUnits, FiniteSample
from mcengine.inference.estimate import Estimate, finish
from mcengine.inference.spec import EstimateSpec
from mcengine.summaries.from_arrays import summary_of_arrays
from mcengine.weights.weighting import Raw, Weighting


def estimate_of_arrays(
    log_w: np.ndarray | None,
    values: Any,
    weighting: Weighting = Raw(),
    *,
    below: np.ndarray | None = None,
    covariance: str | None = "diagonal",
    largest: float | None = None,
    sequence: Asymptotic | FewUnits | FiniteSample | Betting | None = None,
) -> Estimate:
    """mean(w f), or mean(w f) / mean(w below); `values` a tree of arrays [n, ...], `log_w` and `below` [n]."""
    leaves, treedef = jax.tree.flatten(values)
    columns = columns_of(leaves)
    divided = below is not None
    if divided:
        # The mean weight would cancel.
        weighting = weighting.without_normalisation
        columns = np.concatenate([columns, np.asarray(below, np.float64)[None]])
    spec = EstimateSpec(
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
    return finish(summary_of_arrays(log_w, columns, weighting, covariance, num_denominators=int(divided)), spec)


def columns_of(leaves: list[Any]) -> np.ndarray:
    """All numbers of each sample as columns, [K, n]."""
    return np.concatenate([np.asarray(leaf, np.float64).reshape(len(leaf), -1).T for leaf in leaves])
