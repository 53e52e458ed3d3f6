"""The plain proposal of an integral over a box whose limits may be infinite."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import numerics
from mcengine.distributions.uniform import strictly_inside
from mcengine.distributions.univariate import (
    Event,
    IndependentCoordinates,
    Mask,
    as_event,
    log1p_square,
    uniforms_of_event,
)
from mcengine.numerics.values import Parameter, as_parameter, concrete

_LOG_2 = math.log(2.0)
_SQRT_HALF = math.sqrt(0.5)


class Box(IndependentCoordinates):
    """Independent coordinates, each on its side of the box from `lower` to `upper`:

    - finite side [a, b]: uniform;
    - (-inf, inf): Student-t with 2 degrees of freedom, x = (2u - 1) / sqrt(2u (1 - u)), density (2 + x^2)^(-3/2);
    - [a, inf): its half-line counterpart x = a + 2 ((1 - u)^(-1/2) - 1), density (1 + (x - a)/2)^(-3);
    - (-inf, b]: the mirror image of that.

    The infinite sides have unit scale. If the integrand has another scale, rescale it or give a proposal.

    **Arguments:** `lower` < `upper`, of one shape, which is the event's.

    **Raises:** `ValueError` for limits upside down, equal, NaN, of different shapes, or with nothing between.
    """

    lower: Float[Array, "..."] = eqx.field(converter=as_parameter)
    upper: Float[Array, "..."] = eqx.field(converter=as_parameter)
    # "finite" or "line" where all sides are known to be of that kind, else "mixed", which computes all formulas.
    kind: str = eqx.field(static=True)

    def __init__(self, lower: Parameter, upper: Parameter) -> None:
        self.lower = as_parameter(lower)
        self.upper = as_parameter(upper)
        self.kind = _kind_of_sides(self.lower, self.upper)

    def __check_init__(self):
        check_limits("Box", self.lower, self.upper)

    @property
    def support(self) -> tuple[Event, Event]:
        return self.lower, self.upper

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Event, Float[Array, ""]]:
        v = uniforms_of_event(v, self.lower.shape)
        x = self._from_tails(v, numerics.log_lower(v), numerics.log_upper(v), jnp.minimum(jnp.abs(v), 0.5))
        return x, jnp.sum(self._inner_density(x))

    def log_density(self, x: ArrayLike) -> Event:
        x = as_event("Box", x, self.lower)
        inside = (x >= self.lower) & (x <= self.upper)
        return jnp.where(inside, self._inner_density(jnp.clip(x, self.lower, self.upper)), -jnp.inf)

    def log_cdf(self, x: ArrayLike) -> Event:
        return self._log_tail(as_event("Box", x, self.lower), self.lower, self.upper)

    def log_sf(self, x: ArrayLike) -> Event:
        return self._log_tail(-as_event("Box", x, self.lower), -self.upper, -self.lower)

    def quantile(self, log_lower: Event, log_upper: Event) -> Event:
        lower = log_lower < log_upper
        smaller = jnp.exp(jnp.minimum(log_lower, log_upper))
        return self._from_tails(jnp.where(lower, smaller, -smaller), log_lower, log_upper, smaller)

    def _from_tails(self, v: Event, log_lower: Event, log_upper: Event, smaller: Event) -> Event:
        if self.kind == "finite":
            return strictly_inside(_from_nearer_end(v, self.lower, self.upper), self.lower, self.upper)
        line = _student_t2_quantile(v, smaller)
        if self.kind == "line":
            return line
        has_lower, has_upper, a, b = self._ends()
        half_up = a + 2.0 * jnp.expm1(-0.5 * log_upper)
        half_down = b - 2.0 * jnp.expm1(-0.5 * log_lower)
        half = jnp.where(has_lower, half_up, jnp.where(has_upper, half_down, line))
        x = jnp.where(has_lower & has_upper, _from_nearer_end(v, a, b), half)
        return strictly_inside(x, self.lower, self.upper)

    def _inner_density(self, x: Event) -> Event:
        """Each coordinate's log density at a point of the box."""
        if self.kind == "finite":
            return -jnp.log(self.upper - self.lower)
        line = -1.5 * (_LOG_2 + log1p_square(x * _SQRT_HALF))
        if self.kind == "line":
            return line
        has_lower, has_upper, a, b = self._ends()
        distance = jnp.where(has_lower, x - a, jnp.where(has_upper, b - x, 0.0))
        half = -3.0 * jnp.log1p(0.5 * distance)
        side = jnp.where(has_lower & has_upper, -jnp.log(jnp.where(has_lower & has_upper, b - a, 1.0)), half)
        return jnp.where(has_lower | has_upper, side, line)

    def _log_tail(self, x: Event, lower: Event, upper: Event) -> Event:
        """log P(X <= x) for X between `lower` and `upper`; -x with the limits swapped gives the upper tail."""
        has_lower, has_upper = jnp.isfinite(lower), jnp.isfinite(upper)
        bounded = has_lower & has_upper
        a, b = jnp.where(has_lower, lower, 0.0), jnp.where(has_upper, upper, 1.0)
        below, above = x <= lower, x >= upper
        part = jnp.where(bounded & ~below & ~above, x - a, 1.0)
        finite = jnp.log(part) - jnp.log(jnp.where(bounded, b - a, 1.0))
        # P(X > x) = (1 + (x - a)/2)^-2 on [a, inf), and its mirror image.
        survival = -2.0 * jnp.log1p(0.5 * jnp.where(has_lower & ~below, x - a, 1.0))
        half_up = jnp.log(-jnp.expm1(survival))
        half_down = -2.0 * jnp.log1p(0.5 * jnp.maximum(b - x, 0.0))
        # P(X <= x) = (1 + x / sqrt(2 + x^2)) / 2 = 1 / (r (r - x)) with r = sqrt(2 + x^2), the form for x < 0.
        root = jnp.sqrt(2.0 + jnp.minimum(jnp.abs(x), 1e9) ** 2)
        root = jnp.where(jnp.abs(x) > 1e9, jnp.abs(x), root)
        tail = -jnp.log(root) - jnp.log(root + jnp.abs(x))
        line = jnp.where(x < 0, tail, jnp.log1p(-jnp.exp(tail)))
        half = jnp.where(has_lower, half_up, jnp.where(has_upper, half_down, line))
        log_p = jnp.where(bounded, finite, half)
        return jnp.where(below, -jnp.inf, jnp.where(above, 0.0, log_p))

    def _ends(self) -> tuple[Mask, Mask, Event, Event]:
        """Which limits are finite, and limits that are harmless in the formulas of the other kinds of side."""
        has_lower, has_upper = jnp.isfinite(self.lower), jnp.isfinite(self.upper)
        return has_lower, has_upper, jnp.where(has_lower, self.lower, 0.0), jnp.where(has_upper, self.upper, 1.0)


