"""Independent Poisson counts."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine.distributions.special import LOG_SQRT_2PI, deviance, stirling_error
from mcengine.distributions.univariate import as_event, as_parameter, require_positive


class Poisson(eqx.Module):
    """Counts (int32) with the given mean, `rate` > 0, one independent coordinate per entry.

    log_prob(x) = sum_i x_i log rate_i - rate_i - log x_i! for x_i = 0, 1, 2, ..., else -inf.

    Not a transport. Drawn by `jax.random.poisson`, whose keys must be of the threefry kind.
    """

    rate: Float[Array, "..."] = eqx.field(converter=as_parameter)

    def __check_init__(self):
        require_positive("Poisson", "rate", self.rate)

    @property
    def support(self):
        return jnp.zeros(self.rate.shape, jnp.int32), jnp.full(self.rate.shape, jnp.iinfo(jnp.int32).max, jnp.int32)

    def sample(self, key: PRNGKeyArray):
        return self._draw(key, ())

    def sample_many(self, key: PRNGKeyArray, num: int):
        return self._draw(key, (num,))

    def log_prob(self, x) -> Float[Array, ""]:
        """Accepts floats too: 2.0 is a count, 2.5 is none."""
        x = as_event("Poisson", x, self.rate)
        is_count = (x >= 0) & (x == jnp.floor(x)) & jnp.isfinite(x)
        positive = is_count & (x > 0)
        n = jnp.where(positive, x, 1.0)
        # n log r - r - log n! = -D(n, r) - log sqrt(2 pi n) - stirling_error(n)
        log_p = -deviance(n, self.rate) - LOG_SQRT_2PI - 0.5 * jnp.log(n) - stirling_error(n)
        return jnp.sum(jnp.where(positive, log_p, jnp.where(is_count, -self.rate, -jnp.inf)))

    def _draw(self, key, batch):
        shape = (*batch, *self.rate.shape)
        return jax.random.poisson(key, jnp.broadcast_to(self.rate, shape), shape, dtype=jnp.int32)
