"""Independent generalised Pareto coordinates: excesses over a high threshold."""

import equinox as eqx
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine.distributions.univariate import (
    Event,
    IndependentCoordinates,
    Mask,
    as_event,
    require_finite,
    require_positive,
)
from mcengine.numerics.values import as_parameter


class GeneralisedPareto(IndependentCoordinates):
    """P(X > x) = (1 + shape z)^(-1/shape) with z = (x - loc) / scale >= 0, one coordinate per entry of the parameters.

    log_prob(x) = sum_i -log scale_i - (1 + 1/shape_i) log(1 + shape_i z_i), exponential as shape -> 0.
    For shape < 0 the support ends at loc - scale / shape; the last float has the density of the one before it.

    **Arguments:** `shape`, any finite number (moments of order 1/shape and above are infinite); `scale` > 0; `loc`.
    """

    shape: Float[Array, "..."] = eqx.field(converter=as_parameter)
    scale: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)
    loc: Float[Array, "..."] = eqx.field(converter=as_parameter, default=0.0)

    def __check_init__(self):
        require_finite("GeneralisedPareto", "shape", self.shape)
        require_positive("GeneralisedPareto", "scale", self.scale)
        require_finite("GeneralisedPareto", "loc", self.loc)

    @property
    def support(self) -> tuple[Event, Event]:
        shape, scale, loc = self.parameters()
        bounded = shape < 0
        return loc, jnp.where(bounded, loc - scale / jnp.where(bounded, shape, -1.0), jnp.inf)

    def log_density(self, x: ArrayLike) -> Event:
        shape, scale, _ = self.parameters()
        below, above, hazard = self._cumulative_hazard(x)
        return jnp.where(below | above, -jnp.inf, -jnp.log(scale) - (1.0 + shape) * hazard)

    def log_cdf(self, x: ArrayLike) -> Event:
        below, above, hazard = self._cumulative_hazard(x)
        inside = (hazard > 0) & ~below & ~above
        log_p = jnp.log(-jnp.expm1(-jnp.where(inside, hazard, 1.0)))
        return jnp.where(inside, log_p, jnp.where(above, 0.0, -jnp.inf))

    def log_sf(self, x: ArrayLike) -> Event:
        below, above, hazard = self._cumulative_hazard(x)
        return jnp.where(above, -jnp.inf, jnp.where(below, 0.0, -hazard))

    def quantile(self, log_lower: Event, log_upper: Event) -> Event:
        """The point with log P(X_i <= x_i) = log_lower and log P(X_i > x_i) = log_upper, both exact."""
        shape, scale, loc = self.parameters()
        hazard = -log_upper
        y = jnp.where(shape == 0, 0.0, shape * hazard)
        small = jnp.abs(y) < 1e-3
        series = hazard * (1.0 + y * (0.5 + y * (1 / 6)))
        z = jnp.where(small, series, jnp.expm1(jnp.where(small, 1.0, y)) / jnp.where(small, 1.0, shape))
        return jnp.minimum(loc + scale * z, self.support[1])

    def _cumulative_hazard(self, x: ArrayLike) -> tuple[Mask, Mask, Event]:
        """Whether x lies below or above the support, and -log P(X > x) where it does neither."""
        shape, scale, loc = self.parameters()
        x = as_event("GeneralisedPareto", x, loc)
        lower, upper = self.support
        below, above = x < lower, x > upper
        z = jnp.where(below | above, 0.0, (x - loc) / scale)
        # 1 + y is kept one float above 0 at the end of a bounded support.
        y = jnp.maximum(shape * z, -1.0 + jnp.finfo(x.dtype).eps)
        small = jnp.abs(y) < 1e-3
        safe = jnp.where(small, 1.0, y)
        ratio = jnp.where(small, 1.0 - y * (0.5 - y * (1 / 3)), jnp.log1p(safe) / safe)
        return below, above, z * ratio
