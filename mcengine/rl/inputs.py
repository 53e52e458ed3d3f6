"""Argument checks shared by the objectives, critics and divergences.

Each check raises `ValueError` with the name of the calling function (`owner`), the name of the argument, the offending
value and its index. Shapes are checked always; values only where they are known, which inside `jit` they are not.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from mcengine.numerics.values import concrete


def as_float(array: ArrayLike) -> Float[Array, "*shape"]:
    """The array as floats of at least 32 bits: float16 cannot count beyond 65,504 nor hold exp(12)."""
    array = jnp.asarray(array)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(float)
    return array.astype(jnp.float32) if array.dtype.itemsize < 4 else array


def as_mask(owner: str, mask: ArrayLike | None, shape: tuple[int, ...]) -> Bool[Array, "*shape"]:
    """The mask as booleans, all true if None.

    **Raises:** `ValueError` for a mask of another shape, for arrays without steps, and for a mask that is false
    everywhere.
    """
    if 0 in shape:
        raise ValueError(f"{owner}: there are no steps in arrays of shape {shape}.")
    if mask is None:
        return jnp.ones(shape, bool)
    require_shapes(owner, shape, mask=mask)
    mask = jnp.asarray(mask, bool)
    known = concrete(mask)
    if known is not None and known.size and not known.any():
        raise ValueError(f"{owner}: the mask excludes all {known.size:,} steps.")
    return mask


def require_shapes(owner: str, shape: tuple[int, ...], **arrays: ArrayLike) -> None:
    """Raise unless every array has the shape."""
    for name, array in arrays.items():
        if jnp.shape(array) != shape:
            raise ValueError(f"{owner}: {name} has shape {jnp.shape(array)}, where {shape} is needed.")


def require_steps_or_one(owner: str, shape: tuple[int, ...], **arrays: ArrayLike) -> None:
    """Raise unless every array has the shape [..., T] (one entry per step) or [..., 1] (one per sequence)."""
    for name, array in arrays.items():
        if jnp.shape(array) not in (shape, (*shape[:-1], 1)):
            raise ValueError(
                f"{owner}: {name} has shape {jnp.shape(array)}, where {shape} (one per step) or {(*shape[:-1], 1)} "
                "(one per sequence) is needed."
            )


def require_finite(owner: str, **arrays: ArrayLike) -> None:
    """Raise where an array has a NaN or an infinity."""
    for name, array in arrays.items():
        _require(owner, name, array, np.isfinite, "must be finite")


def require_positive(owner: str, **arrays: ArrayLike) -> None:
    """Raise where an array is not positive and finite."""
    for name, array in arrays.items():
        _require(owner, name, array, lambda x: (x > 0) & np.isfinite(x), "must be positive and finite")


def require_logits(owner: str, **arrays: ArrayLike) -> None:
    """Raise where logits [..., actions] do not define a policy: NaN, +inf, or -inf for every action."""
    for name, array in arrays.items():
        known = concrete(array)
        if known is not None:
            _require(owner, f"the largest of {name}", known.max(axis=-1), np.isfinite, "must be finite")


def require_probabilities(owner: str, **arrays: ArrayLike) -> None:
    """Raise where an array leaves (0, 1]: an event that was observed has a positive probability."""
    for name, array in arrays.items():
        _require(owner, name, array, lambda p: (p > 0) & (p <= 1), "must lie in (0, 1]")


def require_log_probabilities(owner: str, discrete: bool, mask: ArrayLike, **arrays: ArrayLike) -> None:
    """Raise for NaN and +inf, and if `discrete` for log-probabilities above 0; masked entries are not checked.

    A density may exceed 1, so its logarithm may exceed 0; a probability cannot.
    """
    for name, array in arrays.items():
        known, kept = concrete(array), concrete(mask)
        if known is None or kept is None:
            continue
        limit = 1e-5 if discrete else np.inf  # a sum of probabilities may round to slightly more than 1
        bad = kept & ~(known < limit)
        if bad.any():
            where = np.argwhere(bad)[0].tolist()
            what = "at most 0 for discrete actions" if discrete else "a number below infinity"
            raise ValueError(f"{owner}: {name} must be {what}, got {known[tuple(where)]} at {where}.")


def require_possible(owner: str, mask: ArrayLike, **arrays: ArrayLike) -> None:
    """Raise where an unmasked log-probability is -inf under the policy that took the action."""
    for name, array in arrays.items():
        known, kept = concrete(array), concrete(mask)
        if known is not None and kept is not None and (kept & (known == -np.inf)).any():
            where = np.argwhere(kept & (known == -np.inf))[0].tolist()
            raise ValueError(f"{owner}: {name} is -inf at {where}: the action taken there had probability 0.")


def _require(owner: str, name: str, array: ArrayLike, is_good: Callable[[np.ndarray], np.ndarray], demand: str) -> None:
    known = concrete(array)
    if known is not None and not np.all(is_good(known)):
        where = np.argwhere(~is_good(known))[0].tolist()
        place = f" at {where}" if where else ""
        raise ValueError(f"{owner}: {name} {demand}, got {known[tuple(where)]}{place}.")
