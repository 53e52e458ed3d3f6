"""The gradient of a self-normalised estimate, from weighted means of the same samples and their covariances."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mcengine.distributions.protocol import Density
from mcengine.gradients.samples import Parameters
from mcengine.inference.estimate import Estimate
from mcengine.numerics.arrays import NumberTree
from mcengine.problems.protocol import Problem

# A leaf of an estimate, of one output or many.
Leaf = jax.Array | np.ndarray | np.number


class WithOne(eqx.Module):
    """theta -> the problem with f(x) = {"f": f(x), "one": 1}. The gradient of E[1] is the mean of the score."""

    problem_of: Callable[[Any], Problem]

    def __call__(self, parameters: Parameters) -> Problem:
        return _WithOne(self.problem_of(parameters))


class _WithOne(Problem):
    problem: Problem

    @property
    def target(self) -> Density:
        return self.problem.target

    @property
    def plain(self) -> Density:
        return self.problem.plain

    def integrand(self, x: Any) -> dict[str, Any]:
        return {"f": self.problem.integrand(x), "one": jnp.ones(())}


class RatioGradient(Estimate):
    """{"value": R, "gradient": grad R} of a self-normalised mean R = E_p[f]; error bars by the delta method.

    grad R = E_p[grad f + f s] - R E_p[s] with self-normalised means and s = grad log p for the unnormalised p; E_p[s]
    is the gradient of the log of the unknown constant. The diagnostics of a gradient (ESS, k-hat, largest share,
    status) are the worse ones of its two means.
    """

    def merge(self, other: Estimate) -> Estimate:
        """Not available: gradients of two runs cannot be averaged.

        **Raises:** `TypeError`.
        """
        raise TypeError("merge: gradients of self-normalised estimates do not merge; draw all samples in one run.")


def ratio_gradient(run: Estimate) -> RatioGradient:
    """The gradient from the estimate of {"value", "gradient"} of `WithOne`, with full covariance."""
    xp = jnp if isinstance(run.num_samples, jax.Array) else np
    batch = np.ndim(run.num_samples)
    made = run.function_of(_gradient)
    value, std_error = made.value, made.std_error

    def worse(choose: Callable[..., Leaf], field: NumberTree) -> dict[str, NumberTree]:
        """`choose` between the two means of every gradient; the score has a diagnostic only if it is not always 0."""

        def of_both(of_f: Leaf, of_score: Leaf, hits: Leaf) -> Leaf:
            aligned, of_score, hits = (_align_axes(x, of_f, batch) for x in (of_f, of_score, hits))
            return xp.where(hits > 0, choose(aligned, of_score), aligned)[()]

        (f, scores), hits = (field["gradient"][name] for name in ("f", "one")), run.num_hits["gradient"]["one"]
        per_output = jax.tree.map(lambda _, of_f: jax.tree.map(of_both, of_f, scores, hits), field["value"]["f"], f)
        return {"value": field["value"]["f"], "gradient": per_output}

    leaves, treedef = jax.tree.flatten(value)
    spec = dataclasses.replace(
        run.spec, treedef=treedef, shapes=tuple(np.shape(leaf)[batch:] for leaf in leaves), covariance="diagonal"
    )
    return RatioGradient(
        value=value, std_error=std_error, ess=worse(xp.minimum, run.ess), pareto_k=worse(xp.fmax, run.pareto_k),
        max_weight_share=worse(xp.maximum, run.max_weight_share), num_hits=worse(xp.maximum, run.num_hits),
        num_samples=run.num_samples, num_units=run.num_units, num_nonfinite=run.num_nonfinite,
        bias_seen=worse(_first, run.bias_seen), upper_bound=worse(_first, run.upper_bound),
        skewness=jax.tree.map(lambda leaf: xp.full_like(leaf, xp.nan), value),
        status_codes=worse(xp.maximum, run.status_codes), seconds=run.seconds, summary=run.summary, spec=spec,
    )  # fmt: skip


def _first(of_f: Leaf, of_score: Leaf) -> Leaf:
    return of_f


def _gradient(means: NumberTree) -> dict[str, NumberTree]:
    """grad R from the means."""
    scores = means["gradient"]["one"]

    def of_output(ratio: Leaf, of_f: NumberTree) -> NumberTree:
        return jax.tree.map(lambda mean, score: mean - jnp.multiply.outer(ratio, score), of_f, scores)

    ratio = means["value"]["f"]
    return {"value": ratio, "gradient": jax.tree.map(of_output, ratio, means["gradient"]["f"])}


def _align_axes(leaf: Leaf, like: Leaf, batch: int) -> Leaf:
    """The leaf with axes of length 1 for those of the output in `like`, between the batch and the parameter."""
    missing = np.ndim(like) - np.ndim(leaf)
    return leaf.reshape(*leaf.shape[:batch], *(1,) * missing, *leaf.shape[batch:]) if missing else leaf
