"""Independent Student-t coordinates, drawn by Bailey's polar form: no rejection, both tails exact."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import numerics
from mcengine.distributions import beta_tails, log_concave
from mcengine.distributions.special import log_gamma_half_step
from mcengine.distributions.univariate import (
    Event,
    IndependentCoordinates,
    as_event,
    log1p_square,
    require_finite,
    require_positive,
)
from mcengine.numerics.values import as_parameter

# sin(pi s) / s as a polynomial in s^2 for |s| <= 1/2: relative error 5e-9, by Lawson's reweighted least squares.
_SIN_PI = (3.1415926369, -5.1677096848, 2.5500697263, -0.5982421264, 0.0775603869)

_LOG_2 = float(np.log(2.0))


def _sin_pi(s: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    if s.dtype == jnp.float64:
        return jnp.sin(np.pi * s)
    return s * numerics.polynomial(_SIN_PI, s * s)


class StudentT(IndependentCoordinates):
    """t with `df` degrees of freedom, `loc` and `scale`, one independent coordinate per entry of the parameters.

    log_prob(x) = sum_i log c(df_i) - log scale_i - (df_i + 1)/2 log(1 + z_i^2 / df_i),  z_i = (x_i - loc_i) / scale_i,
    with c(df) = Gamma((df + 1)/2) / (Gamma(df/2) sqrt(pi df)).

    Drawn from two uniforms per coordinate (the first half of v are radii, the second half angles) as
    t = sqrt(df (u_1^(-2/df) - 1)) sin(pi (u_2 - 1/2)), the polar form of R. W. Bailey, Math. Comp. 62 (1994), 779-781,
    on the half circle, so that t increases with u_2 and changes sign with u_2 -> 1 - u_2. The `scale` is not the
    standard deviation, which is scale sqrt(df / (df - 2)) for df > 2. `Truncated` takes one uniform per coordinate
    instead, through the inverse distribution function.
    """

    df: Float[Array, "..."] = eqx.field(converter=as_parameter)
    loc: Float[Array, "..."] = eqx.field(converter=as_parameter, default=0.0)
    scale: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)

    def __check_init__(self):
        require_positive("StudentT", "df", self.df)
        require_finite("StudentT", "loc", self.loc)
        require_positive("StudentT", "scale", self.scale)

    @property
    def num_uniforms(self) -> int:
        return 2 * super().num_uniforms

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Event, Float[Array, ""]]:
        df, loc, scale = self.parameters()
        radial, angular = jnp.reshape(v, (2, *df.shape))
        # u^(-2/df) - 1 = e (e + 2) with e = u^(-1/df) - 1: no cancellation near u = 1, and the square root of each
        # factor is finite wherever the radius is.
        excess = jnp.expm1(-numerics.log_lower(radial) / df)
        cosine = _sin_pi(jnp.where(angular > 0, angular - 0.5, angular + 0.5))
        z = jnp.sqrt(excess) * jnp.sqrt(excess + 2.0) * cosine * jnp.sqrt(df)
        return loc + scale * z, jnp.sum(self._density_of_standardised(z))

    def log_density(self, x: ArrayLike) -> Event:
        return self._density_of_standardised(self._standardised(x))

    def log_cdf(self, x: ArrayLike) -> Event:
        return _log_sf(self.parameters()[0], -self._standardised(x))

    def log_sf(self, x: ArrayLike) -> Event:
        return _log_sf(self.parameters()[0], self._standardised(x))

    def quantile(self, log_lower: Event, log_upper: Event) -> Event:
        df, loc, scale = self.parameters()
        log_both = jnp.minimum(log_lower, log_upper) + _LOG_2
        t = beta_tails.quantile(0.5 * df, jnp.full_like(df, 0.5), log_both, log_concave.complement(log_both))
        sign = jnp.where(log_lower < log_upper, -1.0, 1.0).astype(df.dtype)
        return loc + scale * sign * jnp.exp(-0.5 * t)

    def _standardised(self, x: ArrayLike) -> Event:
        _, loc, scale = self.parameters()
        return (as_event("StudentT", x, loc) - loc) / scale

    def _density_of_standardised(self, z: Event) -> Event:
        df, _, scale = self.parameters()
        return _standard_log_density(df, z) - jnp.log(scale)


def _standard_log_density(df: Event, z: Event) -> Event:
    log_norm = log_gamma_half_step(0.5 * df) - 0.5 * jnp.log(np.pi * df)
    return log_norm - 0.5 * (df + 1.0) * log1p_square(z / jnp.sqrt(df))


@jax.custom_jvp
def _log_sf(df: Event, z: Event) -> Event:
    """log P(T > z): half the probability that df / (df + T^2) ~ Beta(df / 2, 1 / 2) is below df / (df + z^2)."""
    size = jnp.maximum(jnp.abs(z), 1e-18)
    # The odds of that are df / z^2, and those of the beta distribution are df.
    log_both, _ = beta_tails.log_tails(0.5 * df, jnp.full_like(df, 0.5), -2.0 * jnp.log(size))
    log_half = log_both - _LOG_2
    return jnp.where(z > 0, log_half, jnp.log1p(-jnp.exp(log_half)))


@_log_sf.defjvp
def _log_sf_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    # Along z by the density: through the logarithm of |z| it would be lost at 0.
    (df, z), (df_dot, z_dot) = primals, tangents
    log_tail, along_df = jax.jvp(lambda df: _log_sf.fun(df, z), (df,), (df_dot,))
    return log_tail, along_df - z_dot * jnp.exp(_standard_log_density(df, z) - log_tail)
