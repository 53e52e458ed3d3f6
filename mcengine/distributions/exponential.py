"""Independent exponential coordinates."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine.distributions.univariate import Event, IndependentCoordinates, as_event, guard, require_positive
from mcengine.numerics.values import as_parameter


class Exponential(IndependentCoordinates):
    """Exponential distribution with the given `rate` (1 / mean, > 0), one independent coordinate per entry.

    log_prob(x) = sum_i log rate_i - rate_i x_i for x >= 0, else -inf.
    """

    rate: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)
    limits: ClassVar[tuple[float, float]] = (0.0, np.inf)

    def __check_init__(self):
        require_positive("Exponential", "rate", self.rate)

    def log_density(self, x: ArrayLike) -> Event:
        x = as_event("Exponential", x, self.rate)
        return jnp.where(x >= 0, jnp.log(self.rate) - self.rate * guard(x >= 0, x, 0.0), -jnp.inf)

    def log_cdf(self, x: ArrayLike) -> Event:
        x = as_event("Exponential", x, self.rate)
        return jnp.where(x > 0, jnp.log(-jnp.expm1(-self.rate * guard(x > 0, x, 1.0))), -jnp.inf)

    def log_sf(self, x: ArrayLike) -> Event:
        return -self.rate * jnp.maximum(as_event("Exponential", x, self.rate), 0.0)

    def quantile(self, log_lower: Event, log_upper: Event) -> Event:
        """The point with log P(X_i <= x_i) = log_lower and log P(X_i > x_i) = log_upper, both exact."""
        return -log_upper / self.rate
