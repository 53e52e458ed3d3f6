"""Independent uniform coordinates."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine.distributions.protocol import sample_by_transport
from mcengine.distributions.univariate import (
    as_event,
    broadcast_parameters,
    event_shape,
    require_finite,
    uniforms_of_event,
)
from mcengine.numerics.values import as_parameter, concrete


class Uniform(eqx.Module):
    """U[lower, upper], one independent coordinate per entry of the broadcast parameters.

    log_prob(x) = -sum_i log(upper_i - lower_i) where every lower_i <= x_i <= upper_i, else -inf.

    **Raises:** `ValueError` unless `lower < upper`, both finite.
    """

    lower: Float[Array, "..."] = eqx.field(converter=as_parameter, default=0.0)
    upper: Float[Array, "..."] = eqx.field(converter=as_parameter, default=1.0)

    def __check_init__(self):
        event_shape(self.lower, self.upper)
        require_finite("Uniform", "lower", self.lower)
        require_finite("Uniform", "upper", self.upper)
        lower, upper = concrete(self.lower), concrete(self.upper)
        if lower is not None and upper is not None and not np.all(lower < upper):
            raise ValueError(f"Uniform: lower must be below upper, got lower={lower} and upper={upper}.")

    @property
    def num_uniforms(self) -> int:
        return int(np.prod(event_shape(self.lower, self.upper)))

    @property
    def support(self):
        return tuple(broadcast_parameters(self.lower, self.upper))

    def forward(self, v: Float[Array, " num_uniforms"]):
        lower, upper = broadcast_parameters(self.lower, self.upper)
        v = uniforms_of_event(v, lower.shape)
        # Counted from the nearer end, so that both ends are resolved alike.
        x = strictly_inside(jnp.where(v > 0, lower, upper) + (upper - lower) * v, lower, upper)
        return x, -jnp.sum(jnp.log(upper - lower))

    def sample(self, key: PRNGKeyArray):
        return sample_by_transport(self, key)

    def log_prob(self, x) -> Float[Array, ""]:
        return jnp.sum(self.log_density(x))

    def log_density(self, x) -> Float[Array, "*event"]:
        """The log density of each coordinate."""
        lower, upper = broadcast_parameters(self.lower, self.upper)
        x = as_event("Uniform", x, lower)
        return jnp.where((x >= lower) & (x <= upper), -jnp.log(upper - lower), -jnp.inf)

    def log_cdf(self, x) -> Float[Array, "*event"]:
        """log P(X_i <= x_i) for each coordinate."""
        lower, upper = broadcast_parameters(self.lower, self.upper)
        return _log_fraction(as_event("Uniform", x, lower) - lower, upper - lower)

    def log_sf(self, x) -> Float[Array, "*event"]:
        """log P(X_i > x_i) for each coordinate."""
        lower, upper = broadcast_parameters(self.lower, self.upper)
        return _log_fraction(upper - as_event("Uniform", x, lower), upper - lower)

    def quantile(self, log_lower, log_upper) -> Float[Array, "*event"]:
        """The point with log P(X_i <= x_i) = log_lower and log P(X_i > x_i) = log_upper; the smaller one decides."""
        lower, upper = broadcast_parameters(self.lower, self.upper)
        width = upper - lower
        x = jnp.where(log_lower < log_upper, lower + width * jnp.exp(log_lower), upper - width * jnp.exp(log_upper))
        return strictly_inside(x, lower, upper)


@jax.custom_jvp
def strictly_inside(x: Array, lower: Array, upper: Array) -> Array:
    """x moved off the limits, where rounding may put it and an integrand may be infinite; its gradient is that of x."""
    tiny = jnp.finfo(x.dtype).tiny
    # What is next to 0 is flushed to 0.
    least = jnp.where(lower == 0, tiny, jnp.nextafter(lower, upper))
    most = jnp.where(upper == 0, -tiny, jnp.nextafter(upper, lower))
    return jnp.clip(x, least, most)


# nextafter has no derivative, and a clipped sample still moves with the limits.
strictly_inside.defjvps(lambda x_dot, *_: x_dot, None, None)


def _log_fraction(part, whole):
    inside = part > 0
    return jnp.where(inside, jnp.minimum(jnp.log(jnp.where(inside, part, whole)) - jnp.log(whole), 0.0), -jnp.inf)
