"""Independent normal coordinates."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions import normal_tails
from mcengine.distributions.protocol import sample_by_transport
from mcengine.distributions.univariate import (
    as_event,
    broadcast_parameters,
    event_shape,
    require_finite,
    require_positive,
    uniforms_of_event,
)
from mcengine.numerics.values import as_parameter

LOG_SQRT_2PI = float(0.5 * np.log(2 * np.pi))


class Normal(eqx.Module):
    """N(loc, scale^2), one independent coordinate per entry of the broadcast parameters.

    log_prob(x) = sum_i -z_i^2 / 2 - log scale_i - log sqrt(2 pi),  z_i = (x_i - loc_i) / scale_i.

    **Arguments:** `loc` and `scale` (standard deviation, > 0), scalars or arrays that broadcast to the event.
    """

    loc: Float[Array, "..."] = eqx.field(converter=as_parameter, default=0.0)
    scale: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)

    def __check_init__(self):
        event_shape(self.loc, self.scale)
        require_finite("Normal", "loc", self.loc)
        require_positive("Normal", "scale", self.scale)

    @property
    def num_uniforms(self) -> int:
        return int(np.prod(event_shape(self.loc, self.scale)))

    @property
    def support(self):
        loc, _ = broadcast_parameters(self.loc, self.scale)
        return jnp.full_like(loc, -jnp.inf), jnp.full_like(loc, jnp.inf)

    def forward(self, v: Float[Array, " num_uniforms"]):
        loc, scale = broadcast_parameters(self.loc, self.scale)
        z = numerics.normal_quantile(uniforms_of_event(v, loc.shape))
        return loc + scale * z, jnp.sum(self._density_of_standardised(z))

    def sample(self, key: PRNGKeyArray):
        return sample_by_transport(self, key)

    def log_prob(self, x) -> Float[Array, ""]:
        return jnp.sum(self.log_density(x))

    def log_density(self, x) -> Float[Array, "*event"]:
        """The log density of each coordinate."""
        return self._density_of_standardised(self._standardised(x))

    def log_cdf(self, x) -> Float[Array, "*event"]:
        """log P(X_i <= x_i) for each coordinate."""
        return normal_tails.log_sf(-self._standardised(x))

    def log_sf(self, x) -> Float[Array, "*event"]:
        """log P(X_i > x_i) for each coordinate."""
        return normal_tails.log_sf(self._standardised(x))

    def quantile(self, log_lower, log_upper) -> Float[Array, "*event"]:
        """The point with log P(X_i <= x_i) = log_lower and log P(X_i > x_i) = log_upper; the smaller one decides."""
        loc, scale = broadcast_parameters(self.loc, self.scale)
        return loc + scale * normal_tails.quantile(log_lower, log_upper)

    def _standardised(self, x):
        loc, scale = broadcast_parameters(self.loc, self.scale)
        # A reciprocal of the parameter, not a division of every sample.
        return (as_event("Normal", x, loc) - loc) * (1.0 / scale)

    def _density_of_standardised(self, z):
        return -0.5 * z * z - jnp.log(jnp.broadcast_to(self.scale, z.shape)) - LOG_SQRT_2PI
