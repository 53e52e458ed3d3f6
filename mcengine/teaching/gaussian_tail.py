"""The tail of a normal distribution, the smallest rare event, and the proposals that textbooks use for it."""

import math

import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from mcengine import proposals
from mcengine.distributions import Distribution, Normal
from mcengine.numerics.values import Scalar, concrete
from mcengine.problems.exact_distributions import ExactNormal
from mcengine.problems.probability import Probability


def identity(x: Float[Array, ""]) -> Float[Array, ""]:
    """x itself, as a score or an integrand."""
    return x


def gaussian_tail(threshold: Scalar = 5.0, loc: Scalar = 0.0, scale: Scalar = 1.0) -> Probability:
    """P(X >= threshold), X ~ N(loc, scale^2). The exact value is erfc(z / sqrt 2)/2 with z = (threshold - loc)/scale.

    **Arguments:** any of them may be traced; the problem then has no exact value and no exact distribution.

    **Raises:** `ValueError` for a scale that is not positive.
    """
    if not isinstance(scale, Tracer) and not scale > 0:
        raise ValueError(f"gaussian_tail: scale must be positive, got {scale}.")
    exact = law = None
    if not any(isinstance(value, Tracer) for value in (threshold, loc, scale)):
        exact, law = 0.5 * math.erfc((threshold - loc) / scale / math.sqrt(2)), ExactNormal(loc, scale)
    return Probability(identity, Normal(loc, scale), threshold, exact=exact, exact_law=law)


def shifted(problem: Probability, loc: Scalar | None = None) -> Normal:
    """The target moved to `loc`, by default to the threshold, where half of the samples are hits."""
    return Normal(problem.threshold if loc is None else loc, _normal(problem).scale)


def wider(problem: Probability, scale: Scalar | None = None) -> Normal:
    """The target with a larger scale, by default the distance to the threshold.

    The default is the best one far out: the second moment beyond z behaves like s exp(-z^2 + z^2/(2 s^2)), with its
    minimum at s = z. The gain is less than that of a shift, since half of the samples go to the other side.
    """
    target = _normal(problem)
    distance = jnp.abs(problem.threshold - target.loc)
    return Normal(target.loc, jnp.maximum(distance, target.scale) if scale is None else scale)


def tilted(problem: Probability, tilt: Scalar | None = None) -> Distribution:
    """The exponentially tilted target, p(x) exp(tilt x) normalised, by default with `best_tilt`."""
    return proposals.tilted(problem.target, best_tilt(problem) if tilt is None else tilt)


def defensive(problem: Probability, share: Scalar = 0.1) -> proposals.Defensive:
    """The mixture of the target, with probability `share`, and the shifted target: weights are at most 1/share."""
    return proposals.Defensive(problem.target, shifted(problem), share)


def best_tilt(problem: Probability) -> float:
    """The tilt t of exp(t x) p(x) with the least second moment.

    With z the threshold in scales, E_q[(w f)^2] = exp(t^2) P(Z >= z + t). The derivative is 0 if 2 t equals the hazard
    of the normal distribution at z + t; a fixed-point iteration finds it.

    **Raises:** `TypeError` for a target that is not a `Normal`, and inside jit, vmap and grad if the problem is traced.
    """
    target = _normal(problem)
    if any(concrete(value) is None for value in (problem.threshold, target.loc, target.scale)):
        raise TypeError(
            "best_tilt: it is found in float64 outside jit, vmap and grad, and the problem was built or passed inside: "
            "give the tilt, as in tilted(problem, tilt); (threshold - loc) / scale**2 is close to the best."
        )
    scale = float(target.scale)
    z = (float(problem.threshold) - float(target.loc)) / scale
    t = max(z, 0.5)
    for _ in range(60):
        t = 0.5 * _hazard(z + t)
    return t / scale


def _normal(problem: Probability) -> Normal:
    if not isinstance(problem.target, Normal):
        raise TypeError(f"This proposal is for a Normal target, not for {type(problem.target).__name__}.")
    return problem.target


def _hazard(x: float) -> float:
    """phi(x) / P(Z >= x); by its asymptotic series above 25, where erfc underflows."""
    if x > 25:
        return x + 1 / x - 2 / x**3
    return math.exp(-0.5 * x * x) / (math.sqrt(2 * math.pi) * 0.5 * math.erfc(x / math.sqrt(2)))
