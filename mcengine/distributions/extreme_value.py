"""Laws of maxima and of lifetimes: Gumbel and Weibull, independent coordinates."""

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
    keep_positive,
    positive_part,
    require_finite,
    require_positive,
)
from mcengine.numerics.values import as_parameter


class Gumbel(eqx.Module):
    """Gumbel law of maxima, P(X <= x) = exp(-exp(-z)) with z = (x - loc) / scale, one coordinate per entry.

    log_prob(x) = sum_i -z_i - exp(-z_i) - log scale_i.
    """

    loc: Float[Array, "..."] = eqx.field(converter=as_parameter, default=0.0)
    scale: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)

    def __check_init__(self):
        event_shape(self.loc, self.scale)
        require_finite("Gumbel", "loc", self.loc)
        require_positive("Gumbel", "scale", self.scale)

    @property
    def num_uniforms(self) -> int:
        return int(np.prod(event_shape(self.loc, self.scale)))

    @property
    def support(self):
        loc, _ = broadcast_parameters(self.loc, self.scale)
        return jnp.full_like(loc, -jnp.inf), jnp.full_like(loc, jnp.inf)

    def forward(self, v: Float[Array, " num_uniforms"]):
        return draw_by_quantile(self, v, event_shape(self.loc, self.scale))

    def sample(self, key: PRNGKeyArray):
        return sample_by_transport(self, key)

    def log_prob(self, x) -> Float[Array, ""]:
        return jnp.sum(self.log_density(x))

    def log_density(self, x) -> Float[Array, "*event"]:
        """The log density of each coordinate."""
        z, scale = self._standardised(x)
        return -z - jnp.exp(-z) - jnp.log(scale)

    def log_cdf(self, x) -> Float[Array, "*event"]:
        """log P(X_i <= x_i) for each coordinate."""
        return -jnp.exp(-self._standardised(x)[0])

    def log_sf(self, x) -> Float[Array, "*event"]:
        """log P(X_i > x_i) for each coordinate: about -z far out."""
        z, _ = self._standardised(x)
        far = z > 20.0  # exp(-z) is within rounding of the tail from here on, and underflows from z = 87 on
        near = jnp.log(-jnp.expm1(-jnp.exp(-jnp.where(far, 0.0, z))))
        return jnp.where(far, -z, near)

    def quantile(self, log_lower, log_upper) -> Float[Array, "*event"]:
        """The point with log P(X_i <= x_i) = log_lower and log P(X_i > x_i) = log_upper, both exact."""
        loc, scale = broadcast_parameters(self.loc, self.scale)
        far = log_upper < -20.0  # -log(1 - p) = p within rounding, and log p is known
        return loc + scale * jnp.where(far, -log_upper, -jnp.log(-jnp.where(far, -1.0, log_lower)))

    def _standardised(self, x):
        loc, scale = broadcast_parameters(self.loc, self.scale)
        return (as_event("Gumbel", x, loc) - loc) / scale, scale


class Weibull(eqx.Module):
    """Weibull law, P(X > x) = exp(-(x / scale)^shape) for x >= 0, one coordinate per entry of the parameters.

    log_prob(x) = sum_i log(shape_i / scale_i) + (shape_i - 1) log(x_i / scale_i) - (x_i / scale_i)^shape_i for x > 0,
    else -inf. Draws that would round to 0 (shape below about 0.3) are the smallest normal float.
    """

    shape: Float[Array, "..."] = eqx.field(converter=as_parameter)
    scale: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)

    def __check_init__(self):
        event_shape(self.shape, self.scale)
        require_positive("Weibull", "shape", self.shape)
        require_positive("Weibull", "scale", self.scale)

    @property
    def num_uniforms(self) -> int:
        return int(np.prod(event_shape(self.shape, self.scale)))

    @property
    def support(self):
        scale = broadcast_parameters(self.shape, self.scale)[1]
        return jnp.zeros_like(scale), jnp.full_like(scale, jnp.inf)

    def forward(self, v: Float[Array, " num_uniforms"]):
        return draw_by_quantile(self, v, event_shape(self.shape, self.scale))

    def sample(self, key: PRNGKeyArray):
        return sample_by_transport(self, key)

    def log_prob(self, x) -> Float[Array, ""]:
        return jnp.sum(self.log_density(x))

    def log_density(self, x) -> Float[Array, "*event"]:
        """The log density of each coordinate."""
        shape, scale = broadcast_parameters(self.shape, self.scale)
        positive, log_z = self._log_standardised(x)
        density = jnp.log(shape / scale) + (shape - 1.0) * log_z - jnp.exp(shape * log_z)
        return jnp.where(positive, density, -jnp.inf)

    def log_cdf(self, x) -> Float[Array, "*event"]:
        """log P(X_i <= x_i) for each coordinate: about shape log(x / scale) near 0."""
        shape, _ = broadcast_parameters(self.shape, self.scale)
        positive, log_z = self._log_standardised(x)
        near = shape * log_z < -20.0
        inner = jnp.log(-jnp.expm1(-jnp.exp(jnp.where(near, 0.0, shape * log_z))))
        return jnp.where(positive, jnp.where(near, shape * log_z, inner), -jnp.inf)

    def log_sf(self, x) -> Float[Array, "*event"]:
        """log P(X_i > x_i) for each coordinate."""
        shape, _ = broadcast_parameters(self.shape, self.scale)
        positive, log_z = self._log_standardised(x)
        return jnp.where(positive, -jnp.exp(shape * log_z), 0.0)

    def quantile(self, log_lower, log_upper) -> Float[Array, "*event"]:
        """The point with log P(X_i <= x_i) = log_lower and log P(X_i > x_i) = log_upper, both exact."""
        shape, scale = broadcast_parameters(self.shape, self.scale)
        return keep_positive(scale * jnp.exp(jnp.log(-log_upper) / shape))

    def _log_standardised(self, x):
        _, scale = broadcast_parameters(self.shape, self.scale)
        positive, safe = positive_part(as_event("Weibull", x, scale))
        return positive, jnp.log(safe) - jnp.log(scale)
