"""Integrals over boxes, finite and infinite."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from mcengine.distributions import Box
from mcengine.distributions.box import check_limits
from mcengine.distributions.protocol import Density
from mcengine.numerics.tracing import is_traced
from mcengine.numerics.values import as_parameter
from mcengine.problems.exact_distributions import as_exact
from mcengine.problems.protocol import Problem


@jax.custom_jvp
def _is_between(x: ArrayLike, lower: Float[Array, "..."], upper: Float[Array, "..."]) -> Bool[Array, ""]:
    return jnp.all((x >= lower) & (x <= upper))


def _is_between_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array | SymbolicZero, ...]
) -> tuple[Bool[Array, ""], SymbolicZero]:
    moving_x, *moving_limits = (not isinstance(t, SymbolicZero) for t in tangents)
    if any(moving_limits) and not moving_x:
        raise ValueError(
            "Samples of a proposal do not move with the limits of an Integral, so their derivative along a limit is 0 "
            "and a gradient would silently miss what the integrand has there. Use the pathwise form: give no proposal. "
            "Or integrate over fixed limits and change variables in the integrand."
        )
    out = _is_between(*primals)
    return out, SymbolicZero.from_primal_value(out)


_is_between.defjvp(_is_between_jvp, symbolic_zeros=True)  # pyright: ignore[reportArgumentType]


class Lebesgue(eqx.Module):
    """Volume on the box between `lower` and `upper`: log density 0 inside, -inf outside. Not a probability.

    Differentiating along a limit raises for points that do not depend on it.
    """

    lower: Float[Array, "..."] = eqx.field(converter=as_parameter)
    upper: Float[Array, "..."] = eqx.field(converter=as_parameter)

    @property
    def support(self) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        return self.lower, self.upper

    def log_prob(self, x: ArrayLike) -> Float[Array, ""]:
        return jnp.where(_is_between(x, self.lower, self.upper), 0.0, -jnp.inf)


class Integral(Problem):
    """int f(x) dx over the box between `lower` and `upper`; limits may be infinite.

    Plain Monte Carlo draws uniformly on finite sides. On infinite sides it draws from a heavy-tailed distribution,
    Student-t with 2 degrees of freedom or its half-line counterpart, with unit scale: see `mcengine.Box`.

    **Arguments:** `integrand` f of x, with the shape of the limits ([d], or [] for scalar limits); `lower` < `upper`;
    `exact`, the true value where it is known.

    **Raises:** `ValueError` for limits upside down, equal, NaN or of different shapes.
    """

    integrand: Callable[[Any], Any]
    lower: Float[Array, "..."] = eqx.field(converter=as_parameter)
    upper: Float[Array, "..."] = eqx.field(converter=as_parameter)
    exact: Any = eqx.field(converter=as_exact, default=None, kw_only=True)

    def __check_init__(self):
        check_limits("Integral", self.lower, self.upper)

    @property
    def target(self) -> Lebesgue:
        return Lebesgue(self.lower, self.upper)

    @property
    def plain(self) -> Box:
        return Box(self.lower, self.upper)


def log_volume_of(target: Density) -> float:
    """log E[1]: the logarithm of an integral's volume, inf for infinite sides; 0 for a probability distribution."""
    if not isinstance(target, Lebesgue):
        return 0.0
    return float(np.sum(np.log(np.asarray(target.upper, np.float64) - np.asarray(target.lower, np.float64))))


def volume_of(target: Density) -> float | Array:
    """E[1]: an integral's volume, inf for infinite sides; 1 for a probability distribution."""
    if not isinstance(target, Lebesgue):
        return 1.0
    if is_traced(target):
        return jnp.prod(target.upper - target.lower)
    return float(np.prod(np.asarray(target.upper, np.float64) - np.asarray(target.lower, np.float64)))
