"""Independent beta coordinates."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine.distributions import beta_tails, log_concave
from mcengine.distributions.gamma import log_standard_gamma
from mcengine.distributions.special import LOG_SQRT_2PI, deviance, stirling_error
from mcengine.distributions.univariate import (
    Event,
    IndependentCoordinates,
    Mask,
    as_event,
    guard,
    keep_positive,
    require_positive,
)
from mcengine.numerics.values import as_parameter


class Beta(IndependentCoordinates):
    """Beta distribution, density proportional to x^(alpha - 1) (1 - x)^(beta - 1), one coordinate per entry.

    log_prob(x) = sum_i (alpha_i - 1) log x_i + (beta_i - 1) log(1 - x_i) - log B(alpha_i, beta_i) for 0 < x < 1, else
    -inf. For beta well below 1 much of the mass is closer to 1 than floats resolve: replace x by 1 - x and swap the
    parameters.

    A transport, by the inverse distribution function: one uniform per coordinate, increasing in it, with an error of
    2e-5 in float32 and 1e-10 in float64. Independent samples are G_alpha / (G_alpha + G_beta) of two gamma draws, which
    is cheaper.
    """

    alpha: Float[Array, "..."] = eqx.field(converter=as_parameter)
    beta: Float[Array, "..."] = eqx.field(converter=as_parameter)
    prefers_sample_many: ClassVar[bool] = True
    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __check_init__(self):
        require_positive("Beta", "alpha", self.alpha)
        require_positive("Beta", "beta", self.beta)

    def sample(self, key: PRNGKeyArray) -> Event:
        return self._draw(key, ())

    def sample_many(self, key: PRNGKeyArray, num: int) -> Float[Array, "num *event"]:
        return self._draw(key, (num,))

    def log_density(self, x: ArrayLike) -> Event:
        a, b = self.parameters()
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

    def log_cdf(self, x: ArrayLike) -> Event:
        below, above, (log_below, _) = self._log_tails(x)
        return jnp.where(below, -jnp.inf, jnp.where(above, 0.0, log_below))

    def log_sf(self, x: ArrayLike) -> Event:
        below, above, (_, log_above) = self._log_tails(x)
        return jnp.where(below, 0.0, jnp.where(above, -jnp.inf, log_above))

    def quantile(self, log_lower: Event, log_upper: Event) -> Event:
        alpha, beta = self.parameters()
        return _inside(beta_tails.both_sides(alpha, beta, beta_tails.quantile(alpha, beta, log_lower, log_upper))[0])

    def _log_tails(self, x: ArrayLike) -> tuple[Mask, Mask, tuple[Event, Event]]:
        alpha, beta = self.parameters()
        x = as_event("Beta", x, alpha)
        below, above = x <= 0, x >= 1
        x = guard(~below & ~above, jnp.maximum(x, jnp.finfo(x.dtype).tiny), 0.5)
        t = log_concave.log_ratio(x, (1.0 - x) * (alpha / beta))
        return below, above, beta_tails.log_tails(alpha, beta, t)

    def _draw(self, key: PRNGKeyArray, batch: tuple[int, ...]) -> Float[Array, "..."]:
        alpha, beta = self.parameters()
        shape = (*batch, *alpha.shape)
        alpha_key, beta_key = jax.random.split(key)
        log_a = log_standard_gamma(alpha_key, jnp.broadcast_to(alpha, shape))
        log_b = log_standard_gamma(beta_key, jnp.broadcast_to(beta, shape))
        return _inside(jax.nn.sigmoid(log_a - log_b))


def _inside(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x moved off 0 and 1, where a draw may end by rounding."""
    limits = jnp.finfo(x.dtype)
    return jnp.clip(x, limits.tiny, 1.0 - limits.epsneg)
