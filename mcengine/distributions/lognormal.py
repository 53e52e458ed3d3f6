"""Independent lognormal coordinates."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import numerics
from mcengine.distributions.normal import Normal
from mcengine.distributions.univariate import (
    Event,
    IndependentCoordinates,
    Mask,
    as_event,
    keep_positive,
    positive_part,
    require_finite,
    require_positive,
    uniforms_of_event,
)
from mcengine.numerics.values import as_parameter


class LogNormal(IndependentCoordinates):
    """exp(Z) with Z ~ N(loc, scale^2), one independent coordinate per entry of the broadcast parameters.

    log_prob(x) = sum_i log N(log x_i; loc_i, scale_i) - log x_i for x > 0, else -inf.

    **Arguments:** `loc` and `scale` > 0, mean and standard deviation of log x.
    """

    loc: Float[Array, "..."] = eqx.field(converter=as_parameter, default=0.0)
    scale: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)
    limits: ClassVar[tuple[float, float]] = (0.0, np.inf)

    def __check_init__(self):
        require_finite("LogNormal", "loc", self.loc)
        require_positive("LogNormal", "scale", self.scale)

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Event, Float[Array, ""]]:
        loc, scale = self.parameters()
        x = keep_positive(jnp.exp(loc + scale * numerics.normal_quantile(uniforms_of_event(v, loc.shape))))
        return x, self.log_prob(x)

    def log_density(self, x: ArrayLike) -> Event:
        positive, log_x = self._log(x)
        return jnp.where(positive, self._normal.log_density(log_x) - log_x, -jnp.inf)

    def log_cdf(self, x: ArrayLike) -> Event:
        positive, log_x = self._log(x)
        return jnp.where(positive, self._normal.log_cdf(log_x), -jnp.inf)

    def log_sf(self, x: ArrayLike) -> Event:
        positive, log_x = self._log(x)
        return jnp.where(positive, self._normal.log_sf(log_x), 0.0)

    def quantile(self, log_lower: Event, log_upper: Event) -> Event:
        return keep_positive(jnp.exp(self._normal.quantile(log_lower, log_upper)))

    @property
    def _normal(self) -> Normal:
        return Normal(*self.parameters())

    def _log(self, x: ArrayLike) -> tuple[Mask, Event]:
        x = as_event("LogNormal", x, self.parameters()[0])
        positive, safe = positive_part(x)
        return positive, jnp.log(safe)
