"""One coordinate of a distribution of independent coordinates, and the distribution of the others."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.distributions.foreign import as_distribution, family_name
from mcengine.distributions.product import Product
from mcengine.distributions.protocol import Distribution, event_struct, missing_methods

# A coordinate that is integrated out needs both tails and its quantile function.
TAILS = ("log_cdf", "log_sf", "quantile")


def split_coordinate(distribution: Any, coordinate: int) -> tuple[Any, Distribution]:
    """Split X ~ distribution with independent coordinates into X_j and the others.

    **Arguments:** `distribution`, a family with vector parameters, or a `Product` of such; `coordinate` j, counted from
    the end where it is negative.

    **Returns:** (the distribution of X_j, a scalar with `TAILS`; that of the vector of the others).

    **Raises:** `TypeError` for a distribution whose coordinates depend on each other, or that has no distribution
    function; `ValueError` for an event that is not a vector of at least two, and for a coordinate that does not exist.
    """
    distribution = as_distribution(distribution)
    event = event_struct(distribution)
    if not isinstance(event, jax.ShapeDtypeStruct) or len(event.shape) != 1 or event.shape[0] < 2:
        shape = event.shape if isinstance(event, jax.ShapeDtypeStruct) else "of a pytree"
        raise ValueError(f"conditional: the target's event must be a vector of at least 2 numbers, not {shape}.")
    size = event.shape[0]
    if not -size <= coordinate < size:
        raise ValueError(f"conditional: there is no coordinate {coordinate} among {size}.")
    return _split(distribution, coordinate % size)


def _split(distribution: Distribution, j: int) -> tuple[Any, Distribution]:
    if isinstance(distribution, Product):
        return _split_product(distribution, j)
    if missing_methods(distribution, TAILS):
        raise TypeError(
            f"conditional: {family_name(distribution)} is not a distribution of independent coordinates with "
            f"{', '.join(TAILS)}. Give one with vector parameters (Normal, StudentT, Exponential, ...) or a Product of "
            "such, and let the score combine the coordinates: for correlated normals, score(loc + factor @ z) with z ~ "
            "Normal."
        )
    shape = event_struct(distribution).shape
    family: Any = type(distribution)
    names = [f.name for f in dataclasses.fields(family) if not f.metadata.get("static", False)]
    parameters = {name: jnp.broadcast_to(getattr(distribution, name), shape) for name in names}
    return (
        family(**{name: value[j] for name, value in parameters.items()}),
        family(**{name: _without(value, j) for name, value in parameters.items()}),
    )


def _split_product(product: Product, j: int) -> tuple[Any, Product]:
    components = list(product.components)
    shapes = [event_struct(component).shape for component in components]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    position = int(np.searchsorted(ends, j, side="right"))
    component, shape = components[position], shapes[position]
    size = int(np.prod(shape))
    if size == 1:
        lacking = missing_methods(component, TAILS)
        if lacking:
            raise TypeError(f"conditional: {family_name(component)} has no {', '.join(lacking)}.")
        alone, rest = component, []
    else:
        alone, others = _split(component, j - int(ends[position]) + size)
        rest = [others]
    if shape == (1,):
        alone = _as_scalar(component)
    return alone, Product([*components[:position], *rest, *components[position + 1 :]])


def _as_scalar(distribution: Distribution) -> Any:
    """A distribution of vectors of length 1 as one of scalars."""
    leaves, treedef = jax.tree.flatten(distribution)
    return jax.tree.unflatten(treedef, [jnp.reshape(leaf, ()) for leaf in leaves])


def _without(values: Float[Array, " n"], j: int) -> Float[Array, " rest"]:
    return jnp.concatenate([values[:j], values[j + 1 :]])
