"""Independent Poisson counts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions import gamma_tails
from mcengine.distributions.choice import refusing_pathwise
from mcengine.distributions.protocol import sample_by_transport
from mcengine.distributions.special import LOG_SQRT_2PI, deviance, stirling_error
from mcengine.distributions.univariate import Event, as_event, require_positive, uniforms_of_event
from mcengine.numerics.values import as_parameter

_STEPS = 3
_ALMOST = 0.9999


class Poisson(eqx.Module):
    """Counts (int32) with the given mean, `rate` > 0, one independent coordinate per entry.

    log_prob(x) = sum_i x_i log rate_i - rate_i - log x_i! for x_i = 0, 1, 2, ..., else -inf.

    A transport, by the inverse distribution function: one uniform per coordinate, nondecreasing in it, both tails
    exact. In float32 for rates up to 1e6; beyond, floats of a probability do not resolve single counts.

    **Raises:** `ValueError` when samples are differentiated along the rate: a count has no pathwise derivative.
    """

    rate: Float[Array, "..."] = eqx.field(converter=as_parameter)

    def __check_init__(self):
        require_positive("Poisson", "rate", self.rate)

    @property
    def num_uniforms(self) -> int:
        return int(np.prod(self.rate.shape))

    @property
    def support(self) -> tuple[Int[Array, "*event"], Int[Array, "*event"]]:
        return jnp.zeros(self.rate.shape, jnp.int32), jnp.full(self.rate.shape, jnp.iinfo(jnp.int32).max, jnp.int32)

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Int[Array, "*event"], Float[Array, ""]]:
        x = count_of_uniform(self.rate, uniforms_of_event(v, self.rate.shape))
        return x, self.log_prob(x)

    def sample(self, key: PRNGKeyArray) -> Int[Array, "*event"]:
        return sample_by_transport(self, key)

    def log_prob(self, x: ArrayLike) -> Float[Array, ""]:
        """Accepts floats too: 2.0 is a count, and 2.5 has log density -inf."""
        x = as_event("Poisson", x, self.rate)
        is_count = (x >= 0) & (x == jnp.floor(x)) & jnp.isfinite(x)
        positive = is_count & (x > 0)
        n = jnp.where(positive, x, 1.0)
        # n log r - r - log n! = -D(n, r) - log sqrt(2 pi n) - stirling_error(n)
        log_p = -deviance(n, self.rate) - LOG_SQRT_2PI - 0.5 * jnp.log(n) - stirling_error(n)
        return jnp.sum(jnp.where(positive, log_p, jnp.where(is_count, -self.rate, -jnp.inf)))


@refusing_pathwise
def count_of_uniform(rate: Event, v: Event) -> Int[Array, "*event"]:
    """The smallest k with P(X <= k) >= u, for the probability u of the centred uniform v.

    Newton steps on the logarithm of the smaller tail, which is concave in k; the slope is its difference at k, and each
    result is rounded up. The answer is the only fixed point. The start is the expansion of E. A. Cornish and R. A.
    Fisher (1938), k = rate + z sqrt(rate) + (z^2 - 1) / 6. P(X <= k) is the upper tail at `rate` of
    a gamma distribution of shape k + 1.
    """
    upper = v < 0
    log_target = jnp.log(jnp.abs(v))
    z = numerics.normal_quantile(v)

    def improve(_: Array, k: Event) -> Event:
        above = k + 1.0
        t = jnp.log1p((rate - above) / above)
        log_sf, log_cdf = gamma_tails.log_tails(above, t)
        log_mass = gamma_tails.log_density_over_shape(above, t) - t
        log_tail = jnp.where(upper, log_sf, log_cdf)
        share = jnp.exp(log_mass - log_tail)
        # log P(X <= k) - log P(X <= k - 1), or log P(X > k - 1) - log P(X > k).
        fall = jnp.where(upper, jnp.log1p(share), -jnp.log1p(-jnp.where(upper, 0.0, jnp.minimum(share, _ALMOST))))
        ahead = jnp.where(upper, log_tail - log_target, log_target - log_tail) / fall
        return jnp.maximum(jnp.ceil(k + ahead), 0.0)

    start = jnp.ceil(rate + z * jnp.sqrt(rate) + (z * z - 1.0) / 6.0)
    return jax.lax.fori_loop(0, _STEPS, improve, jnp.maximum(start, 0.0)).astype(jnp.int32)
