"""One coordinate of a law of independent coordinates, and the law of the others."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcengine.distributions.foreign import as_distribution, family_name
from mcengine.distributions.product import Product
from mcengine.distributions.protocol import event_struct

# What a coordinate must offer to be integrated out: both tails, and the points that have them.
TAILS = ("log_cdf", "log_sf", "quantile")


def split_coordinate(law: Any, coordinate: int) -> tuple[Any, Any]:
    """(law of X_j, a scalar; law of the vector of the others) for X ~ law with independent coordinates.

    **Arguments:** `law`, a family with vector parameters, or a `Product` of such; `coordinate` j, from the end where
    it is negative.

    **Raises:** `TypeError` for a law whose coordinates depend on each other, or that has no distribution function;
    `ValueError` for an event that is no vector of at least two, and for a coordinate that is not there.
    """
    law = as_distribution(law)
    event = event_struct(law)
    if not isinstance(event, jax.ShapeDtypeStruct) or len(event.shape) != 1 or event.shape[0] < 2:
        shape = getattr(event, "shape", "of a pytree")
        raise ValueError(f"conditional: the target's event must be a vector of at least 2 numbers, not {shape}.")
    size = event.shape[0]
    if not -size <= coordinate < size:
        raise ValueError(f"conditional: there is no coordinate {coordinate} among {size}.")
    return _split(law, coordinate % size)


def _split(law: Any, j: int) -> tuple[Any, Any]:
    if isinstance(law, Product):
        return _split_product(law, j)
    if not all(callable(getattr(law, name, None)) for name in TAILS):
        raise TypeError(
            f"conditional: {family_name(law)} is no law of independent coordinates with {', '.join(TAILS)}. Give one "
            "with vector parameters (Normal, StudentT, Exponential, ...) or a Product of such, and let the score bring "
            "the coordinates together: of correlated normals, score(loc + factor @ z) with z ~ Normal."
        )
    shape = event_struct(law).shape
    names = [f.name for f in dataclasses.fields(law) if not f.metadata.get("static", False)]
    parameters = {name: jnp.broadcast_to(getattr(law, name), shape) for name in names}
    family = type(law)
    return (
        family(**{name: value[j] for name, value in parameters.items()}),
        family(**{name: _without(value, j) for name, value in parameters.items()}),
    )


def _split_product(law: Product, j: int) -> tuple[Any, Any]:
    components = list(law.components)
    shapes = [event_struct(component).shape for component in components]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    position = int(np.searchsorted(ends, j, side="right"))
    component, shape = components[position], shapes[position]
    size = int(np.prod(shape))
    if size == 1:
        lacking = [name for name in TAILS if not callable(getattr(component, name, None))]
        if lacking:
            raise TypeError(f"conditional: {family_name(component)} has no {', '.join(lacking)}.")
        alone, rest = component, []
    else:
        alone, others = _split(component, j - int(ends[position]) + size)
        rest = [others]
    if shape == (1,):
        alone = _first_of(component)
    return alone, Product([*components[:position], *rest, *components[position + 1 :]])


def _first_of(law: Any) -> Any:
    """A law of vectors of length 1 as one of scalars."""
    leaves, treedef = jax.tree.flatten(law)
    return jax.tree.unflatten(treedef, [jnp.reshape(leaf, ()) for leaf in leaves])


def _without(values: Any, j: int) -> Any:
    return jnp.concatenate([values[:j], values[j + 1 :]])
