"""Distributions of maxima and of lifetimes: Gumbel and Weibull, independent coordinates."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine.distributions.univariate import (
    Event,
    IndependentCoordinates,
    Mask,
    as_event,
    keep_positive,
    positive_part,
    require_finite,
    require_positive,
)
from mcengine.numerics.values import as_parameter


class Gumbel(IndependentCoordinates):
    """Gumbel distribution of maxima, P(X <= x) = exp(-exp(-z)) with z = (x - loc) / scale, one coordinate
    per entry.

    log_prob(x) = sum_i -z_i - exp(-z_i) - log scale_i.
    """

    loc: Float[Array, "..."] = eqx.field(converter=as_parameter, default=0.0)
    scale: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)

    def __check_init__(self):
        require_finite("Gumbel", "loc", self.loc)
        require_positive("Gumbel", "scale", self.scale)

    def log_density(self, x: ArrayLike) -> Event:
        z, scale = self._standardised(x)
        return -z - jnp.exp(-z) - jnp.log(scale)

    def log_cdf(self, x: ArrayLike) -> Event:
        return -jnp.exp(-self._standardised(x)[0])

    def log_sf(self, x: ArrayLike) -> Event:
        """log P(X_i > x_i) for each coordinate: about -z far out."""
        z, _ = self._standardised(x)
        far = z > 20.0  # exp(-z) is within rounding of the tail from here on, and underflows from z = 87 on
        near = jnp.log(-jnp.expm1(-jnp.exp(-jnp.where(far, 0.0, z))))
        return jnp.where(far, -z, near)

    def quantile(self, log_lower: Event, log_upper: Event) -> Event:
        """The point with log P(X_i <= x_i) = log_lower and log P(X_i > x_i) = log_upper, both exact."""
        loc, scale = self.parameters()
        far = log_upper < -20.0  # -log(1 - p) = p within rounding, and log p is known
        return loc + scale * jnp.where(far, -log_upper, -jnp.log(-jnp.where(far, -1.0, log_lower)))

    def _standardised(self, x: ArrayLike) -> tuple[Event, Event]:
        loc, scale = self.parameters()
        return (as_event("Gumbel", x, loc) - loc) / scale, scale


class Weibull(IndependentCoordinates):
    """Weibull distribution, P(X > x) = exp(-(x / scale)^shape) for x >= 0, one coordinate per entry.

    log_prob(x) = sum_i log(shape_i / scale_i) + (shape_i - 1) log(x_i / scale_i) - (x_i / scale_i)^shape_i for x > 0,
    else -inf. Draws that would round to 0 (shape below about 0.3) are the smallest normal float.
    """

    shape: Float[Array, "..."] = eqx.field(converter=as_parameter)
    scale: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)
    limits: ClassVar[tuple[float, float]] = (0.0, np.inf)

    def __check_init__(self):
        require_positive("Weibull", "shape", self.shape)
        require_positive("Weibull", "scale", self.scale)

    def log_density(self, x: ArrayLike) -> Event:
        shape, scale = self.parameters()
        positive, log_z = self._log_standardised(x)
        density = jnp.log(shape / scale) + (shape - 1.0) * log_z - jnp.exp(shape * log_z)
        return jnp.where(positive, density, -jnp.inf)

    def log_cdf(self, x: ArrayLike) -> Event:
        """log P(X_i <= x_i) for each coordinate: about shape log(x / scale) near 0."""
        shape, _ = self.parameters()
        positive, log_z = self._log_standardised(x)
        near = shape * log_z < -20.0
        inner = jnp.log(-jnp.expm1(-jnp.exp(jnp.where(near, 0.0, shape * log_z))))
        return jnp.where(positive, jnp.where(near, shape * log_z, inner), -jnp.inf)

    def log_sf(self, x: ArrayLike) -> Event:
        shape, _ = self.parameters()
        positive, log_z = self._log_standardised(x)
        return jnp.where(positive, -jnp.exp(shape * log_z), 0.0)

    def quantile(self, log_lower: Event, log_upper: Event) -> Event:
        """The point with log P(X_i <= x_i) = log_lower and log P(X_i > x_i) = log_upper, both exact."""
        shape, scale = self.parameters()
        return keep_positive(scale * jnp.exp(jnp.log(-log_upper) / shape))

    def _log_standardised(self, x: ArrayLike) -> tuple[Mask, Event]:
        _, scale = self.parameters()
        positive, safe = positive_part(as_event("Weibull", x, scale))
        return positive, jnp.log(safe) - jnp.log(scale)
