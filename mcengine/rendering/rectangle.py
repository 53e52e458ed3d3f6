"""A one-sided rectangle in space, the shape of lamps and walls."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mcengine.numerics.values import as_parameter, concrete


class Hit(NamedTuple):
    """The intersection of a ray and a rectangle.

    - `inside`: whether the ray meets the rectangle, in front of the origin and on its bright side.
    - `distance` along the ray, and `cosine` of the angle between the normal and the reversed ray: positive where
      `inside`, and 1 elsewhere, so that divisions and logs are safe.
    """

    inside: Bool[Array, ""]
    distance: Float[Array, ""]
    cosine: Float[Array, ""]


class Rectangle(eqx.Module):
    """The points centre + s half_u + t half_v with s, t in [-1, 1]; the bright side faces along half_u x half_v.

    **Arguments:** `centre`, `half_u`, `half_v`, each [3]; the half edges must be perpendicular and not zero.

    **Raises:** `ValueError` for other shapes, and for half edges that are zero or not perpendicular.
    """

    centre: Float[Array, "3"] = eqx.field(converter=as_parameter)
    half_u: Float[Array, "3"] = eqx.field(converter=as_parameter)
    half_v: Float[Array, "3"] = eqx.field(converter=as_parameter)

    def __check_init__(self):
        for name in ("centre", "half_u", "half_v"):
            if (shape := jnp.shape(getattr(self, name))) != (3,):
                raise ValueError(f"Rectangle: {name} must have shape (3,), got {shape}.")
        u, v = concrete(self.half_u), concrete(self.half_v)
        if u is None or v is None:
            return
        lengths = np.linalg.norm(u) * np.linalg.norm(v)
        if not lengths > 0:
            raise ValueError(f"Rectangle: half_u and half_v must not be zero, got {u} and {v}.")
        if abs(u @ v) > 1e-5 * lengths:
            raise ValueError(f"Rectangle: half_u and half_v must be perpendicular, got {u} and {v}.")

    @property
    def area(self) -> Float[Array, ""]:
        return 4.0 * jnp.linalg.norm(jnp.cross(self.half_u, self.half_v))

    @property
    def normal(self) -> Float[Array, "3"]:
        cross = jnp.cross(self.half_u, self.half_v)
        return cross / jnp.linalg.norm(cross)

    def point(self, s: Float[Array, ""], t: Float[Array, ""]) -> Float[Array, "3"]:
        """The point with coordinates s and t, each in [-1, 1]."""
        return self.centre + s * self.half_u + t * self.half_v

    def hit(self, origin: Float[Array, "3"], direction: Float[Array, "3"]) -> Hit:
        """The intersection with the ray origin + distance direction, `direction` a unit vector."""
        normal, to_centre = self.normal, self.centre - origin
        cosine = -_dot(direction, normal)
        height = -_dot(to_centre, normal)
        ahead = (cosine > 0.0) & (height > 0.0)
        distance = height / jnp.where(ahead, cosine, 1.0)
        offset = distance * direction - to_centre
        s = _dot(offset, self.half_u) / _dot(self.half_u, self.half_u)
        t = _dot(offset, self.half_v) / _dot(self.half_v, self.half_v)
        inside = ahead & (jnp.abs(s) <= 1.0) & (jnp.abs(t) <= 1.0)
        return Hit(inside, jnp.where(inside, distance, 1.0), jnp.where(inside, cosine, 1.0))


def _dot(a: Float[Array, "3"], b: Float[Array, "3"]) -> Float[Array, ""]:
    # Written out: a dot product may use reduced precision on a GPU, so that directions sampled towards a lamp miss it.
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
