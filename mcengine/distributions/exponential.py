"""Independent exponential coordinates."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine.distributions.protocol import sample_by_transport
from mcengine.distributions.univariate import as_event, draw_by_quantile, guard, require_positive
from mcengine.numerics.values import as_parameter


class Exponential(eqx.Module):
    """Exponential law with the given `rate` (1 / mean, > 0), one independent coordinate per entry.

    log_prob(x) = sum_i log rate_i - rate_i x_i for x >= 0, else -inf.
    """

    rate: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)

    def __check_init__(self):
        require_positive("Exponential", "rate", self.rate)

    @property
    def num_uniforms(self) -> int:
        return int(np.prod(self.rate.shape))

    @property
    def support(self):
        return jnp.zeros_like(self.rate), jnp.full_like(self.rate, jnp.inf)

    def forward(self, v: Float[Array, " num_uniforms"]):
        return draw_by_quantile(self, v, self.rate.shape)

    def sample(self, key: PRNGKeyArray):
        return sample_by_transport(self, key)

    def log_prob(self, x) -> Float[Array, ""]:
        return jnp.sum(self.log_density(x))

    def log_density(self, x) -> Float[Array, "*event"]:
        """The log density of each coordinate."""
        x = as_event("Exponential", x, self.rate)
        return jnp.where(x >= 0, jnp.log(self.rate) - self.rate * guard(x >= 0, x, 0.0), -jnp.inf)

    def log_cdf(self, x) -> Float[Array, "*event"]:
        """log P(X_i <= x_i) for each coordinate."""
        x = as_event("Exponential", x, self.rate)
        return jnp.where(x > 0, jnp.log(-jnp.expm1(-self.rate * guard(x > 0, x, 1.0))), -jnp.inf)

    def log_sf(self, x) -> Float[Array, "*event"]:
        """log P(X_i > x_i) for each coordinate."""
        return -self.rate * jnp.maximum(as_event("Exponential", x, self.rate), 0.0)

    def quantile(self, log_lower, log_upper) -> Float[Array, "*event"]:
        """The point with log P(X_i <= x_i) = log_lower and log P(X_i > x_i) = log_upper, both exact."""
        return -log_upper / self.rate
