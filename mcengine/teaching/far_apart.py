"""The failure for a target and a proposal that are far apart: p = N(-1.5, 1), q = N(1.5, 1), f = tanh(2x)."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.distributions import Distribution, Normal
from mcengine.numerics.values import as_parameter
from mcengine.problems.expectation import Expectation


class Switch(eqx.Module):
    """f(x) = tanh(steepness x): nearly the sign of x."""

    steepness: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __call__(self, x: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.tanh(self.steepness * x)


def far_apart(loc: float = -1.5, scale: float = 1.0, steepness: float = 2.0) -> Expectation:
    """E[tanh(steepness X)], X ~ N(loc, scale^2), with its exact value by the trapezoidal rule.

    With q = N(1.5, 1) the few samples below 0 have nearly all the weight. At small N the estimate has the wrong sign,
    and the sample variance is far below the `predicted_variance` E_p[f^2 p/q] - mu^2, whose mass is around x = -4.5.

    **Raises:** `ValueError` for a scale or steepness that is not positive.
    """
    for name, value in (("scale", scale), ("steepness", steepness)):
        if not value > 0:
            raise ValueError(f"far_apart: {name} must be positive, got {value}.")
    exact = normal_mean(lambda x: np.tanh(steepness * x), loc, scale, width=1.0 / steepness)
    return Expectation(Switch(steepness), Normal(loc, scale), exact=exact)


def normal_mean(
    f: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]], loc: float, scale: float, width: float = 1.0
) -> float:
    """E[f(X)], X ~ N(loc, scale^2), for an analytic f that varies over lengths of `width`; float64.

    The trapezoidal rule on the whole line with step h: if the nearest singularity of f is at distance a from the real
    axis, the error is exp(-2 pi a / h). tanh(x / width) has a = pi width / 2, and h is at most width / 8.
    """
    step = min(scale, width) / 8
    x = loc + step * np.arange(-math.ceil(12 * scale / step), math.ceil(12 * scale / step) + 1)
    density = np.exp(-0.5 * ((x - loc) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
    return float(step * np.sum(f(x) * density))


def predicted_variance(
    problem: Expectation,
    proposal: Distribution | None = None,
    lower: float = -30.0,
    upper: float = 30.0,
    *,
    num_nodes: int = 6001,
) -> float:
    """Variance of one weighted sample, E_p[f^2 p/q] - mu^2 = E_q[(w f)^2] - mu^2, for scalar x, by quadrature.

    **Arguments:**

    - `problem`: its target is p and its integrand f.
    - `proposal` q: None for the target.
    - `lower`, `upper`: limits that contain the mass of p^2 f^2 / q, which for normals of unit scale is around
      2 loc_p - loc_q, on the other side of p from q.
    - `num_nodes` between them.

    **Returns:** the variance; divide it by N for the variance of an estimate. The relative error is about 1e-5 with
    densities in float32.

    **Raises:** `ValueError` if the integrand is not small at the limits: the variance is infinite, or the limits are
    too narrow.
    """
    step = (upper - lower) / (num_nodes - 1)
    x = as_parameter(np.linspace(lower, upper, num_nodes))
    log_p = jax.vmap(problem.target.log_prob)(x)
    log_q = log_p if proposal is None else jax.vmap(proposal.log_prob)(x)
    f = np.asarray(jax.vmap(problem.integrand)(x), np.float64)
    log_p_w = np.asarray(log_p, np.float64) + np.asarray(weights.log_ratio(log_p, log_q), np.float64)
    highest = np.max(log_p_w)
    terms = np.exp(log_p_w - highest) * f**2
    if not max(terms[0], terms[-1]) <= 1e-9 * np.max(terms):
        raise ValueError(
            f"predicted_variance: f^2 p^2/q is not small at the ends of [{lower}, {upper}]; the variance is "
            "infinite, or these limits are too narrow."
        )
    mean = step * float(np.sum(np.exp(np.asarray(log_p, np.float64)) * f))
    return step * float(np.sum(terms)) * math.exp(highest) - mean**2


def between(problem: Expectation, loc: float = 0.0) -> Normal:
    """A normal proposal about `loc` that is wide enough to cover the target and 0.

    scale^2 = scale_p^2 + (loc_p - loc)^2, the mean squared distance of the target's samples from `loc`.

    **Raises:** `TypeError` for a target that is not a `Normal`.
    """
    target = problem.target
    if not isinstance(target, Normal):
        raise TypeError(f"between: the target must be a Normal, not a {type(target).__name__}.")
    gap = float(target.loc) - loc
    return Normal(loc, math.sqrt(float(target.scale) ** 2 + gap**2))
