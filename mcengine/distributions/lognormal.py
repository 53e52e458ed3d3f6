"""Independent lognormal coordinates."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions.normal import Normal
from mcengine.distributions.protocol import sample_by_transport
from mcengine.distributions.univariate import (
    as_event,
    broadcast_parameters,
    event_shape,
    keep_positive,
    positive_part,
    require_finite,
    require_positive,
    uniforms_of_event,
)
from mcengine.numerics.values import as_parameter


class LogNormal(eqx.Module):
    """exp(Z) with Z ~ N(loc, scale^2), one independent coordinate per entry of the broadcast parameters.

    log_prob(x) = sum_i log N(log x_i; loc_i, scale_i) - log x_i for x > 0, else -inf.

    **Arguments:** `loc` and `scale` > 0, mean and standard deviation of log x.
    """

    loc: Float[Array, "..."] = eqx.field(converter=as_parameter, default=0.0)
    scale: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)

    def __check_init__(self):
        event_shape(self.loc, self.scale)
        require_finite("LogNormal", "loc", self.loc)
        require_positive("LogNormal", "scale", self.scale)

    @property
    def num_uniforms(self) -> int:
        return int(np.prod(event_shape(self.loc, self.scale)))

    @property
    def support(self):
        loc, _ = broadcast_parameters(self.loc, self.scale)
        return jnp.zeros_like(loc), jnp.full_like(loc, jnp.inf)

    def forward(self, v: Float[Array, " num_uniforms"]):
        loc, scale = broadcast_parameters(self.loc, self.scale)
        x = keep_positive(jnp.exp(loc + scale * numerics.normal_quantile(uniforms_of_event(v, loc.shape))))
        return x, self.log_prob(x)

    def sample(self, key: PRNGKeyArray):
        return sample_by_transport(self, key)

    def log_prob(self, x) -> Float[Array, ""]:
        return jnp.sum(self.log_density(x))

    def log_density(self, x) -> Float[Array, "*event"]:
        """The log density of each coordinate."""
        positive, log_x = self._log(x)
        return jnp.where(positive, self._normal.log_density(log_x) - log_x, -jnp.inf)

    def log_cdf(self, x) -> Float[Array, "*event"]:
        """log P(X_i <= x_i) for each coordinate."""
        positive, log_x = self._log(x)
        return jnp.where(positive, self._normal.log_cdf(log_x), -jnp.inf)

    def log_sf(self, x) -> Float[Array, "*event"]:
        """log P(X_i > x_i) for each coordinate."""
        positive, log_x = self._log(x)
        return jnp.where(positive, self._normal.log_sf(log_x), 0.0)

    def quantile(self, log_lower, log_upper) -> Float[Array, "*event"]:
        """The point with log P(X_i <= x_i) = log_lower and log P(X_i > x_i) = log_upper; the smaller one decides."""
        return keep_positive(jnp.exp(self._normal.quantile(log_lower, log_upper)))

    @property
    def _normal(self) -> Normal:
        return Normal(*broadcast_parameters(self.loc, self.scale))

    def _log(self, x):
        x = as_event("LogNormal", x, broadcast_parameters(self.loc, self.scale)[0])
        positive, safe = positive_part(x)
        return positive, jnp.log(safe)
