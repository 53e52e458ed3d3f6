"""A distribution shifted and scaled."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine.distributions import triangular
from mcengine.distributions.foreign import as_distribution
from mcengine.distributions.protocol import Distribution, event_struct, is_transport, sample_many, support_of
from mcengine.distributions.univariate import Event, require_finite
from mcengine.numerics.values import Parameter, as_parameter, concrete


class Affine(eqx.Module):
    """The distribution of loc + scale Y, or of loc + factor Y for a vector Y, with Y ~ distribution.

    log_prob(x) = distribution.log_prob(y) - sum_i log |scale_i|, or minus the sum of the logarithms of the factor's
    diagonal. A transport if the distribution is one.

    **Arguments:** `distribution`, continuous, its event a single array; `loc` and `scale` (not 0, may be negative),
    scalars or of the event's shape; instead of `scale`, `factor`, [d, d], lower triangular with positive diagonal.
    """

    distribution: Distribution
    loc: Float[Array, "..."]
    scale: Float[Array, "..."] | None
    factor: Float[Array, "d d"] | None
    inverse: Float[Array, "d d"] | None

    def __init__(
        self,
        distribution: Any,
        loc: Parameter = 0.0,
        scale: Parameter | None = None,
        *,
        factor: Parameter | None = None,
    ) -> None:
        if scale is not None and factor is not None:
            raise ValueError("Affine: give either scale or factor, and not both.")
        self.distribution = as_distribution(distribution)
        self.loc = as_parameter(loc)
        self.scale = None if factor is not None else as_parameter(1.0 if scale is None else scale)
        self.factor = None if factor is None else as_parameter(factor)
        if self.factor is not None:
            triangular.check_factor("Affine", self.factor)
        self.inverse = None if self.factor is None else triangular.inverse(self.factor)

    def __check_init__(self):
        event = event_struct(self.distribution)
        if not isinstance(event, jax.ShapeDtypeStruct) or not jnp.issubdtype(event.dtype, jnp.floating):
            raise ValueError(f"Affine: the event must be one array of floats, got {event}.")
        require_finite("Affine", "loc", self.loc)
        wanted = {"loc": self.loc} if self.scale is None else {"loc": self.loc, "scale": self.scale}
        for name, value in wanted.items():
            if value.shape not in ((), event.shape):
                raise ValueError(f"Affine: {name} must be a scalar or of the event's shape {event.shape}, got {value}.")
        if self.factor is not None and event.shape != self.factor.shape[:1]:
            raise ValueError(f"Affine: an event of shape {event.shape} needs no factor of shape {self.factor.shape}.")
        known = None if self.scale is None else concrete(self.scale)
        if known is not None and not (np.all(np.isfinite(known)) and np.all(known != 0)):
            raise ValueError(f"Affine: scale must be finite and not 0, got {known}.")

    @property
    def num_uniforms(self) -> int:
        self._require_transport("num_uniforms")
        return self.distribution.num_uniforms

    @property
    def forward(self) -> Callable[[Array], tuple[Array, Array]]:
        self._require_transport("forward")
        return self._forward

    @property
    def support(self) -> tuple[Event, Event]:
        shape, dtype = event_struct(self.distribution).shape, self.loc.dtype
        sides = [
            jnp.broadcast_to(jnp.asarray(s, dtype), shape) for s in support_of(self.distribution) or (-np.inf, np.inf)
        ]
        if self.scale is None:
            return jnp.full(shape, -jnp.inf, dtype), jnp.full(shape, jnp.inf, dtype)
        ends = [self._image(side) for side in sides]
        return jnp.minimum(*ends), jnp.maximum(*ends)

    def sample(self, key: PRNGKeyArray) -> Event:
        return self._image(self.distribution.sample(key))

    def sample_many(self, key: PRNGKeyArray, num: int) -> Float[Array, "num *event"]:
        return jax.vmap(self._image)(sample_many(self.distribution, key, num))

    def log_prob(self, x: ArrayLike) -> Float[Array, ""]:
        x = jnp.asarray(x, self.loc.dtype)
        event_shape = event_struct(self.distribution).shape
        if x.shape != event_shape:
            raise ValueError(f"Affine: an event has shape {event_shape}, got x of shape {x.shape}.")
        centred = x - self.loc
        y = centred / self.scale if self.inverse is None else triangular.product(self.inverse, centred)
        return self.distribution.log_prob(y) - self._log_det(y.shape)

    def _forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Event, Float[Array, ""]]:
        y, log_q = self.distribution.forward(v)
        return self._image(y), log_q - self._log_det(y.shape)

    def _image(self, y: Event) -> Event:
        return self.loc + (y * self.scale if self.factor is None else triangular.product(self.factor, y))

    def _log_det(self, shape: tuple[int, ...]) -> Float[Array, ""]:
        if self.inverse is not None:
            return -jnp.sum(jnp.log(jnp.diagonal(self.inverse)))
        assert self.scale is not None  # one of scale and factor is there
        return jnp.sum(jnp.broadcast_to(jnp.log(jnp.abs(self.scale)), shape))

    def _require_transport(self, name: str) -> None:
        if not is_transport(self.distribution):
            family = type(self.distribution).__name__
            raise AttributeError(f"Affine has no {name}: {family} cannot be drawn through uniforms.")
