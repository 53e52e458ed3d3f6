"""Distributions over unit vectors (event [3]): densities per steradian, with the surface normal (0, 0, 1).

`log_prob` does not check that its argument has length 1.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions.protocol import sample_by_transport
from mcengine.numerics.values import as_parameter, concrete
from mcengine.rendering.rectangle import Rectangle

LOG_PI = float(np.log(np.pi))
LOG_TWO_PI = float(np.log(2 * np.pi))


class UniformHemisphere(eqx.Module):
    """Uniform over the directions above the plane: q = 1 / (2 pi) for z > 0. z is uniform in [0, 1] (Archimedes)."""

    @property
    def num_uniforms(self) -> int:
        return 2

    def forward(self, v: Float[Array, "2"]) -> tuple[Float[Array, "3"], Float[Array, ""]]:
        z = numerics.to_unit(v[0])
        sine = jnp.sqrt((1.0 - z) * (1.0 + z))
        return _direction(sine, v[1], z), jnp.full_like(z, -LOG_TWO_PI)

    def sample(self, key: PRNGKeyArray) -> Float[Array, "3"]:
        return sample_by_transport(self, key)

    def log_prob(self, x: Float[Array, "3"]) -> Float[Array, ""]:
        return jnp.where(x[2] > 0.0, -LOG_TWO_PI, -jnp.inf).astype(x.dtype)


class CosineHemisphere(eqx.Module):
    """Cosine-weighted: q = z / pi for z > 0. A uniform point of the unit disc, lifted onto the sphere (Malley)."""

    @property
    def num_uniforms(self) -> int:
        return 2

    def forward(self, v: Float[Array, "2"]) -> tuple[Float[Array, "3"], Float[Array, ""]]:
        # z^2 and 1 - z^2 from the two ends of the uniform, so that neither grazing nor vertical directions lose digits.
        log_z = 0.5 * numerics.log_lower(v[0])
        sine = jnp.sqrt(numerics.to_unit(-v[0]))
        return _direction(sine, v[1], jnp.sqrt(numerics.to_unit(v[0]))), log_z - LOG_PI

    def sample(self, key: PRNGKeyArray) -> Float[Array, "3"]:
        return sample_by_transport(self, key)

    def log_prob(self, x: Float[Array, "3"]) -> Float[Array, ""]:
        above = x[2] > 0.0
        return jnp.where(above, jnp.log(jnp.where(above, x[2], 1.0)) - LOG_PI, -jnp.inf)


class TowardsLamp(eqx.Module):
    """From `point` towards a uniform point of the lamp: q = distance^2 / (cosine at the lamp x area), 0 off the lamp.

    **Arguments:** `point` [3], in front of the `lamp`, a `Rectangle`.

    **Raises:** `ValueError` if the point lies in the lamp's plane or behind it.

    A sampled direction within float32 rounding of the lamp's edge (about 1e-6 of its area) may miss the lamp, both in
    `log_prob` and in the integrand.
    """

    point: Float[Array, "3"] = eqx.field(converter=as_parameter)
    lamp: Rectangle

    def __check_init__(self):
        if jnp.shape(self.point) != (3,):
            raise ValueError(f"TowardsLamp: point must have shape (3,), got {jnp.shape(self.point)}.")
        point, centre = concrete(self.point), concrete(self.lamp.centre)
        u, v = concrete(self.lamp.half_u), concrete(self.lamp.half_v)
        if point is None or centre is None or u is None or v is None:
            return
        if (point - centre) @ np.cross(u, v) <= 0:
            raise ValueError(f"TowardsLamp: point {point} sees only the back or the edge of the lamp at {centre}.")

    @property
    def num_uniforms(self) -> int:
        return 2

    def forward(self, v: Float[Array, "2"]) -> tuple[Float[Array, "3"], Float[Array, ""]]:
        # s and t are uniform in [-1, 1].
        s, t = 2.0 * numerics.to_unit(v) - 1.0
        ray = self.lamp.point(s, t) - self.point
        distance = jnp.sqrt(jnp.sum(ray * ray))
        direction = ray / distance
        cosine = -jnp.sum(direction * self.lamp.normal)
        return direction, self._log_density(distance, cosine)

    def sample(self, key: PRNGKeyArray) -> Float[Array, "3"]:
        return sample_by_transport(self, key)

    def log_prob(self, x: Float[Array, "3"]) -> Float[Array, ""]:
        hit = self.lamp.hit(self.point, x)
        return jnp.where(hit.inside, self._log_density(hit.distance, hit.cosine), -jnp.inf)

    def _log_density(self, distance: Float[Array, ""], cosine: Float[Array, ""]) -> Float[Array, ""]:
        return 2.0 * jnp.log(distance) - jnp.log(cosine) - jnp.log(self.lamp.area)


def _direction(sine: Float[Array, ""], turn: Float[Array, ""], z: Float[Array, ""]) -> Float[Array, "3"]:
    across, along = numerics.sin_cos_of_turn(turn)
    return jnp.stack([sine * along, sine * across, z])
