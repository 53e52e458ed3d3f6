"""Estimates that are smooth functions of estimated means: value and error bar by the delta method."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import reduce

import jax
import numpy as np
from jaxtyping import PyTree

from mcengine.inference.estimate import Estimate
from mcengine.numerics.arrays import AnyArray, NumberTree, namespace


class DerivedEstimate(Estimate):
    """A smooth function of several means; error bars by the delta method over units.

    ESS, k-hat, largest share, hits and status are the worst of those of the means that it is made of.
    """

    def merge(self, other: Estimate) -> Estimate:
        """Refused: a function of means is no mean.

        **Raises:** `TypeError`.
        """
        raise TypeError("merge: functions of means do not merge; draw all samples in one run.")


def derived_estimate(columns: Estimate, function: Callable[[PyTree], PyTree], names: Sequence[str]) -> DerivedEstimate:
    """`function` of the means in `columns`, which is an estimate of a dict with the covariances of all its entries.

    **Arguments:** `names`, entries of that dict with the structure of the function's value, whose diagnostics count.
    """
    xp = namespace(columns.num_samples)
    batch = np.ndim(columns.num_samples)
    made = columns.function_of(function)
    value, std_error = made.value, made.std_error

    def worst(choose: Callable[..., AnyArray], field: NumberTree) -> NumberTree:
        return jax.tree.map(lambda *leaves: reduce(choose, leaves), *(field[name] for name in names))

    leaves, treedef = jax.tree.flatten(value)
    spec = dataclasses.replace(
        columns.spec,
        treedef=treedef,
        shapes=tuple(np.shape(leaf)[batch:] for leaf in leaves),
        covariance="diagonal",
        largest=xp.full_like(columns.spec.largest, xp.nan),
    )
    unknown = jax.tree.map(lambda leaf: xp.full_like(xp.asarray(leaf), xp.nan), value)
    return DerivedEstimate(
        value=value, std_error=std_error, ess=worst(xp.minimum, columns.ess),
        pareto_k=worst(xp.fmax, columns.pareto_k), max_weight_share=worst(xp.maximum, columns.max_weight_share),
        num_hits=worst(xp.maximum, columns.num_hits), num_samples=columns.num_samples, num_units=columns.num_units,
        num_nonfinite=columns.num_nonfinite, bias_seen=unknown, upper_bound=unknown, skewness=unknown,
        status_codes=worst(xp.maximum, columns.status_codes), seconds=columns.seconds, summary=columns.summary,
        spec=spec,
    )  # fmt: skip
