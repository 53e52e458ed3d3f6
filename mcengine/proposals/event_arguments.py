"""Arguments of the shape of an event, for all of it or for the components of a product."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcengine.distributions import Distribution, Product, event_struct
from mcengine.numerics.values import Parameter, as_parameter


def split_event(what: str, product: Product, value: Parameter) -> list[Array]:
    """The part of `value` that belongs to each component's event; a scalar goes to all of them."""
    value = as_parameter(value)
    shapes = [event_struct(component).shape for component in product.components]
    if value.shape == ():
        return [value for _ in shapes]
    sizes = [int(np.prod(shape)) for shape in shapes]
    if value.shape != (sum(sizes),):
        raise ValueError(f"{what} must be a scalar or of the event's shape {(sum(sizes),)}, got shape {value.shape}.")
    pieces = jnp.split(value, np.cumsum(sizes)[:-1].tolist())
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def of_event_shape(what: str, distribution: Distribution, value: Parameter) -> Array:
    """`value` broadcast to the event; a `ValueError` where it is neither a scalar nor of that shape."""
    value = as_parameter(value)
    shape = event_struct(distribution).shape
    if value.shape not in ((), shape):
        raise ValueError(f"{what} must be a scalar or of the event's shape {shape}, got shape {value.shape}.")
    return jnp.broadcast_to(value, shape)
