"""Paths of a diffusion by the schemes of Euler and of Milstein, from given Brownian increments."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mcengine.numerics.values import as_parameter

SCHEMES = ("euler", "milstein")


class GeometricBrownian(eqx.Module):
    """dS = rate S dt + volatility S dW, per year. A diffusion is any object with these two methods."""

    rate: Float[Array, ""] = eqx.field(converter=as_parameter)
    volatility: Float[Array, ""] = eqx.field(converter=as_parameter)

    def drift(self, s: Float[Array, ""]) -> Float[Array, ""]:
        """a(S)."""
        return self.rate * s

    def diffusion(self, s: Float[Array, ""]) -> Float[Array, ""]:
        """b(S)."""
        return self.volatility * s


class PathSummary(NamedTuple):
    """Where a path ends, and its time average (trapezoidal)."""

    final: Float[Array, ""]
    average: Float[Array, ""]


def summarise_path(
    model: Any, scheme: str, start: Float[Array, ""], step_years: Float[Array, ""], increments: Float[Array, " steps"]
) -> PathSummary:
    """The path S_(k+1) = S_k + a h + b dW_k, for Milstein plus (1/2) b b' (dW_k^2 - h), with b' by differentiation.

    Strong order 1/2 and 1, weak order 1 (P. Kloeden and E. Platen, Numerical Solution of Stochastic Differential
    Equations, 1992, sections 10.2 and 10.3).

    **Arguments:** `increments` dW_k ~ N(0, h), independent; `step_years` h; one of `SCHEMES`.
    """

    def step(carry, dw):
        s, total = carry
        b, slope = jax.jvp(model.diffusion, (s,), (jnp.ones_like(s),))
        after = s + model.drift(s) * step_years + b * dw
        if scheme == "milstein":
            after = after + 0.5 * b * slope * (dw * dw - step_years)
        return (after, total + 0.5 * (s + after)), None

    # A loop, not sums along the path: those of many samples at once are ten times as slow.
    (final, total), _ = lax.scan(step, (start, jnp.zeros_like(start)), increments)
    return PathSummary(final, total / increments.shape[0])
