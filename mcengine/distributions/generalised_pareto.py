"""Independent generalised Pareto coordinates: excesses over a high threshold."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine.distributions.protocol import sample_by_transport
from mcengine.distributions.univariate import (
    as_event,
    broadcast_parameters,
    draw_by_quantile,
    event_shape,
    require_finite,
    require_positive,
)
from mcengine.numerics.values import as_parameter


class GeneralisedPareto(eqx.Module):
    """P(X > x) = (1 + shape z)^(-1/shape) with z = (x - loc) / scale >= 0, one coordinate per entry of the parameters.

    log_prob(x) = sum_i -log scale_i - (1 + 1/shape_i) log(1 + shape_i z_i), with the exponential law as shape -> 0.
    For shape < 0 the support ends at loc - scale / shape; that last float is given the density of the one before.

    **Arguments:** `shape`, any finite number (moments of order 1/shape and above are infinite); `scale` > 0; `loc`.
    """

    shape: Float[Array, "..."] = eqx.field(converter=as_parameter)
    scale: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)
    loc: Float[Array, "..."] = eqx.field(converter=as_parameter, default=0.0)

    def __check_init__(self):
        event_shape(self.shape, self.scale, self.loc)
        require_finite("GeneralisedPareto", "shape", self.shape)
        require_positive("GeneralisedPareto", "scale", self.scale)
        require_finite("GeneralisedPareto", "loc", self.loc)

    @property
    def num_uniforms(self) -> int:
        return int(np.prod(event_shape(self.shape, self.scale, self.loc)))

    @property
    def support(self):
        shape, scale, loc = broadcast_parameters(self.shape, self.scale, self.loc)
        bounded = shape < 0
        return loc, jnp.where(bounded, loc - scale / jnp.where(bounded, shape, -1.0), jnp.inf)

    def forward(self, v: Float[Array, " num_uniforms"]):
        return draw_by_quantile(self, v, event_shape(self.shape, self.scale, self.loc))

    def sample(self, key: PRNGKeyArray):
        return sample_by_transport(self, key)

    def log_prob(self, x) -> Float[Array, ""]:
        return jnp.sum(self.log_density(x))

    def log_density(self, x) -> Float[Array, "*event"]:
        """The log density of each coordinate."""
        shape, scale, _ = broadcast_parameters(self.shape, self.scale, self.loc)
        below, above, hazard = self._cumulative_hazard(x)
        return jnp.where(below | above, -jnp.inf, -jnp.log(scale) - (1.0 + shape) * hazard)

    def log_cdf(self, x) -> Float[Array, "*event"]:
        """log P(X_i <= x_i) for each coordinate."""
        below, above, hazard = self._cumulative_hazard(x)
        inside = (hazard > 0) & ~below & ~above
        log_p = jnp.log(-jnp.expm1(-jnp.where(inside, hazard, 1.0)))
        return jnp.where(inside, log_p, jnp.where(above, 0.0, -jnp.inf))

    def log_sf(self, x) -> Float[Array, "*event"]:
        """log P(X_i > x_i) for each coordinate."""
        below, above, hazard = self._cumulative_hazard(x)
        return jnp.where(above, -jnp.inf, jnp.where(below, 0.0, -hazard))

    def quantile(self, log_lower, log_upper) -> Float[Array, "*event"]:
        """The point with log P(X_i <= x_i) = log_lower and log P(X_i > x_i) = log_upper, both exact."""
        shape, scale, loc = broadcast_parameters(self.shape, self.scale, self.loc)
        hazard = -log_upper
        y = jnp.where(shape == 0, 0.0, shape * hazard)
        small = jnp.abs(y) < 1e-3
        series = hazard * (1.0 + y * (0.5 + y * (1 / 6)))
        z = jnp.where(small, series, jnp.expm1(jnp.where(small, 1.0, y)) / jnp.where(small, 1.0, shape))
        return jnp.minimum(loc + scale * z, self.support[1])

    def _cumulative_hazard(self, x):
        """Whether x lies below or above the support, and -log P(X > x) where it does neither."""
        shape, scale, loc = broadcast_parameters(self.shape, self.scale, self.loc)
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
