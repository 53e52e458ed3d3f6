"""Choosing one of K alternatives by one centred uniform, accurate in both tails."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from mcengine import numerics


def refusing_pathwise(choose: Callable[..., Int[Array, "..."]]) -> Callable[..., Int[Array, "..."]]:
    """`choose` so that differentiating along any of its arguments raises instead of giving 0."""
    return numerics.refuse_derivative(
        choose,
        "The derivative of a discrete choice along its probabilities (of a Categorical, a Bernoulli, a Poisson, the "
        "weights of a Mixture, a policy, a transition or a start table) is 0 almost everywhere, so a pathwise gradient "
        "would silently miss it. Use the score form: differentiate the target's parameters with "
        "proposal=jax.lax.stop_gradient(target).",
    )


def sums_from_both_ends(
    weights: Float[Array, "*shape k"],
) -> tuple[Float[Array, "*shape steps"], Float[Array, "*shape steps"]]:
    """The sums of the weights of 0..j and of those of j+1..k-1, for every category j but the last.

    A centred uniform v > 0 is beyond category j if v exceeds the first sum, and v < 0 if the second sum exceeds -v. The
    smaller sum of either pair is exact, and a weight of zero leaves no gap.
    """
    # A sum's rounding depends on its order, so a weight of zero could still open a gap: the running maximum over
    # the others closes it.
    axis = weights.ndim - 1
    from_below = jax.lax.cummax(jnp.where(weights > 0, jnp.cumsum(weights, -1), 0.0), axis=axis)
    backward = weights[..., ::-1]
    from_above = jax.lax.cummax(jnp.where(backward > 0, jnp.cumsum(backward, -1), 0.0), axis=axis)[..., ::-1]
    return from_below[..., :-1], from_above[..., 1:]


@refusing_pathwise
def choose(log_weights: Float[Array, "*shape k"], v: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
    """The category whose interval of [0, 1] holds the uniform: category j for c_(j-1) < u <= c_j.

    A uniform in the lower half is compared with sums of weights from below, one in the upper half with sums from
    above, so that a category of probability 1e-9 is drawn with that probability at either end. A category of weight
    zero is never drawn. Differentiating along the weights raises: the derivative of a choice is 0 almost everywhere.

    **Arguments:** `log_weights`, normalised along the last axis; `v`, centred uniforms.
    """
    from_below, from_above = sums_from_both_ends(jnp.exp(log_weights))
    u = v[..., None]
    passed = jnp.where(u > 0, u > from_below, -u < from_above)
    return jnp.sum(passed, axis=-1, dtype=jnp.int32)


def take(chosen: Int[Array, ""], alternatives: Sequence[PyTree[Array]]) -> PyTree[Array]:
    """The chosen one of a few pytrees of one structure, by `where`: a gather is slower for a few."""

    def select(*leaves: Array) -> Array:
        result = leaves[0]
        for position, leaf in enumerate(leaves[1:], start=1):
            result = jnp.where(chosen == position, leaf, result)
        return result

    return jax.tree.map(select, *alternatives)
