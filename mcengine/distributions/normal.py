"""Independent normal coordinates."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import numerics
from mcengine.distributions import normal_tails
from mcengine.distributions.univariate import (
    Event,
    IndependentCoordinates,
    as_event,
    require_finite,
    require_positive,
    uniforms_of_event,
)
from mcengine.numerics.values import as_parameter

LOG_SQRT_2PI = float(0.5 * np.log(2 * np.pi))


class Normal(IndependentCoordinates):
    """N(loc, scale^2), one independent coordinate per entry of the broadcast parameters.

    log_prob(x) = sum_i -z_i^2 / 2 - log scale_i - log sqrt(2 pi),  z_i = (x_i - loc_i) / scale_i.

    **Arguments:** `loc` and `scale` (standard deviation, > 0), scalars or arrays that broadcast to the event.
    """

    loc: Float[Array, "..."] = eqx.field(converter=as_parameter, default=0.0)
    scale: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)

    def __check_init__(self):
        require_finite("Normal", "loc", self.loc)
        require_positive("Normal", "scale", self.scale)

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Event, Float[Array, ""]]:
        loc, scale = self.parameters()
        z = numerics.normal_quantile(uniforms_of_event(v, loc.shape))
        return loc + scale * z, jnp.sum(self._density_of_standardised(z))

    def log_density(self, x: ArrayLike) -> Event:
        return self._density_of_standardised(self._standardised(x))

    def log_cdf(self, x: ArrayLike) -> Event:
        return normal_tails.log_sf(-self._standardised(x))

    def log_sf(self, x: ArrayLike) -> Event:
        return normal_tails.log_sf(self._standardised(x))

    def quantile(self, log_lower: Event, log_upper: Event) -> Event:
        loc, scale = self.parameters()
        return loc + scale * normal_tails.quantile(log_lower, log_upper)

    def _standardised(self, x: ArrayLike) -> Event:
        loc, scale = self.parameters()
        # The reciprocal is computed once, instead of a division for every sample.
        return (as_event("Normal", x, loc) - loc) * (1.0 / scale)

    def _density_of_standardised(self, z: Event) -> Event:
        return -0.5 * z * z - jnp.log(jnp.broadcast_to(self.scale, z.shape)) - LOG_SQRT_2PI
