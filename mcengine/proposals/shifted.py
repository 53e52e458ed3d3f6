"""The target shifted to where the integrand is large."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from mcengine.distributions import (
    Affine,
    Distribution,
    Gumbel,
    Mixture,
    MultivariateNormal,
    Normal,
    Product,
    StudentT,
    as_distribution,
)
from mcengine.distributions.foreign import family_name
from mcengine.numerics.values import Parameter
from mcengine.proposals.event_arguments import of_event_shape, split_event

_FAMILIES = (Normal, MultivariateNormal, StudentT, Gumbel)


def shifted(distribution: Any, shift: Parameter) -> Distribution:
    """The distribution of X + shift for X ~ distribution, of a family on the whole line: `loc` plus `shift`.

    **Arguments:** `distribution`, a Normal, MultivariateNormal, StudentT or Gumbel, or a Product, Mixture or Affine one
    of those; `shift`, a scalar or an array of the event's shape.

    **Raises:** `TypeError` for other families: a support with a finite end, shifted, does not cover the target. Use
    `mcengine.Affine` if that is what you want.
    """
    distribution = as_distribution(distribution)
    if isinstance(distribution, Product):
        parts = split_event("shifted: shift", distribution, shift)
        return Product([shifted(c, part) for c, part in zip(distribution.components, parts, strict=True)])
    if isinstance(distribution, Mixture):
        return Mixture([shifted(c, shift) for c in distribution.components], distribution.weights)
    shift = of_event_shape("shifted: shift", distribution, shift)
    if isinstance(distribution, Affine):
        _require_line(distribution.distribution)
        return eqx.tree_at(lambda d: d.loc, distribution, jnp.broadcast_to(distribution.loc, shift.shape) + shift)
    _require_line(distribution)
    return eqx.tree_at(lambda d: d.loc, distribution, jnp.broadcast_to(distribution.loc, shift.shape) + shift)


def _require_line(distribution: Distribution) -> None:
    if not isinstance(distribution, (*_FAMILIES, Affine, Product, Mixture)):
        names = ", ".join(family.__name__ for family in _FAMILIES)
        raise TypeError(
            f"shifted: {family_name(distribution)} has no location on the whole line; {names} can be shifted. "
            "mcengine.Affine shifts any continuous distribution, and its support with it."
        )
