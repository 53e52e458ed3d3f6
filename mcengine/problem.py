"""What is estimated: an integrand and the measure it is integrated against.

A problem offers the engine `target` (with `log_prob`), `integrand(x)`, `plain` (the proposal of plain Monte Carlo),
`value_bound` (sup |f| where it is known), `exact` (the true value where it is known) and `exact_law` (the law of f(X),
or of the score, where it is known: see `mcengine.laws`), the last two for tests and tables only.
Functions are static: a new lambda is a new compilation. Put parameters of an integrand into an `equinox.Module` or a
`jax.tree_util.Partial`, and a new number compiles nothing.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float

from mcengine import numerics
from mcengine.distributions import Box, Distribution, as_parameter
from mcengine.distributions.box import check_limits
from mcengine.distributions.foreign import as_density
from mcengine.distributions.univariate import concrete
from mcengine.laws import Law, as_exact


def without_answers(problem: Any) -> Any:
    """The problem without `exact` and `exact_law`: they must not reach the kernels, more numbers to carry."""
    known = {name: None for name in ("exact", "exact_law") if getattr(problem, name, None) is not None}
    return dataclasses.replace(problem, **known) if known else problem


class Expectation(eqx.Module):
    """mu = E_p[f(X)] = int f(x) p(x) dx.

    **Arguments:** `integrand` f, from one sample to an array or a pytree of arrays; `target` p, a distribution of
    mcengine, numpyro, distrax, TFP or flowjax, or an object with `log_prob` alone where there will be a proposal. If
    p is known up to a constant only, ask for a self-normalised `weighting`.
    """

    integrand: Callable[[Any], Any]
    target: Any = eqx.field(converter=as_density)
    exact: Any = eqx.field(converter=as_exact, default=None, kw_only=True)
    exact_law: Law | None = eqx.field(default=None, kw_only=True)

    @property
    def plain(self) -> Any:  # not always a `Distribution`: a density alone will do where there is a proposal
        return self.target

    @property
    def value_bound(self) -> float | None:
        return None


@jax.custom_jvp
def _is_between(x, lower: Float[Array, "..."], upper: Float[Array, "..."]) -> Bool[Array, ""]:
    return jnp.all((x >= lower) & (x <= upper))


def _is_between_jvp(primals, tangents):
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
    def support(self):
        return self.lower, self.upper

    def log_prob(self, x):
        return jnp.where(_is_between(x, self.lower, self.upper), 0.0, -jnp.inf)


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
    exact: Any = eqx.field(converter=as_exact, default=None, kw_only=True)

    def __check_init__(self):
        check_limits("Integral", self.lower, self.upper)

    @property
    def target(self) -> Lebesgue:
        return Lebesgue(self.lower, self.upper)

    @property
    def plain(self) -> Box:
        return Box(self.lower, self.upper)

    @property
    def value_bound(self) -> float | None:
        return None


def _is_reached(score: Float[Array, "*levels"], threshold: Float[Array, "*levels"]) -> Float[Array, "*levels"]:
    return jnp.where(score >= threshold, 1.0, 0.0).astype(jnp.result_type(score))


_reaches = numerics.refuse_derivative(
    _is_reached,
    "The derivative of an indicator along its score or threshold is 0 almost everywhere, so a pathwise gradient of a "
    "Probability would silently be 0. Use the score form: differentiate the target's parameters with "
    "proposal=jax.lax.stop_gradient(target) (and a threshold that is not differentiated).",
)


class Probability(eqx.Module):
    """P(score(X) >= threshold) for X ~ target, the expectation of an indicator.

    NaN scores are counted as non-finite values. For a lower tail negate score and threshold.

    **Arguments:** `score`, from one sample to a scalar; `target`, as in `Expectation`; `threshold`, a number or an
    array (one probability for each level, from the same samples), infinite at most.

    **Raises:** `ValueError` for a threshold that is NaN, and for a score that does not fit the threshold's shape.
    """

    score: Callable[[Any], Float[Array, ""]]
    target: Any = eqx.field(converter=as_density)
    threshold: Float[Array, "..."] = eqx.field(converter=as_parameter)
    exact: Any = eqx.field(converter=as_exact, default=None, kw_only=True)
    exact_law: Law | None = eqx.field(default=None, kw_only=True)

    def __check_init__(self):
        threshold = concrete(self.threshold)
        if threshold is not None and np.any(np.isnan(threshold)):
            raise ValueError(f"Probability: the threshold is NaN, which no score reaches: threshold={threshold}.")

    def integrand(self, x):
        score = jnp.asarray(self.score(x), dtype=self.threshold.dtype)
        if score.shape not in ((), self.threshold.shape):
            raise ValueError(
                f"Probability: the score of one sample must be a scalar, or of the threshold's shape "
                f"{self.threshold.shape}, got shape {score.shape}."
            )
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
