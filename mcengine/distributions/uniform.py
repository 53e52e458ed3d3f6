"""Independent uniform coordinates."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine.distributions.univariate import Event, IndependentCoordinates, as_event, require_finite, uniforms_of_event
from mcengine.numerics.values import as_parameter, concrete


class Uniform(IndependentCoordinates):
    """U[lower, upper], one independent coordinate per entry of the broadcast parameters.

    log_prob(x) = -sum_i log(upper_i - lower_i) where every lower_i <= x_i <= upper_i, else -inf.

    **Raises:** `ValueError` unless `lower < upper`, both finite.
    """

    lower: Float[Array, "..."] = eqx.field(converter=as_parameter, default=0.0)
    upper: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)

    def __check_init__(self):
        require_finite("Uniform", "lower", self.lower)
        require_finite("Uniform", "upper", self.upper)
        lower, upper = concrete(self.lower), concrete(self.upper)
        if lower is not None and upper is not None and not np.all(lower < upper):
            raise ValueError(f"Uniform: lower must be below upper, got lower={lower} and upper={upper}.")

    @property
    def support(self) -> tuple[Event, Event]:
        lower, upper = self.parameters()
        return lower, upper

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Event, Float[Array, ""]]:
        lower, upper = self.parameters()
        v = uniforms_of_event(v, lower.shape)
        # Counted from the nearer end, so that both ends are resolved alike.
        x = strictly_inside(jnp.where(v > 0, lower, upper) + (upper - lower) * v, lower, upper)
        return x, -jnp.sum(jnp.log(upper - lower))

    def log_density(self, x: ArrayLike) -> Event:
        lower, upper = self.parameters()
        x = as_event("Uniform", x, lower)
        return jnp.where((x >= lower) & (x <= upper), -jnp.log(upper - lower), -jnp.inf)

    def log_cdf(self, x: ArrayLike) -> Event:
        lower, upper = self.parameters()
        return _log_fraction(as_event("Uniform", x, lower) - lower, upper - lower)

    def log_sf(self, x: ArrayLike) -> Event:
        lower, upper = self.parameters()
        return _log_fraction(upper - as_event("Uniform", x, lower), upper - lower)

    def quantile(self, log_lower: Event, log_upper: Event) -> Event:
        lower, upper = self.parameters()
        width = upper - lower
        x = jnp.where(log_lower < log_upper, lower + width * jnp.exp(log_lower), upper - width * jnp.exp(log_upper))
        return strictly_inside(x, lower, upper)


@jax.custom_jvp
def strictly_inside(x: Array, lower: Array, upper: Array) -> Array:
    """x clipped off the limits, which it reaches by rounding and where an integrand may be infinite; gradient 1."""
    tiny = jnp.finfo(x.dtype).tiny
    # The number next to 0 is subnormal and would be flushed to 0.
    least = jnp.where(lower == 0, tiny, jnp.nextafter(lower, upper))
    most = jnp.where(upper == 0, -tiny, jnp.nextafter(upper, lower))
    return jnp.clip(x, least, most)


# nextafter has no derivative, and a clipped sample still moves with the limits.
strictly_inside.defjvps(lambda x_dot, *_: x_dot, None, None)


def _log_fraction(part: Event, whole: Event) -> Event:
    inside = part > 0
    return jnp.where(inside, jnp.minimum(jnp.log(jnp.where(inside, part, whole)) - jnp.log(whole), 0.0), -jnp.inf)
