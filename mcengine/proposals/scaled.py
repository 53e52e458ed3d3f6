"""The target with its scale inflated: wider, with the same centre."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.distributions import (
    Affine,
    Distribution,
    Exponential,
    Gamma,
    GeneralisedPareto,
    Gumbel,
    LogNormal,
    Mixture,
    MultivariateNormal,
    Normal,
    Product,
    StudentT,
    Weibull,
    as_distribution,
)
from mcengine.distributions.foreign import family_name
from mcengine.numerics.values import Parameter, as_parameter, concrete
from mcengine.proposals.event_arguments import of_event_shape, split_event

_BY_SCALE = (Normal, StudentT, Gumbel, LogNormal, Weibull, GeneralisedPareto)
_BY_RATE = (Exponential, Gamma)


def scaled(distribution: Any, factor: Parameter) -> Distribution:
    """The distribution of loc + factor (X - loc) for X ~ distribution: the scale is multiplied, the location kept.

    A `rate` is divided by `factor`. For a LogNormal the scale is that of log x.

    **Arguments:** `distribution`, a Normal, MultivariateNormal, StudentT, Gumbel, LogNormal, Weibull,
    GeneralisedPareto, Exponential or Gamma, or a Product, Mixture or Affine one of those; `factor` > 0, a scalar or an
    array of the event's shape.

    **Raises:** `TypeError` for other families, `ValueError` for a factor that is not positive.
    """
    distribution = as_distribution(distribution)
    known = concrete(as_parameter(factor))
    if known is not None and not np.all((known > 0) & np.isfinite(known)):
        raise ValueError(f"scaled: factor must be positive and finite, got {known}.")
    if isinstance(distribution, Product):
        parts = split_event("scaled: factor", distribution, factor)
        return Product([scaled(c, part) for c, part in zip(distribution.components, parts, strict=True)])
    if isinstance(distribution, Mixture):
        return Mixture([scaled(c, factor) for c in distribution.components], distribution.weights)
    factor = of_event_shape("scaled: factor", distribution, factor)
    if isinstance(distribution, MultivariateNormal):
        return _scaled_matrix(distribution, factor)
    if isinstance(distribution, Affine):
        # The centre is the image of the inner distribution's location.
        if distribution.factor is not None:
            raise TypeError("scaled: an Affine with a matrix cannot be scaled; scale the distribution inside it.")
        return eqx.tree_at(lambda d: d.distribution, distribution, scaled(distribution.distribution, factor))
    if isinstance(distribution, _BY_SCALE):
        return eqx.tree_at(lambda d: d.scale, distribution, jnp.broadcast_to(distribution.scale, factor.shape) * factor)
    if isinstance(distribution, _BY_RATE):
        return eqx.tree_at(lambda d: d.rate, distribution, jnp.broadcast_to(distribution.rate, factor.shape) / factor)
    names = ", ".join(family.__name__ for family in (MultivariateNormal, *_BY_SCALE, *_BY_RATE))
    raise TypeError(f"scaled: {family_name(distribution)} has no scale to inflate; {names} have.")


def _scaled_matrix(distribution: MultivariateNormal, factor: Float[Array, " d"]) -> MultivariateNormal:
    """Coordinate i times factor_i: rows of the factor, columns of its inverse."""
    rows = jax.vmap(jnp.multiply)(factor, distribution.factor)
    columns = jax.vmap(lambda f, column: column / f, in_axes=(0, 1), out_axes=1)(factor, distribution.inverse)
    return eqx.tree_at(lambda d: (d.factor, d.inverse), distribution, (rows, columns))
