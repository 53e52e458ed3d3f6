"""What the functions of a policy's samples refuse, in the user's words. Values are looked at where they are known."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mcengine.numerics.values import concrete


def as_float(array: Any) -> Float[Array, "*shape"]:
    """At least float32: in half precision a count ends at 65,504 and an exponential at e^11."""
    array = jnp.asarray(array)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(float)
    return array.astype(jnp.float32) if array.dtype.itemsize < 4 else array


def as_mask(owner: str, mask: Any, shape: tuple[int, ...]) -> Bool[Array, "*shape"]:
    """The mask as booleans, all true by default; raises for another shape, no steps, and a mask that leaves none."""
    if 0 in shape:
        raise ValueError(f"{owner}: there are no steps in arrays of shape {shape}.")
    if mask is None:
        return jnp.ones(shape, bool)
    require_shapes(owner, shape, mask=mask)
    mask = jnp.asarray(mask, bool)
    known = concrete(mask)
    if known is not None and known.size and not known.any():
        raise ValueError(f"{owner}: the mask leaves nothing of {known.size:,} steps.")
    return mask


def require_shapes(owner: str, shape: tuple[int, ...], **arrays: Any) -> None:
    """Raise, by name, unless every array has the shape."""
    for name, array in arrays.items():
        if jnp.shape(array) != shape:
            raise ValueError(f"{owner}: {name} has shape {jnp.shape(array)}, where {shape} is needed.")


def require_steps_or_one(owner: str, shape: tuple[int, ...], **arrays: Any) -> None:
    """Raise, by name, unless every array has the shape [..., T], or [..., 1]."""
    for name, array in arrays.items():
        if jnp.shape(array) not in (shape, (*shape[:-1], 1)):
            raise ValueError(
                f"{owner}: {name} has shape {jnp.shape(array)}, where {shape} (one a step) or {(*shape[:-1], 1)} "
                "(one a sequence) is needed."
            )


def require_finite(owner: str, **arrays: Any) -> None:
    """Raise, by name and place, where an array has a NaN or an infinity."""
    for name, array in arrays.items():
        _require(owner, name, array, np.isfinite, "must be finite")


def require_positive(owner: str, **arrays: Any) -> None:
    """Raise, by name and place, for what is not above 0 and finite."""
    for name, array in arrays.items():
        _require(owner, name, array, lambda x: (x > 0) & np.isfinite(x), "must be positive and finite")


def require_logits(owner: str, **arrays: Any) -> None:
    """Raise, by name and state, for logits [..., actions] that are no policy: NaN, +inf, or no action possible."""
    for name, array in arrays.items():
        known = concrete(array)
        largest = None if known is None else known.max(axis=-1)
        _require(owner, f"the largest of {name}", largest, np.isfinite, "must be finite")


def require_probabilities(owner: str, **arrays: Any) -> None:
    """Raise, by name and place, for what is no probability of something that happened: in (0, 1]."""
    for name, array in arrays.items():
        _require(owner, name, array, lambda p: (p > 0) & (p <= 1), "must lie in (0, 1]")


def require_log_probabilities(owner: str, discrete: bool, mask: Any, **arrays: Any) -> None:
    """Raise, by name and place, for NaN, +inf, and what is above 0 where actions are discrete; masked ones may be any.

    A density may be above 1 and its logarithm above 0; a probability never.
    """
    for name, array in arrays.items():
        known, kept = concrete(array), concrete(mask)
        if known is None or kept is None:
            continue
        limit = 1e-5 if discrete else np.inf  # a sum of probabilities may round to a little more than 1
        bad = kept & ~(known < limit)
        if bad.any():
            where = np.argwhere(bad)[0].tolist()
            what = "at most 0 for discrete actions" if discrete else "a number below infinity"
            raise ValueError(f"{owner}: {name} must be {what}, got {known[tuple(where)]} at {where}.")


def require_possible(owner: str, mask: Any, **arrays: Any) -> None:
    """Raise, by name and place, for a log-probability of -inf under a policy that did what it says is impossible."""
    for name, array in arrays.items():
        known, kept = concrete(array), concrete(mask)
        if known is not None and kept is not None and (kept & (known == -np.inf)).any():
            where = np.argwhere(kept & (known == -np.inf))[0].tolist()
            raise ValueError(f"{owner}: {name} is -inf at {where}: what was done there had probability 0.")


def _require(owner: str, name: str, array: Any, good: Any, demand: str) -> None:
    known = concrete(array)
    if known is not None and not np.all(good(known)):
        where = np.argwhere(~good(known))[0].tolist()
        place = f" at {where}" if where else ""
        raise ValueError(f"{owner}: {name} {demand}, got {known[tuple(where)]}{place}.")
