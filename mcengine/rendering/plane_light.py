"""A diffuse plane under a square lamp: the radiance that a point of the plane reflects, with its closed form."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from mcengine.controls.controls import Controls
from mcengine.distributions import Mixture
from mcengine.numerics.values import Scalar, as_parameter
from mcengine.problems.expectation import Expectation
from mcengine.rendering.directions import CosineHemisphere, TowardsLamp, UniformHemisphere
from mcengine.rendering.rectangle import Rectangle


class ReflectedRadiance(eqx.Module):
    """f(direction) = 2 pi L_i(direction) cos(theta) albedo / pi at `point` of a plane with normal (0, 0, 1).

    The incident radiance L_i is `radiance` if the direction meets the bright side of the `lamp`, else 0. The mean of f
    over the uniform hemisphere (density 1 / (2 pi), hence the factor 2 pi) is the reflected radiance.
    """

    point: Float[Array, "3"] = eqx.field(converter=as_parameter)
    lamp: Rectangle
    albedo: Float[Array, ""] = eqx.field(converter=as_parameter)
    radiance: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __call__(self, direction: Float[Array, "3"]) -> Float[Array, ""]:
        incident = jnp.where(self.lamp.hit(self.point, direction).inside, self.radiance, 0.0)
        return 2.0 * self.albedo * incident * jnp.maximum(direction[2], 0.0)


def plane_light(
    x: Scalar = 0.0,
    y: Scalar = 0.0,
    albedo: Scalar = 0.5,
    radiance: Scalar = 100.0,
    *,
    lamp_height: Scalar = 1.0,
    lamp_half_size: Scalar = 0.1,
) -> Expectation:
    """Radiance reflected by a diffuse plane z = 0 at (x, y) under a square lamp that faces down.

    L = albedo radiance F, F the `form_factor` of the square [-h, h]^2 at height H seen from the point.
    The target is uniform over the hemisphere, so plain Monte Carlo rarely hits the lamp.

    **Arguments:** lengths in one unit, any of them traced or not: the point (`x`, `y`), H = `lamp_height`, h =
    `lamp_half_size`; `albedo` in [0, 1]; `radiance` of the lamp.

    **Returns:** an `Expectation`; its `exact` is None if an argument is traced.

    **Raises:** `ValueError` for a negative radiance, an albedo outside [0, 1], and a height or size that is not
    positive.
    """
    for name, value in (("lamp_height", lamp_height), ("lamp_half_size", lamp_half_size)):
        if not isinstance(value, Tracer) and not value > 0:
            raise ValueError(f"plane_light: {name} must be positive, got {value}.")
    for name, value, most in (("albedo", albedo, 1.0), ("radiance", radiance, np.inf)):
        if not isinstance(value, Tracer) and not 0 <= value <= most:
            raise ValueError(f"plane_light: {name} must lie in [0, {most}], got {value}.")
    half, zero = as_parameter(lamp_half_size), as_parameter(0.0)
    lamp = Rectangle(
        centre=jnp.stack([zero, zero, as_parameter(lamp_height)]),
        half_u=jnp.stack([half, zero, zero]),
        half_v=jnp.stack([zero, -half, zero]),
    )
    point = jnp.stack([as_parameter(x), as_parameter(y), zero])
    parameters = (x, y, albedo, radiance, lamp_height, lamp_half_size)
    is_traced = any(isinstance(p, Tracer) for p in parameters)  # inside jit, vmap or grad
    exact = None if is_traced else albedo * radiance * form_factor(*map(float, (x, y, lamp_height, lamp_half_size)))
    return Expectation(ReflectedRadiance(point, lamp, albedo, radiance), UniformHemisphere(), exact=exact)


def form_factor(x: float, y: float, height: float, half_size: float) -> float:
    """The fraction of the cosine-weighted hemisphere at (x, y, 0) that the square [-h, h]^2 at `height` covers.

    F = G(x2, y2) - G(x1, y2) - G(x2, y1) + G(x1, y1), x1, x2 = (-h - x) / height, (h - x) / height, y alike, and
    G(X, Y) = [X / sqrt(1 + X^2) atan(Y / sqrt(1 + X^2)) + Y / sqrt(1 + Y^2) atan(X / sqrt(1 + Y^2))] / (2 pi).

    In float64, since the four terms nearly cancel for a small lamp.

    Source: R. Siegel and J. R. Howell, "Thermal Radiation Heat Transfer" (1972), configuration factor of an element
    parallel to a rectangle, a corner on its normal.
    """

    def corner(a: float, b: float) -> float:
        p, q = np.sqrt(1 + a * a), np.sqrt(1 + b * b)
        return (a / p * np.arctan(b / p) + b / q * np.arctan(a / q)) / (2 * np.pi)

    return _over_corners(corner, x, y, height, half_size)


def solid_angle(x: float, y: float, height: float, half_size: float) -> float:
    """The solid angle in steradians of the square [-h, h]^2 at `height` seen from (x, y, 0).

    As `form_factor`, with G(X, Y) = atan(X Y / sqrt(1 + X^2 + Y^2)).
    """
    return _over_corners(lambda a, b: np.arctan(a * b / np.sqrt(1 + a * a + b * b)), x, y, height, half_size)


def _over_corners(
    corner: Callable[[float, float], float], x: float, y: float, height: float, half_size: float
) -> float:
    x1, x2, y1, y2 = ((s * half_size - c) / height for c in (x, y) for s in (-1.0, 1.0))
    return float(corner(x2, y2) - corner(x1, y2) - corner(x2, y1) + corner(x1, y1))


class LightVisibility(eqx.Module):
    """h(direction) = 1 if the direction meets the bright side of the lamp, else 0."""

    point: Float[Array, "3"] = eqx.field(converter=as_parameter)
    lamp: Rectangle

    def __call__(self, direction: Float[Array, "3"]) -> Float[Array, ""]:
        return jnp.where(self.lamp.hit(self.point, direction).inside, 1.0, 0.0)


def light_visibility(problem: Expectation, pilot: int | None = None) -> Controls:
    """The visibility of the lamp of a `plane_light` problem, 1 or 0; its mean is `solid_angle` / (2 pi).

    The integrand is the visibility times the cosine, which varies little over a small lamp.

    **Arguments:** `problem`, a `plane_light`; `pilot` as in `Controls`.

    **Raises:** `TypeError` for a problem that is not a `plane_light`.

    Fails silently with proposals whose density falls to 0 at the horizon, as the cosine distribution's does. There the
    weight p / q has infinite variance, and with it the control. k-hat does not show it, since |w f| contains the
    cosine. Use `Components` with these proposals.
    """
    scene = _scene_of(problem, "light_visibility")
    offset, half = (np.asarray(v, np.float64) for v in (scene.point - scene.lamp.centre, scene.lamp.half_u))
    mean = solid_angle(offset[0], offset[1], -offset[2], half[0]) / (2 * np.pi)
    return Controls(LightVisibility(scene.point, scene.lamp), mean, pilot)


def towards_lamp(problem: Expectation) -> TowardsLamp:
    """Directions to uniform points of the lamp of a `plane_light` problem.

    **Raises:** `TypeError` for a problem that is not a `plane_light`.
    """
    scene = _scene_of(problem, "towards_lamp")
    return TowardsLamp(scene.point, scene.lamp)


def _scene_of(problem: Expectation, name: str) -> ReflectedRadiance:
    scene = problem.integrand
    if not isinstance(scene, ReflectedRadiance):
        raise TypeError(f"{name}: the problem must be a plane_light, got an integrand {type(scene).__name__}.")
    return scene


def cosine_and_lamp(problem: Expectation, lamp_share: Scalar = 0.5) -> Mixture:
    """A mixture of cosine-weighted directions and directions to the lamp, the latter with probability `lamp_share`.

    **Raises:** `TypeError` for a problem that is not a `plane_light`.
    """
    return Mixture([CosineHemisphere(), towards_lamp(problem)], [1.0 - lamp_share, lamp_share])
