"""The base of the families of independent coordinates, and what they share: checks of parameters, shapes, uniforms."""

import abc
import dataclasses
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions.protocol import sample_by_transport
from mcengine.numerics.values import concrete

# Values of each coordinate of an event: of parameters, samples, densities, probabilities.
Event = Float[Array, "*event"]
Mask = Bool[Array, "*event"]


class IndependentCoordinates(eqx.Module):
    """A transport with independent coordinates, one for each entry of its broadcast parameters (its dynamic fields).

    An implementation states `log_density`, `log_cdf`, `log_sf` and `quantile`, and `limits` where its support is not
    the whole line; it overrides `forward` where it has a cheaper way than the quantile.
    """

    # The ends of the support of a coordinate.
    limits: ClassVar[tuple[float, float]] = (-np.inf, np.inf)

    def __check_init__(self):
        event_shape(*self._fields())

    def parameters(self) -> list[Float[Array, "..."]]:
        """The parameters in the order of the fields, at their common shape, which is that of the event."""
        return broadcast_parameters(*self._fields())

    @property
    def num_uniforms(self) -> int:
        return int(np.prod(event_shape(*self._fields())))

    @property
    def support(self) -> tuple[Event, Event]:
        like = self.parameters()[0]
        lower, upper = self.limits
        return jnp.full_like(like, lower), jnp.full_like(like, upper)

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Float[Array, "..."], Float[Array, ""]]:
        """(x, log q(x)) from one centred uniform per coordinate."""
        v = uniforms_of_event(v, event_shape(*self._fields()))
        x = self.quantile(numerics.log_lower(v), numerics.log_upper(v))
        return x, self.log_prob(x)

    def sample(self, key: PRNGKeyArray) -> Float[Array, "..."]:
        return sample_by_transport(self, key)

    def log_prob(self, x: ArrayLike) -> Float[Array, ""]:
        """The sum of the log densities of the coordinates."""
        return jnp.sum(self.log_density(x))

    @abc.abstractmethod
    def log_density(self, x: ArrayLike) -> Event:
        """The log density of each coordinate."""

    @abc.abstractmethod
    def log_cdf(self, x: ArrayLike) -> Event:
        """log P(X_i <= x_i) for each coordinate."""

    @abc.abstractmethod
    def log_sf(self, x: ArrayLike) -> Event:
        """log P(X_i > x_i) for each coordinate."""

    @abc.abstractmethod
    def quantile(self, log_lower: Event, log_upper: Event) -> Event:
        """The point with log P(X_i <= x_i) = log_lower and log P(X_i > x_i) = log_upper; the smaller one decides."""

    def _fields(self) -> list[Float[Array, "..."]]:
        fields = (field for field in dataclasses.fields(self) if not field.metadata.get("static", False))
        return [getattr(self, field.name) for field in fields]


def event_shape(*parameters: Array) -> tuple[int, ...]:
    """The common shape of the parameters; a `ValueError` that shows them when there is none."""
    return np.broadcast_shapes(*(jnp.shape(p) for p in parameters))


def broadcast_parameters(*parameters: Array) -> list[Array]:
    """The parameters at their common shape, so that later operations promote no ranks."""
    shape = event_shape(*parameters)
    return [jnp.broadcast_to(p, shape) for p in parameters]


def require_positive(family: str, name: str, value: ArrayLike) -> None:
    """Raise where a concrete parameter is not a positive finite number."""
    known = concrete(value)
    if known is not None and not np.all((known > 0) & np.isfinite(known)):
        raise ValueError(f"{family}: {name} must be positive and finite, got {known}.")


def require_finite(family: str, name: str, value: ArrayLike) -> None:
    """Raise where a concrete parameter is NaN or infinite."""
    known = concrete(value)
    if known is not None and not np.all(np.isfinite(known)):
        raise ValueError(f"{family}: {name} must be finite, got {known}.")


def as_event(family: str, x: ArrayLike, like: Array) -> Array:
    """x as floats of the dtype and shape of `like`, a parameter already broadcast to the event."""
    x = jnp.asarray(x)
    if x.shape != like.shape:
        raise ValueError(f"{family}: an event has shape {like.shape}, got x of shape {x.shape}.")
    return x.astype(like.dtype)


def uniforms_of_event(v: Float[Array, " num"], shape: tuple[int, ...]) -> Array:
    """The vector of uniforms as an array of the event's shape."""
    return jnp.reshape(v, shape)


def keep_positive(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x clipped off 0 and infinity, which a draw may reach by rounding and where the density is 0 or infinite."""
    limits = jnp.finfo(x.dtype)
    return jnp.clip(x, limits.tiny, limits.max)


def guard(inside: Mask, x: Event, harmless: float) -> Event:
    """x where it is inside, else a point of the support: gradients need a branch that `where` discards to be finite."""
    return jnp.where(inside, x, jnp.asarray(harmless, x.dtype))


def positive_part(x: Event) -> tuple[Mask, Event]:
    """Whether x > 0, and x itself there (1 elsewhere), clipped off the subnormal numbers, which are flushed to 0."""
    positive = x > 0
    return positive, guard(positive, jnp.maximum(x, jnp.finfo(x.dtype).tiny), 1.0)


def log1p_square(y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + y^2) for any finite y: in float32 the square overflows from 1.8e19 on, which heavy tails reach."""
    large = jnp.abs(y) > 1e9
    squared = jnp.where(large, 0.0, y) ** 2
    return jnp.log1p(jnp.where(large, jnp.abs(y) - 1.0, squared)) * jnp.where(large, 2.0, 1.0).astype(y.dtype)
