"""Independent beta coordinates."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine.distributions.gamma import log_standard_gamma
from mcengine.distributions.special import LOG_SQRT_2PI, deviance, stirling_error
from mcengine.distributions.univariate import (
    as_event,
    as_parameter,
    broadcast_parameters,
    event_shape,
    guard,
    keep_positive,
    require_positive,
)


class Beta(eqx.Module):
    """Beta law with density proportional to x^(alpha - 1) (1 - x)^(beta - 1), one coordinate per entry.

    log_prob(x) = sum_i (alpha_i - 1) log x_i + (beta_i - 1) log(1 - x_i) - log B(alpha_i, beta_i) for 0 < x < 1, else
    -inf. Not a transport: G_alpha / (G_alpha + G_beta) of two gamma draws. For beta well below 1 much of the mass lies
    closer to 1 than a float can say: turn x into 1 - x and swap the parameters.
    """

    alpha: Float[Array, "..."] = eqx.field(converter=as_parameter)
    beta: Float[Array, "..."] = eqx.field(converter=as_parameter)

    def __check_init__(self):
        event_shape(self.alpha, self.beta)
        require_positive("Beta", "alpha", self.alpha)
        require_positive("Beta", "beta", self.beta)

    @property
    def support(self):
        alpha, _ = broadcast_parameters(self.alpha, self.beta)
        return jnp.zeros_like(alpha), jnp.ones_like(alpha)

    def sample(self, key: PRNGKeyArray):
        return self._draw(key, ())

    def sample_many(self, key: PRNGKeyArray, num: int):
        return self._draw(key, (num,))

    def log_prob(self, x) -> Float[Array, ""]:
        return jnp.sum(self.log_density(x))

    def log_density(self, x) -> Float[Array, "*event"]:
        """The log density of each coordinate."""
        a, b = broadcast_parameters(self.alpha, self.beta)
        x = as_event("Beta", x, a)
        inside = (x > 0) & (x < 1)
        x = guard(inside, jnp.maximum(x, jnp.finfo(x.dtype).tiny), 0.5)
        n = a + b
        # log x^a (1 - x)^b / B(a, b): the linear parts of the two deviances cancel.
        log_binomial = (
            -deviance(a, keep_positive(n * x)) - deviance(b, n * (1.0 - x)) + 0.5 * jnp.log(a * (b / n)) - LOG_SQRT_2PI
        )
        stirling = stirling_error(n) - stirling_error(a) - stirling_error(b)
        return jnp.where(inside, log_binomial + stirling - jnp.log(x) - jnp.log1p(-x), -jnp.inf)

    def _draw(self, key, batch):
        shape = (*batch, *event_shape(self.alpha, self.beta))
        alpha, beta = broadcast_parameters(self.alpha, self.beta)
        alpha_key, beta_key = jax.random.split(key)
        log_a = log_standard_gamma(alpha_key, jnp.broadcast_to(alpha, shape))
        log_b = log_standard_gamma(beta_key, jnp.broadcast_to(beta, shape))
        limits = jnp.finfo(log_a.dtype)
        return jnp.clip(jax.nn.sigmoid(log_a - log_b), limits.tiny, 1.0 - limits.epsneg)
