"""What is estimated: an integrand and the measure it is integrated against.

A problem offers the engine `target` (with `log_prob`), `integrand(x)`, `plain` (the proposal of plain Monte Carlo),
`value_bound` (sup |f| where it is known) and `exact` (the true value where it is known, for tests and tables only).
Functions are static: a new lambda is a new compilation. Put parameters of an integrand into an `equinox.Module` or a
`jax.tree_util.Partial`, and a new number compiles nothing.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from mcengine.distributions import Box, Distribution, as_distribution, as_parameter


def _as_exact(value):
    # float64 always: the truth must not be rounded to the precision of what is compared with it.
    return None if value is None else jax.tree.map(lambda v: np.asarray(v, np.float64), value)


class Expectation(eqx.Module):
    """mu = E_p[f(X)] = int f(x) p(x) dx.

    **Arguments:** `integrand` f, from one sample to an array or a pytree of arrays; `target` p, a distribution of
    mcengine, numpyro, distrax, TFP or flowjax. If p is known up to a constant only, ask for a self-normalised
    `weighting`.
    """

    integrand: Callable[[Any], Any]
    target: Distribution = eqx.field(converter=as_distribution)
    exact: Any = eqx.field(converter=_as_exact, default=None, kw_only=True)

    @property
    def plain(self) -> Distribution:
        return self.target

    @property
    def value_bound(self) -> float | None:
        return None


class Lebesgue(eqx.Module):
    """Volume on the box between `lower` and `upper`: log density 0 inside, -inf outside. Not a probability."""

    lower: Float[Array, "..."] = eqx.field(converter=as_parameter)
    upper: Float[Array, "..."] = eqx.field(converter=as_parameter)

    @property
    def support(self):
        return self.lower, self.upper

    def log_prob(self, x):
        return jnp.where(jnp.all((x >= self.lower) & (x <= self.upper)), 0.0, -jnp.inf)


class Integral(eqx.Module):
    """int f(x) dx over the box between `lower` and `upper`; limits may be infinite.

    Plain Monte Carlo draws uniformly on finite sides and from a heavy-tailed law (Student-t with 2 degrees of freedom
    or its half-line counterpart, unit scale) on infinite ones: see `mcengine.Box`.

    **Arguments:** `integrand` f of x with the shape of the limits ([d], or [] for scalar limits); `lower` < `upper`.

    **Raises:** `ValueError` for limits upside down, equal, NaN or of different shapes.
    """

    integrand: Callable[[Any], Any]
    lower: Float[Array, "..."] = eqx.field(converter=as_parameter)
    upper: Float[Array, "..."] = eqx.field(converter=as_parameter)
    exact: Any = eqx.field(converter=_as_exact, default=None, kw_only=True)

    def __check_init__(self):
        Box(self.lower, self.upper)  # raises for bad limits

    @property
    def target(self) -> Lebesgue:
        return Lebesgue(self.lower, self.upper)

    @property
    def plain(self) -> Box:
        return Box(self.lower, self.upper)

    @property
    def value_bound(self) -> float | None:
        return None


@jax.custom_jvp
def _reaches(score: Float[Array, "*levels"], threshold: Float[Array, "*levels"]) -> Float[Array, "*levels"]:
    return jnp.where(score >= threshold, 1.0, 0.0).astype(jnp.result_type(score))


def _reaches_jvp(primals, tangents):
    if not all(isinstance(t, SymbolicZero) for t in tangents):
        raise ValueError(
            "The derivative of an indicator along its score or threshold is 0 almost everywhere, so a pathwise "
            "gradient of a Probability would silently be 0. Use the score form: differentiate the target's parameters "
            "with proposal=jax.lax.stop_gradient(target) (and a threshold that is not differentiated)."
        )
    out = _reaches(*primals)
    return out, SymbolicZero.from_primal_value(out) if hasattr(SymbolicZero, "from_primal_value") else jnp.zeros_like(
        out
    )


_reaches.defjvp(_reaches_jvp, symbolic_zeros=True)  # pyright: ignore[reportArgumentType]


class Probability(eqx.Module):
    """P(score(X) >= threshold) for X ~ target, the expectation of an indicator.

    NaN scores are counted as non-finite values. For a lower tail negate score and threshold.

    **Arguments:** `score`, from one sample to a scalar; `target`; `threshold`, a number or an array (one probability
    for each level, from the same samples).
    """

    score: Callable[[Any], Float[Array, ""]]
    target: Distribution = eqx.field(converter=as_distribution)
    threshold: Float[Array, "..."] = eqx.field(converter=as_parameter)
    exact: Any = eqx.field(converter=_as_exact, default=None, kw_only=True)

    def integrand(self, x):
        score = jnp.asarray(self.score(x), dtype=self.threshold.dtype)
        hit = _reaches(jnp.broadcast_to(score, self.threshold.shape), self.threshold)
        return jnp.where(jnp.isnan(score), jnp.nan, hit)

    @property
    def plain(self) -> Distribution:
        return self.target

    @property
    def value_bound(self) -> float | None:
        return 1.0

    @property
    def is_indicator(self) -> bool:
        """f is 0 or 1: the kernel need not keep it, and plain sampling has the binomial's own interval."""
        return True
