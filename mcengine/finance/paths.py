"""Paths of a diffusion by the schemes of Euler and Milstein, from given Brownian increments."""

from typing import NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mcengine.numerics.values import as_parameter

SCHEMES = ("euler", "milstein")


@runtime_checkable
class Diffusion(Protocol):
    """dS = a(S) dt + b(S) dW, per year, for a scalar S."""

    def drift(self, s: Float[Array, ""]) -> Float[Array, ""]:
        """a(S)."""
        ...

    def diffusion(self, s: Float[Array, ""]) -> Float[Array, ""]:
        """b(S)."""
        ...


class GeometricBrownian(eqx.Module):
    """dS = rate S dt + volatility S dW, per year: a `Diffusion`."""

    rate: Float[Array, ""] = eqx.field(converter=as_parameter)
    volatility: Float[Array, ""] = eqx.field(converter=as_parameter)

    def drift(self, s: Float[Array, ""]) -> Float[Array, ""]:
        """a(S)."""
        return self.rate * s

    def diffusion(self, s: Float[Array, ""]) -> Float[Array, ""]:
        """b(S)."""
        return self.volatility * s


class PathSummary(NamedTuple):
    """The final value of a path, and its time average (trapezoidal)."""

    final: Float[Array, ""]
    average: Float[Array, ""]


def summarise_path(
    model: Diffusion,
    scheme: str,
    start: Float[Array, ""],
    increments: Float[Array, " steps"],
    *,
    step_years: Float[Array, ""],
) -> PathSummary:
    """The path S_(k+1) = S_k + a h + b dW_k, for Milstein plus (1/2) b b' (dW_k^2 - h), with b' by differentiation.

    Euler's scheme has strong order 1/2, Milstein's 1; the weak order of both is 1.

    **Arguments:** `model`, the diffusion; `scheme`, one of `SCHEMES`; `start` S_0; `increments` dW_k ~ N(0, h),
    independent, [steps]; `step_years` h.

    Source: P. Kloeden and E. Platen, Numerical Solution of Stochastic Differential Equations (1992), sections 10.2 and
    10.3.
    """

    def step(
        carry: tuple[Float[Array, ""], Float[Array, ""]], dw: Float[Array, ""]
    ) -> tuple[tuple[Float[Array, ""], Float[Array, ""]], None]:
        s, total = carry
        b, slope = jax.jvp(model.diffusion, (s,), (jnp.ones_like(s),))
        after = s + model.drift(s) * step_years + b * dw
        if scheme == "milstein":
            after = after + 0.5 * b * slope * (dw * dw - step_years)
        return (after, total + 0.5 * (s + after)), None

    # A loop over the steps: sums along the path are ten times slower when batched over samples.
    (final, total), _ = lax.scan(step, (start, jnp.zeros_like(start)), increments)
    return PathSummary(final, total / increments.shape[0])
