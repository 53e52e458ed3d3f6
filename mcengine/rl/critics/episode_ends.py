"""Ends of episodes: the value that follows each step, and the discounts that ends set to 0."""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine.rl.inputs import require_finite, require_shapes

Steps = Float[Array, "*batch T"]


def next_values(
    values: ArrayLike, last: ArrayLike, truncated: ArrayLike | None = None, final: ArrayLike | None = None
) -> Steps:
    """V(x_{t+1}) of the observation that followed each step, before any reset.

    **Arguments:**

    - `values`, [..., T]: V(x_t).
    - `last`, [...]: V of the observation after the last step.
    - `truncated`, [..., T], booleans: steps at which an episode was cut off.
    - `final`, [..., T]: V of the final observation of the episode that was cut off at that step. Only the entries at
      truncated steps are read.

    **Returns:** [..., T]: `final` at truncated steps, `last` at the last step, V(x_{t+1}) elsewhere.
    """
    values, last = jnp.asarray(values), jnp.asarray(last)
    require_shapes("next_values", values.shape[:-1], last=last)
    following = jnp.concatenate([values[..., 1:], last[..., None]], axis=-1)
    if truncated is None and final is None:
        return following
    if truncated is None or final is None:
        raise ValueError("next_values: give truncated and final together, or neither.")
    require_shapes("next_values", values.shape, truncated=truncated, final=final)
    return jnp.where(jnp.asarray(truncated, bool), jnp.asarray(final), following)


class StepDiscounts(NamedTuple):
    """Discounts of every step, 0 at ends of episodes.

    - `bootstrap`, [..., T]: discount (1 - terminated), the factor of V(x_{t+1}).
    - `onward`, [..., T]: discount (1 - terminated) (1 - truncated), the factor of the sum over later steps.
    """

    bootstrap: Steps
    onward: Steps


def step_discounts(
    owner: str, like: Steps, discount: ArrayLike, *, terminated: ArrayLike | None, truncated: ArrayLike | None
) -> StepDiscounts:
    """Both discounts, with the shape of `like`."""
    flags = []
    for name, flag in (("terminated", terminated), ("truncated", truncated)):
        flag = jnp.zeros(like.shape, bool) if flag is None else jnp.asarray(flag, bool)
        require_shapes(owner, like.shape, **{name: flag})
        flags.append(flag)
    discount = jnp.asarray(discount, like.dtype)
    if discount.ndim:
        require_shapes(owner, like.shape, discount=discount)
    discount = jnp.broadcast_to(discount, like.shape)
    bootstrap = jnp.where(flags[0], 0.0, discount)
    return StepDiscounts(bootstrap, jnp.where(flags[1], 0.0, bootstrap))


def as_steps(owner: str, **arrays: ArrayLike) -> list[Array]:
    """The arrays as floats, checked to be finite and of one shape [..., T]."""
    found = {name: jnp.asarray(array) for name, array in arrays.items()}
    shape = next(iter(found.values())).shape
    if not shape:
        raise ValueError(f"{owner}: {next(iter(found))} must have an axis of steps, got one number.")
    if 0 in shape:
        raise ValueError(f"{owner}: there are no steps in arrays of shape {shape}.")
    require_shapes(owner, shape, **found)
    require_finite(owner, **found)
    return [x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float) for x in found.values()]
