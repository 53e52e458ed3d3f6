"""Independent gamma coordinates, and the sampler that the beta distribution uses too."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions import gamma_tails, log_concave
from mcengine.distributions.special import LOG_SQRT_2PI, deviance, stirling_error
from mcengine.distributions.univariate import (
    Event,
    IndependentCoordinates,
    Mask,
    as_event,
    keep_positive,
    positive_part,
    require_positive,
)
from mcengine.numerics.values import as_parameter

# Above 95 % of the proposals are accepted for every shape, so 64 rounds fail with probability 1e-84. The bound is for
# NaN shapes, which would never be accepted.
_MAX_ROUNDS = 64


@jax.custom_jvp
def log_standard_gamma(key: PRNGKeyArray, shape: Event) -> Event:
    """log G for independent G ~ Gamma(shape, 1), finite for every shape.

    G. Marsaglia and W. W. Tsang, ACM TOMS 26 (2000), 363-372: with d = a - 1/3 and y = Z / (3 sqrt(d)), d (1 + y)^3 is
    kept with probability min(1, exp(3 d h(y))), h(y) = log(1 + y) - y + y^2/2 - y^3/3 (their test, with the terms
    that cancel left out). For shape < 1, G(shape) = G(shape + 1) u^(1/shape) (their section 6), added in logs.

    Derivatives along the shape are implicit: dG/da = -(dF/da) / f at the sample.
    """
    boosted = shape < 1.0
    d = jnp.where(boosted, shape + 1.0, shape) - 1.0 / 3.0
    slope = 1.0 / (3.0 * jnp.sqrt(d))
    boost = jnp.where(boosted, 1.0 / jnp.where(boosted, shape, 1.0), 0.0)

    def unfinished(state: tuple[Array, Array, Array]) -> Bool[Array, ""]:
        index, _, done = state
        return (index < _MAX_ROUNDS) & ~jnp.all(done)

    def propose(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        index, log_g, done = state
        bits = numerics.random_words(jax.random.fold_in(key, index), (3, *shape.shape))
        normal, accept, extra = (numerics.centred_uniform(bits[i : i + 1]) for i in range(3))
        y = slope * numerics.normal_quantile(normal)
        valid = y > -1.0
        y = jnp.where(valid, y, 0.0)
        accepted = valid & (numerics.log_lower(accept) < 3.0 * d * _fourth_order_log1p(y))
        proposed = jnp.log(d) + 3.0 * jnp.log1p(y) + boost * numerics.log_lower(extra)
        return index + 1, jnp.where(accepted & ~done, proposed, log_g), done | accepted

    start = (jnp.asarray(0, jnp.uint32), jnp.full_like(d, jnp.nan), jnp.zeros(d.shape, bool))
    return jax.lax.while_loop(unfinished, propose, start)[1]


@log_standard_gamma.defjvp
def _log_standard_gamma_jvp(primals: tuple[PRNGKeyArray, Array], tangents: tuple[Any, Array]) -> tuple[Array, Array]:
    (key, shape), (_, shape_dot) = primals, tangents
    log_g = log_standard_gamma(key, shape)
    # Near 0, P(G <= x) = x^a / Gamma(a + 1): log G = (log u + log Gamma(a + 1)) / a.
    tiny = log_g < -12.0
    g = jnp.exp(jnp.where(tiny, 0.0, log_g))
    implicit = jax.lax.random_gamma_grad(shape, g) / g  # pyright: ignore[reportCallIssue]
    near_zero = (jax.scipy.special.digamma(shape + 1.0) - log_g) / shape
    return log_g, jnp.where(tiny, near_zero, implicit) * shape_dot


def _fourth_order_log1p(y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + y) - y + y^2/2 - y^3/3 = -y^4/4 + y^5/5 - ..., by the series where the difference would cancel."""
    small = jnp.abs(y) < 0.125
    w = jnp.where(small, y, 0.0)
    series = w**4 * numerics.polynomial(tuple((-1.0) ** (k + 1) / k for k in range(4, 14)), w)
    return jnp.where(small, series, jnp.log1p(y) - y * (1.0 - y * (0.5 - y * (1.0 / 3.0))))


class Gamma(IndependentCoordinates):
    """Gamma distribution, density proportional to x^(shape - 1) exp(-rate x), one coordinate per entry.

    log_prob(x) = sum_i shape_i log(rate_i x_i) - rate_i x_i - log Gamma(shape_i) - log x_i for x > 0, else -inf.

    A transport, by the inverse distribution function: one uniform per coordinate, increasing in it, with an error of
    1e-5 in float32 and 1e-10 in float64. Independent samples are drawn by rejection, which is cheaper. Draws that would
    round to 0 (tiny shapes) are the smallest normal float.

    **Arguments:** `shape` (also called concentration) > 0; `rate` = 1 / scale > 0.
    """

    shape: Float[Array, "..."] = eqx.field(converter=as_parameter)
    rate: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)
    prefers_sample_many: ClassVar[bool] = True
    limits: ClassVar[tuple[float, float]] = (0.0, np.inf)

    def __check_init__(self):
        require_positive("Gamma", "shape", self.shape)
        require_positive("Gamma", "rate", self.rate)

    def sample(self, key: PRNGKeyArray) -> Event:
        return self._draw(key, ())

    def sample_many(self, key: PRNGKeyArray, num: int) -> Float[Array, "num *event"]:
        return self._draw(key, (num,))

    def log_density(self, x: ArrayLike) -> Event:
        shape, rate = self.parameters()
        x = as_event("Gamma", x, rate)
        positive, safe = positive_part(x)
        y = keep_positive(rate * safe)
        # a log y - y - log Gamma(a) = -D(a, y) + log(a)/2 - log sqrt(2 pi) - stirling_error(a)
        constant = 0.5 * jnp.log(shape) - LOG_SQRT_2PI - stirling_error(shape)
        return jnp.where(positive, constant - deviance(shape, y) - jnp.log(safe), -jnp.inf)

    def log_cdf(self, x: ArrayLike) -> Event:
        positive, (log_below, _) = self._log_tails(x)
        return jnp.where(positive, log_below, -jnp.inf)

    def log_sf(self, x: ArrayLike) -> Event:
        positive, (_, log_above) = self._log_tails(x)
        return jnp.where(positive, log_above, 0.0)

    def quantile(self, log_lower: Event, log_upper: Event) -> Event:
        shape, rate = self.parameters()
        return keep_positive(shape / rate * jnp.exp(gamma_tails.quantile(shape, log_lower, log_upper)))

    def _log_tails(self, x: ArrayLike) -> tuple[Mask, tuple[Event, Event]]:
        shape, rate = self.parameters()
        positive, safe = positive_part(as_event("Gamma", x, rate))
        return positive, gamma_tails.log_tails(shape, log_concave.log_ratio(safe, shape / rate))

    def _draw(self, key: PRNGKeyArray, batch: tuple[int, ...]) -> Float[Array, "..."]:
        shape, rate = self.parameters()
        log_g = log_standard_gamma(key, jnp.broadcast_to(shape, (*batch, *shape.shape)))
        return keep_positive(jnp.exp(log_g - jnp.broadcast_to(jnp.log(rate), log_g.shape)))
