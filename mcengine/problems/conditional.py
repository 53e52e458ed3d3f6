"""Conditional Monte Carlo: one variable integrated in closed form given the others, E[f] = E[E[f | Y]]."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mcengine.distributions import Distribution, event_struct, sample_many
from mcengine.distributions.coordinates import split_coordinate
from mcengine.numerics.partition import StaticPart, combine, partition
from mcengine.numerics.tracing import closes_over_trace, is_traced, traced
from mcengine.problems.bracketing import find_crossing, implicit, log_odds, probe_log_odds, quantiles, safe_infinity
from mcengine.problems.exact_distributions import as_exact
from mcengine.problems.probability import Probability

NUM_PROBES = 256
# Log-odds apart from the boundary where a probe must fall on its side: 2 % of the smaller tail.
BESIDE = 0.02


class ConditionalProbability(eqx.Module):
    """The problem that `conditional` makes: see there. E[P(score(X) >= threshold | Y)], Y all coordinates but one.

    **Arguments:** `score`, `threshold` as in `Probability`; `law` of coordinate number `coordinate`; `target`, the law
    of the others; `boundary`, None where it is searched; `above`, the side of the boundary where the score reaches
    the threshold.
    """

    score: Callable[[Any], Float[Array, ""]]
    threshold: Float[Array, "..."]
    law: Any
    target: Any
    boundary: Callable[[Any, Any], Any] | None
    coordinate: int = eqx.field(static=True)
    above: bool = eqx.field(static=True)
    exact: Any = eqx.field(converter=as_exact, default=None)

    @property
    def plain(self) -> Distribution:
        return self.target

    @property
    def value_bound(self) -> float:
        return 1.0

    @property
    def integrates_out(self) -> bool:
        """The score is one of all coordinates, and a sample lacks one: functionals of the score are refused."""
        return True

    def integrand(self, y: Float[Array, " rest"]) -> Float[Array, "..."]:
        """P(score >= threshold | Y = y), of the threshold's shape."""
        points, above = self.boundaries(y)
        if self.boundary is not None:  # one of the two tails is never asked for
            return jnp.reshape(jax.vmap(partial(_tail, self.law, above=self.above))(points), self.threshold.shape)
        return jnp.reshape(jax.vmap(partial(_tail, self.law))(points, above), self.threshold.shape)

    def boundaries(self, y: Float[Array, " rest"]) -> tuple[Float[Array, " levels"], Bool[Array, " levels"]]:
        """(the coordinate's value from which on the score reaches each level, whether that is so above it).

        +inf and True where no value reaches it, -inf and True where all do.
        """
        levels = jnp.ravel(self.threshold)
        if self.boundary is None:
            return jax.vmap(partial(self._search, y))(jnp.arange(len(levels)), levels)
        points = jnp.asarray(self.boundary(y, self.threshold), levels.dtype)
        points = jnp.ravel(jnp.broadcast_to(points, self.threshold.shape))
        return points, jnp.full(points.shape, self.above)

    def score_at(self, y: Float[Array, " rest"], index: Array, x: Float[Array, ""]) -> Float[Array, ""]:
        """The score of level `index` with the coordinate at x."""
        j = self.coordinate
        score = jnp.asarray(self.score(jnp.concatenate([y[:j], x[None], y[j:]])), self.threshold.dtype)
        return jnp.ravel(jnp.broadcast_to(score, self.threshold.shape))[index]

    def _search(self, y: Array, index: Array, level: Array) -> tuple[Array, Array]:
        score = partial(self.score_at, y, index)
        found = find_crossing(lambda x: score(x) >= level, self.law)
        value, slope = jax.jvp(score, (found.point,), (jnp.ones_like(found.point),))
        crosses = found.below != found.above
        point = implicit(found.point, value - level, jnp.where(crosses, slope, 1.0))
        never = jnp.where(found.above, -jnp.inf, jnp.inf)
        point = jnp.where(crosses, point, jnp.where(jnp.isnan(value), jnp.nan, never))
        return jnp.where(jnp.isnan(value), jnp.nan, point), found.above | ~crosses


def _tail(law: Any, point: Float[Array, ""], above: Bool[Array, ""] | bool) -> Float[Array, ""]:
    """P(X >= point), or P(X <= point)."""
    at = safe_infinity(point, law)
    if isinstance(above, bool):
        log_tail = law.log_sf(at) if above else law.log_cdf(at)
    else:
        log_tail = jnp.where(above, law.log_sf(at), law.log_cdf(at))
    return jnp.where(jnp.isinf(point), jnp.where((point < 0) == above, 1.0, 0.0), jnp.exp(log_tail))


