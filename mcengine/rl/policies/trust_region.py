"""Trust region policy optimisation: the step of steepest ascent at a bounded mean divergence.

Source: Schulman et al., Trust Region Policy Optimization (2015), appendix C.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.sparse.linalg import cg
from jax.tree_util import tree_map
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int


class TrustRegionInfo(NamedTuple):
    """What became of a step: `accepted` after `halvings` shrinkings, its mean divergence `kl` and `improvement`."""

    accepted: Bool[Array, ""]
    kl: Float[Array, ""]
    improvement: Float[Array, ""]
    num_shrinks: Int[Array, ""]


def fisher_vector_product(kl: Callable[[Any], Array], parameters: Any, vector: Any) -> Any:
    """F v, F the Hessian at `parameters` of the mean divergence from the old policy: the Fisher matrix there.

    Forward over reverse: no matrix is formed. `kl(parameters)` is the mean of KL(old, new), the old policy held fixed.
    """
    return jax.jvp(jax.grad(kl), (parameters,), (vector,))[1]


def trust_region_step(
    objective: Callable[[Any], Array],
    kl: Callable[[Any], Array],
    parameters: Any,
    *,
    max_kl: ArrayLike = 0.01,
    damping: float = 0.1,
    cg_steps: int = 15,
    shrink: float = 0.8,
    max_shrinks: int = 10,
) -> tuple[Any, TrustRegionInfo]:
    """(parameters after the step, what became of it): improves `objective` with kl <= max_kl, or stays where it was.

    x = (F + damping I)^-1 g by conjugate gradients, step sqrt(2 max_kl / x'(F + damping I)x) x, shrunk until the true
    divergence is at most `max_kl` and the objective rises.

    **Arguments:** `objective`, what is maximised, and `kl`, the mean divergence from the old policy, as functions of
    the parameters (a pytree of arrays).

    **Raises:** `ValueError` for numbers out of range.
    """
    if not (0.0 < shrink < 1.0 and damping >= 0.0 and cg_steps >= 1 and max_shrinks >= 0):
        raise ValueError(
            "trust_region_step: needs 0 < shrink < 1, damping >= 0, cg_steps >= 1 and max_shrinks >= 0, got "
            f"{shrink}, {damping}, {cg_steps} and {max_shrinks}."
        )

    def damped(v: Any) -> Any:
        return tree_map(lambda f, x: f + damping * x, fisher_vector_product(kl, parameters, v), v)

    before, gradient = jax.value_and_grad(objective)(parameters)
    direction, _ = cg(damped, gradient, maxiter=cg_steps)
    curvature = _dot(direction, damped(direction))
    # No gradient, no direction: the step is then 0 and is not accepted.
    length = jnp.where(curvature > 0, jnp.sqrt(2.0 * max_kl / jnp.where(curvature > 0, curvature, 1.0)), 0.0)

    def moved(num_shrinks: Array) -> Any:
        size = length * shrink ** num_shrinks.astype(length.dtype)
        return tree_map(lambda p, d: p + size * d, parameters, direction)

    def is_good(num_shrinks: Array) -> tuple[Array, Array, Array]:
        there = moved(num_shrinks)
        divergence, improvement = kl(there), objective(there) - before
        # NaN is neither.
        return (divergence <= max_kl) & (improvement > 0), divergence, improvement

    def unfinished(state: tuple) -> Array:
        num_shrinks, (good, _, _) = state
        return ~good & (num_shrinks < max_shrinks)

    def shrunk(state: tuple) -> tuple:
        num_shrinks = state[0] + 1
        return num_shrinks, is_good(num_shrinks)

    start = jnp.zeros((), jnp.int32)
    num_shrinks, (good, divergence, improvement) = lax.while_loop(unfinished, shrunk, (start, is_good(start)))
    stepped = tree_map(lambda p, new: jnp.where(good, new, p), parameters, moved(num_shrinks))
    zero = jnp.zeros_like(improvement)
    info = TrustRegionInfo(good, jnp.where(good, divergence, zero), jnp.where(good, improvement, zero), num_shrinks)
    return stepped, info


def _dot(a: Any, b: Any) -> Array:
    return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))  # type: ignore[return-value]
