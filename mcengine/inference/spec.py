"""What is known of an estimate before the first sample is drawn."""

import math
from typing import Any

import equinox as eqx
import jax
import numpy as np

from mcengine.numerics.arrays import AnyArray, namespace


class EstimateSpec(eqx.Module):
    """How a row of moments becomes an estimate: all that is known before the first sample is drawn.

    **Arguments:** `treedef` and `shapes`, the structure of the integrand's value; `self_normalised`; `binomial`, true
    where w f is 0 or 1, so that the interval is Clopper and Pearson's; `epsilon` of the kernels' dtype; `largest`,
    sup w f where it is known, else NaN; `sequence`, the interval of a run that stopped when it was precise enough, and
    `missed`, whether it did not get there; `covariance`, "full" where cross terms of all outputs were kept;
    `divided`, that the last column, which a `self_normalised` estimate divides by, is an output and not the weight;
    `indicator`, that w f is 0 or 1, whatever the interval; `controlled`, that controls were taken out, and tails of
    what they left follow those of |w f|.
    """

    treedef: Any = eqx.field(static=True)
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    self_normalised: bool = eqx.field(static=True)
    binomial: bool = eqx.field(static=True)
    bounded_by_one: bool = eqx.field(static=True)
    epsilon: float = eqx.field(static=True)
    largest: AnyArray
    sequence: Any = None
    missed: bool = eqx.field(static=True, default=False)
    covariance: str | None = eqx.field(static=True, default="diagonal")
    divided: bool = eqx.field(static=True, default=False)
    indicator: bool = eqx.field(static=True, default=False)
    controlled: bool = eqx.field(static=True, default=False)

    @property
    def num_outputs(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes)

    def unflatten(self, columns: AnyArray) -> Any:
        """The last axis of `columns` as the integrand's value; leading axes (of a vmap) stay in front."""
        xp, leaves, start = namespace(columns), [], 0
        for shape in self.shapes:
            size = math.prod(shape)
            part = columns[..., start : start + size]
            leaves.append(xp.reshape(part, (*part.shape[:-1], *shape)))
            start += size
        leaves = [leaf[()] if xp is np else leaf for leaf in leaves]
        return jax.tree.unflatten(self.treedef, leaves)
