"""Where episodes end or are cut off, and what follows the last step."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine.rl.inputs import require_finite, require_shapes

Steps = Float[Array, "*batch T"]


def next_values(values: ArrayLike, last: ArrayLike, truncated: Any = None, final: Any = None) -> Steps:
    """V of the observation that followed each step: V_{t+1}, `last` after the last, and `final` where truncated.

    **Arguments:** `values` V(x_t); `last`, V of the observation after the last step; `final`, [..., T], V of the final
    observation of the episode that was cut off at that step (only these entries are read).
    """
    values, last = jnp.asarray(values), jnp.asarray(last)
    require_shapes("next_values", values.shape[:-1], last=last)
    following = jnp.concatenate([values[..., 1:], last[..., None]], axis=-1)
    if (truncated is None) != (final is None):
        raise ValueError("next_values: give truncated and final together, or neither.")
    if truncated is None:
        return following
    require_shapes("next_values", values.shape, truncated=truncated, final=final)
    return jnp.where(jnp.asarray(truncated, bool), jnp.asarray(final), following)


class EpisodeEnds(NamedTuple):
    """discount (1 - terminated), which a bootstrap is multiplied by, and discount (1 - either end), which sums are."""

    bootstrap: Steps
    onward: Steps


def episode_ends(owner: str, like: Steps, discount: Any, terminated: Any, truncated: Any) -> EpisodeEnds:
    """The factors of both kinds of ends, with the shape of `like`; raises, by name, for arrays of another shape."""
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
    return EpisodeEnds(bootstrap, jnp.where(flags[1], 0.0, bootstrap))


def as_steps(owner: str, **arrays: Any) -> list[Array]:
    """The arrays, floating, of one shape, finite."""
    found = {name: jnp.asarray(array) for name, array in arrays.items()}
    shape = next(iter(found.values())).shape
    if not shape:
        raise ValueError(f"{owner}: {next(iter(found))} must have an axis of steps, got one number.")
    if 0 in shape:
        raise ValueError(f"{owner}: there are no steps in arrays of shape {shape}.")
    require_shapes(owner, shape, **found)
    require_finite(owner, **found)
    return [x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float) for x in found.values()]
