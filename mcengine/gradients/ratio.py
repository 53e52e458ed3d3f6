"""The gradient of a self-normalised estimate, from means of the same samples and how these vary together."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mcengine.inference.covariance import delta_method
from mcengine.inference.estimate import Estimate


class BesideOne(eqx.Module):
    """theta -> the problem with f(x) = {"f": f(x), "one": 1}. The gradient of the second is the score's mean."""

    problem_of: Callable[[Any], Any]

    def __call__(self, parameters):
        return _BesideOne(self.problem_of(parameters))


class _BesideOne(eqx.Module):
    problem: Any

    @property
    def target(self):
        return self.problem.target

    @property
    def plain(self):
        return self.problem.plain

    @property
    def value_bound(self) -> None:
        return None

    def integrand(self, x):
        return {"f": self.problem.integrand(x), "one": jnp.ones(())}


class RatioGradient(Estimate):
    """{"value": R, "gradient": grad R} of a self-normalised mean R = E_p[f]; error bars by the delta method.

    grad R = E_p[grad f + f s] - R E_p[s] with self-normalised means and s = grad log of p as it is given: the second
    mean is the gradient of the constant that is not known. What is said of a gradient's samples (ESS, k-hat, largest
    share, status) is the worse of what is said of both.
    """

    def merge(self, other: Estimate) -> Estimate:
        """Refused: the pieces' gradients are no means.

        **Raises:** `TypeError`.
        """
        raise TypeError("merge: gradients of self-normalised estimates do not merge; draw all samples in one run.")


def ratio_gradient(run: Estimate) -> RatioGradient:
    """From the estimate of {"value", "gradient"} of `BesideOne`, with all covariances."""
    xp = jnp if isinstance(run.num_samples, jax.Array) else np
    batch = np.ndim(run.num_samples)
    value, std_error = delta_method(_gradient, run.value, run.std_error, run.summary, run.spec)

    def worse(choose: Callable[[Any, Any], Any], field: Any) -> dict[str, Any]:
        """`choose` of the two means behind every gradient; the score's counts only where there is one."""

        def of_both(ours, score, hits):
            ours, score, hits = (_aligned(x, ours, batch) for x in (ours, score, hits))
            return xp.where(hits > 0, choose(ours, score), ours)[()]

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


def _first(ours: Any, score: Any) -> Any:
    return ours


def _gradient(means: Any) -> dict[str, Any]:
    """grad R from the means."""
    scores = means["gradient"]["one"]

    def of_output(ratio, of_f):
        return jax.tree.map(lambda mean, score: mean - jnp.multiply.outer(ratio, score), of_f, scores)

    ratio = means["value"]["f"]
    return {"value": ratio, "gradient": jax.tree.map(of_output, ratio, means["gradient"]["f"])}


def _aligned(leaf: Any, like: Any, batch: int) -> Any:
    """The parameter's own axes last, behind those of a batch and of the output."""
    missing = np.ndim(like) - np.ndim(leaf)
    return leaf.reshape(*leaf.shape[:batch], *(1,) * missing, *leaf.shape[batch:]) if missing else leaf
