"""Conditional Monte Carlo: one variable integrated in closed form given the others, E[f] = E[E[f | Y]]."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mcengine.distributions import Distribution, as_distribution, event_struct, sample_many
from mcengine.distributions.coordinates import split_coordinate
from mcengine.numerics.partition import StaticPart, combine, partition
from mcengine.numerics.tracing import closes_over_trace, is_traced, traced
from mcengine.problems.bracketing import (
    HasTails,
    bracket_change,
    implicit,
    log_odds,
    probe_log_odds,
    quantiles,
    replace_infinity,
)
from mcengine.problems.exact_distributions import as_exact
from mcengine.problems.probability import Probability
from mcengine.problems.protocol import Problem

# From (the other coordinates, the thresholds) to the boundary, of the thresholds' shape.
Boundary = Callable[[Float[Array, " rest"], Float[Array, "..."]], Float[Array, "..."]]

NUM_PROBES = 256
# Probes lie this far from the boundary on either side, in log-odds: 2 % of the smaller tail. Each must see the score
# on the right side of the threshold.
BESIDE = 0.02


class ConditionalProbability(Problem):
    """E[P(score(X) >= threshold | Y)], Y all coordinates but one: the problem that `conditional` makes.

    **Arguments:** `score`, `threshold` as in `Probability`; `inner`, the distribution of coordinate number
    `coordinate`; `target`, that of the others; `boundary`, None where it is searched; `above`, the side of the boundary
    where the score reaches the threshold.
    """

    score: Callable[[Any], Float[Array, ""]]
    threshold: Float[Array, "..."]
    inner: HasTails
    target: Distribution
    boundary: Boundary | None
    coordinate: int = eqx.field(static=True)
    above: bool = eqx.field(static=True)
    exact: Any = eqx.field(converter=as_exact, default=None)

    value_bound = 1.0

    def observable(self, y: Any) -> Any:
        """Refused: a sample lacks the coordinate that is integrated out, so it has no score.

        **Raises:** `ValueError`.
        """
        raise ValueError(
            "conditional: one coordinate is integrated out, so a sample has no score whose distribution a functional "
            "could describe. Give the functional the Probability itself."
        )

    def integrand(self, y: Float[Array, " rest"]) -> Float[Array, "..."]:
        """P(score >= threshold | Y = y), of the threshold's shape."""
        points, above = self.boundaries(y)
        if self.boundary is not None:  # only one of the two tails is needed
            return jnp.reshape(jax.vmap(partial(_tail, self.inner, above=self.above))(points), self.threshold.shape)
        return jnp.reshape(jax.vmap(partial(_tail, self.inner))(points, above), self.threshold.shape)

    def boundaries(self, y: Float[Array, " rest"]) -> tuple[Float[Array, " levels"], Bool[Array, " levels"]]:
        """(the coordinate's value where the score crosses each level, whether it reaches the level above that value).

        (+inf, True) where no value reaches the level, (-inf, True) where all do.
        """
        levels = jnp.ravel(self.threshold)
        if self.boundary is None:
            return jax.vmap(partial(self._search, y))(jnp.arange(len(levels)), levels)
        points = jnp.asarray(self.boundary(y, self.threshold), levels.dtype)
        points = jnp.ravel(jnp.broadcast_to(points, self.threshold.shape))
        return points, jnp.full(points.shape, self.above)

    def score_at(self, y: Float[Array, " rest"], index: Int[Array, ""], x: Float[Array, ""]) -> Float[Array, ""]:
        """The score of level `index` with the coordinate at x."""
        j = self.coordinate
        score = jnp.asarray(self.score(jnp.concatenate([y[:j], x[None], y[j:]])), self.threshold.dtype)
        return jnp.ravel(jnp.broadcast_to(score, self.threshold.shape))[index]

    def _search(
        self, y: Float[Array, " rest"], index: Int[Array, ""], level: Float[Array, ""]
    ) -> tuple[Float[Array, ""], Bool[Array, ""]]:
        score = partial(self.score_at, y, index)
        found = bracket_change(lambda x: score(x) >= level, self.inner)
        value, slope = jax.jvp(score, (found.point,), (jnp.ones_like(found.point),))
        crosses = found.below != found.above
        point = implicit(found.point, value - level, jnp.where(crosses, slope, 1.0))
        never = jnp.where(found.above, -jnp.inf, jnp.inf)
        point = jnp.where(crosses, point, jnp.where(jnp.isnan(value), jnp.nan, never))
        return jnp.where(jnp.isnan(value), jnp.nan, point), found.above | ~crosses


def _tail(distribution: HasTails, point: Float[Array, ""], above: Bool[Array, ""] | bool) -> Float[Array, ""]:
    """P(X >= point) where `above`, else P(X <= point)."""
    at = replace_infinity(point, distribution)
    if isinstance(above, bool):
        log_tail = distribution.log_sf(at) if above else distribution.log_cdf(at)
    else:
        log_tail = jnp.where(above, distribution.log_sf(at), distribution.log_cdf(at))
    return jnp.where(jnp.isinf(point), jnp.where((point < 0) == above, 1.0, 0.0), jnp.exp(log_tail))