def check_limits(family: str, lower: Array, upper: Array) -> None:
    """Raise unless the limits have one shape and, where they are concrete, lower < upper everywhere."""
    if lower.shape != upper.shape:
        raise ValueError(f"{family}: lower and upper must have the same shape, got {lower.shape} and {upper.shape}.")
    low, high = concrete(lower), concrete(upper)
    if low is None or high is None:
        return
    if np.any(np.isnan(low)) or np.any(np.isnan(high)):
        raise ValueError(f"{family}: a limit is NaN: lower={low}, upper={high}.")
    if np.any(low > high):
        raise ValueError(f"{family}: limits are upside down: lower={low} must be below upper={high}.")
    if np.any(low == high):
        raise ValueError(f"{family}: lower and upper are equal, the box is empty: lower={low}, upper={high}.")


def _kind_of_sides(lower: Array, upper: Array) -> str:
    known_lower, known_upper = concrete(lower), concrete(upper)
    if known_lower is None or known_upper is None:
        return "mixed"
    if np.all(np.isfinite(known_lower)) and np.all(np.isfinite(known_upper)):
        return "finite"
    return "line" if np.all(np.isinf(known_lower)) and np.all(np.isinf(known_upper)) else "mixed"


def _from_nearer_end(v: Event, lower: Event, upper: Event) -> Event:
    return jnp.where(v > 0, lower, upper) + (upper - lower) * v


def _student_t2_quantile(v: Event, p: Event) -> Event:
    """(2u - 1) / sqrt(2u (1 - u)) with p the smaller of u and 1 - u."""
    p = jnp.maximum(p, jnp.finfo(p.dtype).tiny)
    z = (1.0 - 2.0 * p) / jnp.sqrt(2.0 * p * (1.0 - p))
    return jnp.where(v > 0, -z, z)
