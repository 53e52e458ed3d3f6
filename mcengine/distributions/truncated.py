"""A distribution of independent coordinates between two limits, accurate arbitrarily far out in a tail."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions.foreign import as_distribution, family_name
from mcengine.distributions.protocol import event_struct, missing_methods, sample_by_transport
from mcengine.distributions.univariate import Event, as_event, uniforms_of_event
from mcengine.numerics.values import as_parameter, concrete

_NEEDED = ("log_density", "log_cdf", "log_sf", "quantile")
_KNOWN = "Normal, LogNormal, StudentT, Uniform, Exponential, Gamma, Beta, Gumbel, Weibull, GeneralisedPareto, Box"
_NODES, _NODE_WEIGHTS = (tuple(a.tolist()) for a in np.polynomial.legendre.leggauss(8))


class Truncated(eqx.Module):
    """The distribution of X given lower <= X <= upper, coordinate by coordinate.

    log_prob(x) = distribution.log_prob(x) - sum_i log P(lower_i <= X_i <= upper_i) inside, else -inf.

    It computes with the logarithms of both tail probabilities, so `Truncated(Normal(), 8.0, inf)` is as accurate in
    float32 as `Truncated(Normal(), 0.0, 1.0)`.

    **Arguments:** `distribution`, a family that offers `log_density`, `log_cdf`, `log_sf` and `quantile` (Normal,
    LogNormal, StudentT, Uniform, Exponential, Gamma, Beta, Gumbel, Weibull, GeneralisedPareto, Box), or another
    library's object of such a family; `lower` < `upper`, scalars or of the event's shape, infinite for no limit.

    **Raises:** `TypeError` for another family; `ValueError` for limits upside down or with no probability between.
    """

    distribution: Any = eqx.field(converter=as_distribution)
    lower: Float[Array, "..."] = eqx.field(converter=as_parameter, default=-np.inf)
    upper: Float[Array, "..."] = eqx.field(converter=as_parameter, default=np.inf)

    def __check_init__(self):
        lacking = missing_methods(self.distribution, _NEEDED)
        if lacking:
            raise TypeError(
                f"Truncated: {family_name(self.distribution)} has no {', '.join(lacking)}; the families that can be "
                f"truncated are {_KNOWN}."
            )
        shape = event_struct(self.distribution).shape
        for name, limit in (("lower", self.lower), ("upper", self.upper)):
            if limit.shape not in ((), shape):
                raise ValueError(f"Truncated: {name} must be a scalar or of the event's shape {shape}, got {limit}.")
        lower, upper = concrete(self.lower), concrete(self.upper)
        if lower is not None and upper is not None and not np.all(lower < upper):
            raise ValueError(f"Truncated: lower must be below upper, got lower={lower} and upper={upper}.")
        # In logs no tail underflows, so the probability is 0 only between limits beyond the support.
        inner_lower, inner_upper = (concrete(side) for side in self.support)
        if inner_lower is not None and inner_upper is not None and not np.all(inner_lower < inner_upper):
            raise ValueError(
                f"Truncated: {type(self.distribution).__name__} has no probability between lower={lower} and "
                f"upper={upper}."
            )

    @property
    def num_uniforms(self) -> int:
        return int(np.prod(self._limits()[0].shape))

    @property
    def support(self) -> tuple[Event, Event]:
        lower, upper = self._limits()
        base_lower, base_upper = self.distribution.support
        return jnp.maximum(lower, base_lower), jnp.minimum(upper, base_upper)

    @property
    def log_mass(self) -> Event:
        """log P(lower_i <= X_i <= upper_i) under the distribution, for each coordinate."""
        return self._log_mass(*self._tails())

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Event, Float[Array, ""]]:
        below, above = self._tails()
        v = uniforms_of_event(v, below[0].shape)
        # The tail probabilities at the sample: F(a) (1 - u) + F(b) u and S(b) u + S(a) (1 - u).
        log_lower = _log_blend(below[0], above[0], v)
        log_upper = _log_blend(above[1], below[1], -v)
        x = jnp.clip(self.distribution.quantile(log_lower, log_upper), *self.support)
        return x, jnp.sum(self.distribution.log_density(x) - self._log_mass(below, above))

    def sample(self, key: PRNGKeyArray) -> Event:
        return sample_by_transport(self, key)

    def log_prob(self, x: ArrayLike) -> Float[Array, ""]:
        lower, upper = self._limits()
        x = as_event("Truncated", x, lower)
        inside = (x >= lower) & (x <= upper)
        log_density = self.distribution.log_density(x) - self.log_mass
        return jnp.sum(jnp.where(inside, log_density, -jnp.inf))

    def _limits(self) -> tuple[Event, Event]:
        shape = self.distribution.support[0].shape
        return jnp.broadcast_to(self.lower, shape), jnp.broadcast_to(self.upper, shape)

    def _tails(self) -> tuple[tuple[Event, Event], tuple[Event, Event]]:
        """(log F, log S) at the lower and at the upper limit. The family is not evaluated at infinity, where its
        gradient would be NaN."""
        limits = jnp.stack(self._limits())
        lower, upper = self.distribution.support
        # A point of the support, for limits that are infinite.
        inner = jnp.where(jnp.isfinite(lower), lower, jnp.where(jnp.isfinite(upper), upper, 0.0))
        finite = jnp.isfinite(limits)
        at = jnp.where(finite, limits, inner[None])
        # Both limits in one call, since every copy of these long formulas is compiled.
        log_cdf = jnp.where(finite, jax.vmap(self.distribution.log_cdf)(at), jnp.where(limits > 0, 0.0, -jnp.inf))
        log_sf = jnp.where(finite, jax.vmap(self.distribution.log_sf)(at), jnp.where(limits > 0, -jnp.inf, 0.0))
        return (log_cdf[0], log_sf[0]), (log_cdf[1], log_sf[1])

    def _log_mass(self, below: tuple[Event, Event], above: tuple[Event, Event]) -> Event:
        lower, upper = self._limits()
        # F(b) - F(a) from whichever tail changes more between the limits.
        from_cdf, from_sf = _log_ratio(below[0], above[0]), _log_ratio(above[1], below[1])
        change = jnp.minimum(from_cdf, from_sf)
        narrow = change > -0.3
        log_part = jnp.log(-jnp.expm1(jnp.where(narrow, -1.0, change)))
        wide = jnp.where(narrow, 0.0, jnp.where(from_cdf < from_sf, above[0], below[1])) + log_part
        thin = self._thin_mass(jnp.where(narrow, lower, 0.0), jnp.where(narrow, upper, 1.0))
        return jnp.where(narrow, jnp.where(change == 0, -jnp.inf, thin), wide)

    def _thin_mass(self, lower: Event, upper: Event) -> Event:
        """log of the integral of the density between close limits, where a difference of tails would cancel."""
        half, middle = 0.5 * (upper - lower), 0.5 * (upper + lower)
        nodes = jnp.asarray(_NODES, half.dtype).reshape((-1,) + (1,) * half.ndim)
        terms = jax.vmap(self.distribution.log_density)(middle[None] + half[None] * nodes)
        weights = jnp.asarray(_NODE_WEIGHTS, half.dtype).reshape(nodes.shape)
        peak = jnp.max(jnp.where(jnp.isfinite(terms), terms, -1e30), axis=0)
        total = jnp.sum(weights * jnp.exp(terms - peak[None]), axis=0)
        return peak + jnp.log(half) + jnp.log(jnp.where(total > 0, total, 1.0))


def _log_ratio(log_part: Event, log_whole: Event) -> Event:
    """log(part / whole) <= 0, and 0 where both are 0."""
    nothing = log_part == -jnp.inf
    both = nothing & (log_whole == -jnp.inf)
    difference = jnp.where(nothing, 0.0, log_part) - jnp.where(nothing, 0.0, log_whole)
    return jnp.where(both, 0.0, jnp.where(nothing, -jnp.inf, jnp.minimum(difference, 0.0)))


def _log_blend(log_small: Event, log_large: Event, v: Event) -> Event:
    """log(small (1 - u) + large u), accurate near log large = 0 and far below it."""
    ratio = _log_ratio(log_small, log_large)
    log_u, u_missing = numerics.log_lower(v), numerics.to_unit(-v)
    gap = -jnp.expm1(ratio)  # 1 - small / large
    near_large = u_missing * gap <= 0.5
    near = jnp.log1p(jnp.where(near_large, -u_missing * gap, 0.0))
    far = jnp.logaddexp(log_u, numerics.log_upper(v) + ratio)
    return log_large + jnp.where(near_large, near, far)
