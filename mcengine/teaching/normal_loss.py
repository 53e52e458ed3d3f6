"""A normal loss: value at risk, expected shortfall and the mean loss beyond a threshold, all in closed form."""

import math

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from mcengine.distributions import Normal
from mcengine.numerics.values import Scalar, as_parameter
from mcengine.problems.exact_distributions import ExactNormal
from mcengine.problems.expectation import Expectation
from mcengine.proposals import Defensive
from mcengine.teaching.gaussian_tail import identity


class LossBeyond(eqx.Module):
    """f(x) = {"loss": x 1{x >= threshold}, "beyond": 1{x >= threshold}}; ratio of means: E[X | X >= threshold]."""

    threshold: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __call__(self, x: Float[Array, ""]) -> dict[str, Float[Array, ""]]:
        beyond = x >= self.threshold
        return {"loss": jnp.where(beyond, x, 0.0), "beyond": jnp.where(beyond, 1.0, 0.0)}


def normal_loss(loc: Scalar = -0.5, scale: Scalar = 2.0) -> Expectation:
    """E[X] of a loss X ~ N(loc, scale^2); `exact_law` is the distribution of X, with its quantiles and shortfalls.

    **Raises:** `ValueError` for a scale that is not positive.
    """
    law = ExactNormal(loc, scale) if _are_known("normal_loss", scale, loc) else None
    return Expectation(identity, Normal(loc, scale), exact=None if law is None else loc, exact_law=law)


def loss_beyond(threshold: Scalar = 3.0, loc: Scalar = -0.5, scale: Scalar = 2.0) -> Expectation:
    """E[X 1{X >= threshold}] and P(X >= threshold), X ~ N(loc, scale^2); their ratio is E[X | X >= threshold].

    The exact values are P = Phi(-z), z = (threshold - loc) / scale, and E[X 1{X >= threshold}] = loc P + scale phi(z).

    **Raises:** `ValueError` for a scale that is not positive.
    """
    exact = None
    if _are_known("loss_beyond", scale, loc, threshold):
        z = (threshold - loc) / scale
        beyond = 0.5 * math.erfc(z / math.sqrt(2))
        density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        exact = {"loss": loc * beyond + scale * density, "beyond": beyond}
    return Expectation(LossBeyond(threshold), Normal(loc, scale), exact=exact)


def _are_known(name: str, scale: Scalar, *others: Scalar) -> bool:
    """Whether none of the values is traced, as inside jit, vmap and grad: then there are exact values."""
    if not isinstance(scale, Tracer) and not scale > 0:
        raise ValueError(f"{name}: scale must be positive, got {scale}.")
    return not any(isinstance(value, Tracer) for value in (scale, *others))


def beyond_quantile(problem: Expectation, level: Scalar = 0.99, defensive_share: Scalar = 0.0) -> Normal | Defensive:
    """The distribution of the loss moved to its own quantile at `level`, mixed with the target if a share is given.

    **Arguments:** `problem`, a `normal_loss` or `loss_beyond`; `level` in (0, 1); `defensive_share`, the probability of
    drawing from the target.

    **Raises:** `TypeError` for a target that is not a `Normal`; `ValueError` for a level outside (0, 1).
    """
    target = problem.target
    if not isinstance(target, Normal):
        raise TypeError(f"beyond_quantile: the loss must be Normal, not {type(target).__name__}.")
    if not 0.0 < level < 1.0:
        raise ValueError(f"beyond_quantile: level must lie strictly between 0 and 1, got {level}.")
    moved = Normal(ExactNormal(target.loc, target.scale).quantile(level), target.scale)
    return Defensive(target, moved, defensive_share) if defensive_share else moved