def conditional(
    problem: Probability,
    coordinate: int = -1,
    boundary: Boundary | None = None,
    *,
    above: bool = True,
) -> ConditionalProbability:
    """P(score(X) >= threshold) as E[P(score(X) >= threshold | Y)], Y all coordinates of X but one, X_j.

    If the score is monotone in X_j, the inner probability is a tail of X_j: P(X_j >= b(y)) or P(X_j <= b(y)). By the
    theorem of Rao and Blackwell the variance is never larger. The integrand is smooth, so Sobol points gain more, and
    pathwise gradients (without a proposal), which a `Probability` refuses, are right. A proposal is for Y alone.

    If E[f | Y] is known for another f, use `Expectation(conditional_mean, distribution_of_Y)`.

    **Arguments:**

    - `problem`: a `Probability` with independent coordinates: a vector Normal, StudentT, Exponential, ..., or a
      `Product` of such.
    - `coordinate` j: best the one that the score depends on most; counted from the end where it is negative.
    - `boundary`: boundary(y, threshold) = b(y), of the threshold's shape, infinite where the score always or never
      reaches the threshold. If it is None, b and the direction of the score are searched for each y, in about 30 calls
      of the score (60 in float64).
    - `above`: whether the score reaches the threshold above the given boundary, or below it.

    **Returns:** a `ConditionalProbability`. Functionals of the score (`Histogram`, `TailRisk`) refuse it, since a
    sample lacks a coordinate.

    **Raises:** `TypeError` for another problem or distribution; `ValueError` if probes of some hundred points find that
    the score is not monotone, or that the boundary is wrong. Nothing is probed inside a trace.

    Fails silently for a score that is not monotone between the probes, and for pathwise gradients of a score that jumps
    over the threshold. Conditional probabilities below 1e-35 count as 0.

    Source: S. Asmussen and P. Glynn, Stochastic Simulation (2007), chapter V.4; for gradients, M. Fu and J.-Q. Hu,
    Conditional Monte Carlo (1997).
    """
    if not isinstance(problem, Probability):
        raise TypeError(
            f"conditional: problem must be a Probability, got {type(problem).__name__}. For another f, give "
            "E[f | Y] to Expectation(conditional_mean, distribution_of_Y)."
        )
    event = event_struct(as_distribution(problem.plain))
    inner, rest = split_coordinate(problem.target, coordinate)
    with traced("the score"):
        jax.eval_shape(problem.integrand, event)  # raises the problem's own error for a score of the wrong shape
    result = ConditionalProbability(
        problem.score, problem.threshold, inner, rest, boundary, coordinate % event.shape[0], above, problem.exact
    )
    if not (closes_over_trace(result) or is_traced(result)):
        _check_boundary(result)
    return result


def _check_boundary(problem: ConditionalProbability) -> None:
    """Raise where a probe sees the score on the wrong side of the threshold."""
    y, x, reached, predicted, wrong = jax.device_get(_probe(*partition(problem)))
    if not wrong.any():
        return
    sample, level, place = np.unravel_index(np.argmax(wrong), wrong.shape)
    seen, expected = ("reaches" if side[sample, level, place] else "misses" for side in (reached, predicted))
    cause = "The boundary is wrong" if problem.boundary is not None else "It is not monotone there"
    raise ValueError(
        f"conditional: with the other coordinates at {y[sample]}, the score {seen} the threshold at "
        f"{x[sample, level, place]:.6g} for coordinate {problem.coordinate}, and by the boundary it {expected} it "
        f"({wrong.mean():.1%} of the probes). {cause}: choose another coordinate, or correct the boundary (see "
        "`above`)."
    )


@partial(jax.jit, static_argnames=("static",))
def _probe(dynamic: list[Array], static: StaticPart) -> tuple[Array, Array, Array, Array, Array]:
    """(y, x_j, whether the score reaches its level there, whether the boundary predicts it, whether they disagree).

    y of shape [probes, rest], the others [probes, levels, places].
    """
    problem = combine(dynamic, static)
    y = sample_many(problem.plain, jax.random.key(0), NUM_PROBES)

    def _of_level(
        y: Float[Array, " rest"],
        index: Int[Array, ""],
        level: Float[Array, ""],
        point: Float[Array, ""],
        above: Bool[Array, ""],
    ) -> tuple[Array, Array, Array, Array]:
        at = log_odds(problem.inner, replace_infinity(point, problem.inner))
        at = jnp.where(jnp.isinf(point), point, at)
        beside = jnp.clip(jnp.stack([at - BESIDE, at + BESIDE]), -60.0, 60.0)
        places = jnp.concatenate([jnp.asarray(probe_log_odds(), level.dtype), beside])
        x = quantiles(problem.inner, places)
        reached = jax.vmap(lambda x: problem.score_at(y, index, x) >= level)(x)
        predicted = (places >= at) == above
        wrong = (reached != predicted) & (jnp.abs(places - at) > 0.5 * BESIDE) & ~jnp.isnan(point)
        return x, reached, predicted, wrong

    def of_sample(y: Float[Array, " rest"]) -> tuple[Array, Array, Array, Array]:
        levels = jnp.ravel(problem.threshold)
        return jax.vmap(partial(_of_level, y))(jnp.arange(len(levels)), levels, *problem.boundaries(y))

    return y, *jax.vmap(of_sample)(y)
