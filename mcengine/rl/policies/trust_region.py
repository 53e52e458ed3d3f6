"""Trust region policy optimisation (TRPO): the natural gradient step with a bounded mean divergence.

**Source:** Schulman et al., Trust Region Policy Optimization (2015), appendix C.
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
    """The outcome of a step.

    - `accepted`: whether the parameters changed.
    - `kl`: the mean divergence of the step, in nats; 0 if it was not accepted.
    - `improvement`: the increase of the objective; 0 if it was not accepted.
    - `num_shrinks`: how often the step was multiplied by `shrink`.
    """

    accepted: Bool[Array, ""]
    kl: Float[Array, ""]
    improvement: Float[Array, ""]
    num_shrinks: Int[Array, ""]


def fisher_vector_product(kl: Callable[[Any], Array], parameters: Any, vector: Any) -> Any:
    """F v, where F, the Fisher matrix, is the Hessian of `kl` at `parameters`. No matrix is formed.

    **Arguments:**

    - `kl`: a function of the parameters, the mean of KL(old, new) with the old policy held fixed.
    - `parameters`, `vector`: pytrees of arrays, of one structure.
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
    """A step that increases `objective` with kl <= max_kl, or no step.

    x = (F + damping I)^-1 g by conjugate gradients; the step sqrt(2 max_kl / x'(F + damping I)x) x is multiplied by
    `shrink` until the true divergence is at most `max_kl` and the objective increases.

    **Arguments:**

    - `objective`: the function of the parameters that is maximised.
    - `kl`: the mean divergence from the old policy, as a function of the parameters.
    - `parameters`: a pytree of arrays.
    - `max_kl`: the bound of the divergence, in nats.
    - `damping`: added to the diagonal of F.
    - `cg_steps`: iterations of conjugate gradients.
    - `shrink`, `max_shrinks`: the factor of the line search, and how often it is applied at most.

    **Returns:** (new parameters, `TrustRegionInfo`).

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
    # A gradient of 0 gives a step of 0, which is not accepted.
    length = jnp.where(curvature > 0, jnp.sqrt(2.0 * max_kl / jnp.where(curvature > 0, curvature, 1.0)), 0.0)

    def moved(num_shrinks: Array) -> Any:
        size = length * shrink ** num_shrinks.astype(length.dtype)
        return tree_map(lambda p, d: p + size * d, parameters, direction)

    def is_good(num_shrinks: Array) -> tuple[Array, Array, Array]:
        there = moved(num_shrinks)
        divergence, improvement = kl(there), objective(there) - before
        # Both comparisons are false for NaN.
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
    """The inner product of two pytrees of arrays."""
    return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))  # type: ignore[return-value]
