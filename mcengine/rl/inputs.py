"""What the functions of a policy's samples refuse, in the user's words. Values are looked at where they are known."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from mcengine.distributions.univariate import concrete


def as_mask(owner: str, mask: Any, shape: tuple[int, ...]) -> Bool[Array, "*shape"]:
    """The mask as booleans, all true by default; raises for another shape, and where it leaves nothing."""
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


def require_finite(owner: str, **arrays: Any) -> None:
    """Raise, by name and place, where an array has a NaN or an infinity."""
    for name, array in arrays.items():
        _require(owner, name, array, np.isfinite, "must be finite")


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
        limit = 1e-5 if discrete else np.inf
        bad = kept & ~(known < limit)
        if bad.any():
            where = np.argwhere(bad)[0].tolist()
            what = "at most 0 for discrete actions" if discrete else "a number below infinity"
            raise ValueError(f"{owner}: {name} must be {what}, got {known[tuple(where)]} at {where}.")


def _require(owner: str, name: str, array: Any, good: Any, demand: str) -> None:
    known = concrete(array)
    if known is not None and not np.all(good(known)):
        where = np.argwhere(~good(known))[0].tolist()
        raise ValueError(f"{owner}: {name} {demand}, got {known[tuple(where)]} at {where}.")
