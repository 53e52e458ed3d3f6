"""The area under a curve with one narrow peak on a low floor."""

import math

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from mcengine.numerics.values import Scalar, as_parameter
from mcengine.problems.integral import Integral


class PeakedCurve(eqx.Module):
    """f(x) = exp(-sharpness (x - peak)^2) + floor, for scalar x."""

    sharpness: Float[Array, ""] = eqx.field(converter=as_parameter)
    peak: Float[Array, ""] = eqx.field(converter=as_parameter)
    floor: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __call__(self, x: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.exp(-self.sharpness * (x - self.peak) ** 2) + self.floor

    @property
    def centre(self) -> Float[Array, ""]:
        return self.peak

    @property
    def spread(self) -> Float[Array, ""]:
        """Standard deviation of the normal distribution with the shape of the peak."""
        return 1.0 / jnp.sqrt(2.0 * self.sharpness)


def peaked_curve(sharpness: Scalar = 50.0, peak: Scalar = 0.7, floor: Scalar = 0.1) -> Integral:
    """int_0^1 exp(-sharpness (x - peak)^2) + floor dx = `peaked_curve_area`.

    **Arguments:** any of them may be traced; the problem then has no exact value.

    **Raises:** `ValueError` unless sharpness > 0 and peak and floor are finite.
    """
    parameters = {"sharpness": sharpness, "peak": peak, "floor": floor}
    is_known = not any(isinstance(value, Tracer) for value in parameters.values())  # traced in jit, vmap and grad
    if is_known:
        for name, value in parameters.items():
            if not math.isfinite(value):
                raise ValueError(f"peaked_curve: {name} must be finite, got {value}.")
        if not sharpness > 0:
            raise ValueError(f"peaked_curve: sharpness must be positive, got {sharpness}.")
    exact = peaked_curve_area(*map(float, parameters.values())) if is_known else None
    return Integral(PeakedCurve(**parameters), 0.0, 1.0, exact=exact)


def peaked_curve_area(sharpness: float, peak: float, floor: float) -> float:
    """sqrt(pi / sharpness) / 2 [erf(root (1 - peak)) + erf(root peak)] + floor, with root = sqrt(sharpness)."""
    root = math.sqrt(sharpness)
    return math.sqrt(math.pi) / (2 * root) * (math.erf(root * (1 - peak)) + math.erf(root * peak)) + floor
