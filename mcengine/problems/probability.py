"""Probabilities that a score reaches a threshold."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine import numerics
from mcengine.distributions.foreign import as_density
from mcengine.distributions.protocol import Density
from mcengine.numerics.values import as_parameter, concrete
from mcengine.problems.exact_distributions import ExactDistribution, as_exact
from mcengine.problems.protocol import Problem


def _is_reached(score: Float[Array, "*levels"], threshold: Float[Array, "*levels"]) -> Float[Array, "*levels"]:
    return jnp.where(score >= threshold, 1.0, 0.0).astype(jnp.result_type(score))


_reaches = numerics.refuse_derivative(
    _is_reached,
    "The derivative of an indicator along its score or threshold is 0 almost everywhere, so a pathwise gradient of a "
    "Probability would silently be 0. Use the score form: differentiate the target's parameters with "
    "proposal=jax.lax.stop_gradient(target) (and a threshold that is not differentiated).",
)


class Probability(Problem):
    """P(score(X) >= threshold) for X ~ target, the expectation of an indicator.

    Samples with a NaN score are counted as non-finite. For a lower tail negate score and threshold.

    **Arguments:** `score`, from one sample to a scalar; `target`, as in `Expectation`; `threshold`, a number or an
    array (one probability for each level, from the same samples), which may be infinite; `exact` and `exact_law`, the
    true value and the distribution of the score, for tests and tables.

    **Raises:** `ValueError` for a threshold that is NaN, and for a score that does not fit the threshold's shape.
    """

    score: Callable[[Any], Float[Array, ""]]
    target: Density = eqx.field(converter=as_density)
    threshold: Float[Array, "..."] = eqx.field(converter=as_parameter)
    exact: Any = eqx.field(converter=as_exact, default=None, kw_only=True)
    exact_law: ExactDistribution | None = eqx.field(default=None, kw_only=True)

    value_bound = 1.0
    is_indicator = True

    def __check_init__(self):
        threshold = concrete(self.threshold)
        if threshold is not None and np.any(np.isnan(threshold)):
            raise ValueError(f"Probability: the threshold is NaN, which no score reaches: threshold={threshold}.")

    def integrand(self, x: Any) -> Float[Array, "..."]:
        score = jnp.asarray(self.score(x), dtype=self.threshold.dtype)
        if score.shape not in ((), self.threshold.shape):
            raise ValueError(
                f"Probability: the score of one sample must be a scalar, or of the threshold's shape "
                f"{self.threshold.shape}, got shape {score.shape}."
            )
        hit = _reaches(jnp.broadcast_to(score, self.threshold.shape), self.threshold)
        return jnp.where(jnp.isnan(score), jnp.nan, hit)

    def observable(self, x: Any) -> Float[Array, "..."]:
        """The score."""
        return self.score(x)
