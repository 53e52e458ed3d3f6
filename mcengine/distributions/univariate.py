"""What the families of independent coordinates share: conversion and checks of parameters, shapes, uniforms."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mcengine import numerics
from mcengine.numerics.values import concrete


def event_shape(*parameters: Array) -> tuple[int, ...]:
    """The common shape of the parameters; a `ValueError` that shows them when there is none."""
    return np.broadcast_shapes(*(jnp.shape(p) for p in parameters))


def broadcast_parameters(*parameters: Array) -> list[Array]:
    """The parameters at their common shape, so that no rank is promoted behind the user's back later on."""
    shape = event_shape(*parameters)
    return [jnp.broadcast_to(p, shape) for p in parameters]


def require_positive(family: str, name: str, value) -> None:
    """Raise where a concrete parameter is not a positive finite number."""
    known = concrete(value)
    if known is not None and not np.all((known > 0) & np.isfinite(known)):
        raise ValueError(f"{family}: {name} must be positive and finite, got {known}.")


def require_finite(family: str, name: str, value) -> None:
    """Raise where a concrete parameter is NaN or infinite."""
    known = concrete(value)
    if known is not None and not np.all(np.isfinite(known)):
        raise ValueError(f"{family}: {name} must be finite, got {known}.")


def as_event(family: str, x, like: Array) -> Array:
    """x as floats of the dtype and shape of `like`, a parameter already broadcast to the event."""
    x = jnp.asarray(x)
    if x.shape != like.shape:
        raise ValueError(f"{family}: an event has shape {like.shape}, got x of shape {x.shape}.")
    return x.astype(like.dtype)


def uniforms_of_event(v: Float[Array, " num"], shape: tuple[int, ...]) -> Array:
    """The vector of uniforms as an array of the event's shape."""
    return jnp.reshape(v, shape)


def draw_by_quantile(distribution, v: Float[Array, " num_uniforms"], shape: tuple[int, ...]):
    """`forward` of a family with a closed quantile: (x, log q(x)) from one centred uniform per coordinate."""
    v = uniforms_of_event(v, shape)
    x = distribution.quantile(numerics.log_lower(v), numerics.log_upper(v))
    return x, distribution.log_prob(x)


def keep_positive(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x moved off 0 and infinity, where a draw may end by rounding but the density is 0 or infinite."""
    limits = jnp.finfo(x.dtype)
    return jnp.clip(x, limits.tiny, limits.max)


def guard(inside: Bool[Array, "*event"], x: Float[Array, "*event"], harmless: float) -> Float[Array, "*event"]:
    """x where it is inside, else a harmless point: what `where` drops must be finite, or the gradient is NaN."""
    return jnp.where(inside, x, jnp.asarray(harmless, x.dtype))


def positive_part(x: Float[Array, "*event"]) -> tuple[Bool[Array, "*event"], Float[Array, "*event"]]:
    """Whether x > 0, and x itself there (1 elsewhere), kept off the numbers that are flushed to 0 on their way."""
    positive = x > 0
    return positive, guard(positive, jnp.maximum(x, jnp.finfo(x.dtype).tiny), 1.0)


def log1p_square(y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + y^2) for any finite y: the square overflows in float32 from 1.8e19 on, which heavy tails do reach."""
    large = jnp.abs(y) > 1e9
    squared = jnp.where(large, 0.0, y) ** 2
    return jnp.log1p(jnp.where(large, jnp.abs(y) - 1.0, squared)) * jnp.where(large, 2.0, 1.0).astype(y.dtype)
