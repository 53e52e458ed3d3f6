"""A normal loss: value at risk, expected shortfall and the mean beyond a threshold, all in closed form."""

import math

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from mcengine.distributions import Distribution, Normal
from mcengine.numerics.values import as_parameter
from mcengine.problems.exact_distributions import NormalLaw
from mcengine.problems.expectation import Expectation
from mcengine.proposals import Defensive
from mcengine.teaching.gaussian_tail import identity


class LossBeyond(eqx.Module):
    """f(x) = {"loss": x 1{x >= threshold}, "beyond": 1{x >= threshold}}: their means' ratio is the mean loss beyond."""

    threshold: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __call__(self, x: Float[Array, ""]) -> dict[str, Float[Array, ""]]:
        beyond = x >= self.threshold
        return {"loss": jnp.where(beyond, x, 0.0), "beyond": jnp.where(beyond, 1.0, 0.0)}


def normal_loss(loc=-0.5, scale=2.0) -> Expectation:
    """E[X], X ~ N(loc, scale^2) a loss; `exact_law` is that of X, so its quantiles and shortfalls are known too.

    **Raises:** `ValueError` for a scale that is not positive.
    """
    law = NormalLaw(loc, scale) if _are_numbers("normal_loss", scale, loc) else None
    return Expectation(identity, Normal(loc, scale), exact=None if law is None else loc, exact_law=law)


def loss_beyond(threshold=3.0, loc=-0.5, scale=2.0) -> Expectation:
    """E[X 1{X >= threshold}] and P(X >= threshold), X ~ N(loc, scale^2); their ratio is E[X | X >= threshold].

    Exactly P = Phi(-z), z = (threshold - loc) / scale, and E[X 1{X >= threshold}] = loc P + scale phi(z).

    **Raises:** `ValueError` for a scale that is not positive.
    """
    exact = None
    if _are_numbers("loss_beyond", scale, loc, threshold):
        z = (threshold - loc) / scale
        beyond = 0.5 * math.erfc(z / math.sqrt(2))
        density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        exact = {"loss": loc * beyond + scale * density, "beyond": beyond}
    return Expectation(LossBeyond(threshold), Normal(loc, scale), exact=exact)


def _are_numbers(name: str, scale, *others) -> bool:
    """Whether none is traced, so that the answers are known: not inside jit, vmap or grad."""
    if not isinstance(scale, Tracer) and not scale > 0:
        raise ValueError(f"{name}: scale must be positive, got {scale}.")
    return not any(isinstance(value, Tracer) for value in (scale, *others))


def beyond_quantile(problem: Expectation, level=0.99, defensive_share=0.0) -> Distribution:
    """The loss's law moved onto its own quantile at `level`, with a `defensive_share` of the law as it is.

    **Raises:** `ValueError` for a level outside (0, 1).
    """
    law = problem.target
    if not isinstance(law, Normal):
        raise TypeError(f"beyond_quantile: the loss must be Normal, not {type(law).__name__}.")
    if not 0.0 < level < 1.0:
        raise ValueError(f"beyond_quantile: level must lie strictly between 0 and 1, got {level}.")
    moved = Normal(NormalLaw(law.loc, law.scale).quantile(level), law.scale)
    return Defensive(law, moved, defensive_share) if defensive_share else moved