def conditional(
    problem: Any,
    coordinate: int = -1,
    boundary: Callable[[Any, Any], Any] | None = None,
    *,
    above: bool = True,
) -> ConditionalProbability:
    """P(score(X) >= threshold) as E[P(score(X) >= threshold | Y)], Y all coordinates of X but one, X_j.

    With a score monotone in X_j the inner probability is a tail of its law, P(X_j >= b(y)) or P(X_j <= b(y)). By Rao
    and Blackwell the variance is never larger, and the integrand is smooth: Sobol points gain, and a pathwise gradient
    (without a proposal), which a `Probability` refuses, is right. A proposal is for Y alone.

    Where E[f | Y] is known for another f, no function is needed: `Expectation(conditional_mean, law_of_Y)`.

    **Arguments:** `problem`, a `Probability` with independent coordinates: a vector Normal, StudentT, Exponential, ...,
    or a `Product`; `coordinate` j, best the one that moves the score most; `boundary(y, threshold)`, b of the
    threshold's shape where you know it, infinite where the score reaches the threshold always or never; else it is
    searched, in about 30 calls of the score a sample (60 in float64); `above`, whether the score reaches the threshold
    above your boundary, or below. Whether the score rises or falls is found for each y where the boundary is searched.

    **Raises:** `TypeError` for another problem or law; `ValueError` where probes of some hundred points find the
    score not monotone, or the boundary wrong. Inside a trace nothing can be probed.

    Functionals of the score (`Histogram`, `TailRisk`) are refused: a sample lacks a coordinate. Give them the problem.

    When it lies: a score that is not monotone where no probe looked; a pathwise gradient of a score that jumps over the
    threshold. Probabilities given y below 1e-35 count as 0.

    Source: S. Asmussen and P. Glynn, Stochastic Simulation (2007), chapter V.4; for gradients, M. Fu and J.-Q. Hu,
    Conditional Monte Carlo (1997).
    """
    if not isinstance(problem, Probability):
        raise TypeError(
            f"conditional: problem must be a Probability, got {type(problem).__name__}. Of another f, give E[f | Y] to "
            "Expectation(conditional_mean, law_of_Y)."
        )
    size = event_struct(problem.plain).shape
    law, rest = split_coordinate(problem.target, coordinate)
    with traced("the score"):
        jax.eval_shape(problem.integrand, event_struct(problem.plain))  # its own words for a score of the wrong shape
    result = ConditionalProbability(
        problem.score, problem.threshold, law, rest, boundary, coordinate % size[0], above, problem.exact
    )
    if not (closes_over_trace(result) or is_traced(result)):
        _check_boundary(result)
    return result


def _check_boundary(problem: ConditionalProbability) -> None:
    """Raise where the score is seen on the wrong side of its boundary."""
    y, x, reached, predicted, wrong = jax.device_get(_probe(*partition(problem)))
    if not wrong.any():
        return
    sample, level, place = np.unravel_index(np.argmax(wrong), wrong.shape)
    seen, said = ("reaches" if side[sample, level, place] else "misses" for side in (reached, predicted))
    whose = "The boundary is wrong" if problem.boundary is not None else "It is not monotone there"
    raise ValueError(
        f"conditional: with the other coordinates at {y[sample]}, the score {seen} the threshold at "
        f"{x[sample, level, place]:.6g} for coordinate {problem.coordinate}, where a boundary says that it {said} it "
        f"({wrong.mean():.1%} of the probes). {whose}: choose another coordinate, or mend the boundary (see `above`)."
    )


@partial(jax.jit, static_argnames=("static",))
def _probe(dynamic: Any, static: StaticPart) -> Any:
    """(y, x_j, whether the score reaches its level there, whether it should, whether that is wrong).

    y of shape [probes, rest], the others [probes, levels, places].
    """
    problem = combine(dynamic, static)
    y = sample_many(problem.plain, jax.random.key(0), NUM_PROBES)

    def of_level(y, index, level, point, above):
        at = log_odds(problem.law, safe_infinity(point, problem.law))
        at = jnp.where(jnp.isinf(point), point, at)
        beside = jnp.clip(jnp.stack([at - BESIDE, at + BESIDE]), -60.0, 60.0)
        places = jnp.concatenate([jnp.asarray(probe_log_odds(), level.dtype), beside])
        x = quantiles(problem.law, places)
        reached = jax.vmap(lambda x: problem.score_at(y, index, x) >= level)(x)
        predicted = (places >= at) == above
        wrong = (reached != predicted) & (jnp.abs(places - at) > 0.5 * BESIDE) & ~jnp.isnan(point)
        return x, reached, predicted, wrong

    def of_sample(y):
        levels = jnp.ravel(problem.threshold)
        return jax.vmap(partial(of_level, y))(jnp.arange(len(levels)), levels, *problem.boundaries(y))

    return y, *jax.vmap(of_sample)(y)
