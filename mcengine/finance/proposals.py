"""Proposals for the fall of an index: inflated volatility, a shifted mean, one big jump."""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from mcengine import numerics, proposals
from mcengine.distributions import Distribution, StudentT
from mcengine.distributions.protocol import sample_by_transport
from mcengine.numerics.values import Scalar, as_parameter
from mcengine.problems.probability import Probability
from mcengine.proposals.defensive import DefensiveProposal


def inflated(problem: Probability, factor: Scalar | None = None) -> Distribution:
    """The model with every day's scale times `factor`: Student-t of event shape [days].

    The default factor c solves c (c - 1) = (df + 3) / (4 (n - 1)) for n days. It minimises the second moment of w f
    approximately: the n - 1 ordinary days contribute exp((n - 1) I (c - 1)^2), I = 2 df/(df + 3) the Fisher information
    of log scale, and the one big jump c^-df. The gain is small for heavy tails: c = 1.15 for ten days.

    **Arguments:** `problem`, an `index_fall`; `factor` > 0.

    **Raises:** `TypeError` for a problem that is not an `index_fall`; `ValueError` for a factor that is not positive.
    """
    model = _model_of(problem)
    if factor is None:
        balance = (model.df + 3) / (4 * max(model.days - 1, 1))
        # With a single day there are no ordinary days; a scale above the distance to the threshold gains nothing.
        factor = (1 + math.sqrt(1 + 4 * balance)) / 2 if model.days > 1 else max(1.0, model.distance)
    return proposals.scaled(model.target, factor)


def shifted(problem: Probability, shift: Scalar | None = None) -> Distribution:
    """The model with `shift` added to every day's mean, by default so that the mean path just reaches the threshold.

    **Arguments:** `problem`, an `index_fall`; `shift` of a daily log return.

    **Raises:** `TypeError` for a problem that is not an `index_fall`.

    Fails for heavy tails, and is right for light ones: under a Student-t the index falls in one big jump, on paths that
    a shift of all days makes rare. Few samples are such paths, with huge weights, and the estimate is far too low.
    """
    model = _model_of(problem)
    return proposals.shifted(model.target, -model.distance * model.scale / model.days if shift is None else shift)


class OneBigJump(DefensiveProposal):
    """The model with no jump, with a jump on one day, or with jumps on two days: a mixture over all choices of days.

    q = p (e_0 + e_1 mean_i r_i(x_i) + e_2 mean_(i<j) s_i(x_i) s_j(x_j)), where r_i and s_i are the densities of a jump,
    alone or one of a pair, over the density p_i of an ordinary day; so p/q <= 1/e_0. All days are equally likely to
    jump. A transport of 2 n + 1 uniforms, the first of which chooses the days.

    **Arguments:**

    - `target`: a `StudentT` of event shape [n].
    - `jump_loc`, `jump_scale` [2]: of a single jump and of one of a pair; the degrees of freedom are those of `target`.
    - `weights` e [3]: the probabilities of no jump, one jump and two jumps.
    """

    target: StudentT
    jump_loc: Float[Array, "2"] = eqx.field(converter=as_parameter)
    jump_scale: Float[Array, "2"] = eqx.field(converter=as_parameter)
    weights: Float[Array, "3"] = eqx.field(converter=as_parameter)

    @property
    def defensive_share(self) -> Float[Array, ""]:
        """The probability of no jump: p/q is at most 1 over this."""
        return self.weights[0]

    @property
    def num_uniforms(self) -> int:
        return 1 + self.target.num_uniforms

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Float[Array, " days"], Float[Array, ""]]:
        df, loc, scale = self._days()
        alone, paired = self._chosen(numerics.to_unit(v[0]), df.shape[0])
        loc = jnp.where(alone, self.jump_loc[0], jnp.where(paired, self.jump_loc[1], loc))
        scale = jnp.where(alone, self.jump_scale[0], jnp.where(paired, self.jump_scale[1], scale))
        x, _ = StudentT(df, loc, scale).forward(v[1:])
        return x, self.log_prob(x)

    def sample(self, key: PRNGKeyArray) -> Float[Array, " days"]:
        return sample_by_transport(self, key)

    def log_prob(self, x: Float[Array, " days"]) -> Float[Array, ""]:
        df, loc, scale = self._days()
        log_day = jax.vmap(lambda df, loc, scale, x: StudentT(df, loc, scale).log_prob(x))
        log_p = log_day(df, loc, scale, x)
        alone, paired = (
            log_day(df, jnp.broadcast_to(jump_loc, df.shape), jnp.broadcast_to(jump_scale, df.shape), x) - log_p
            for jump_loc, jump_scale in zip(self.jump_loc, self.jump_scale, strict=True)
        )
        num_pairs = math.comb(df.shape[0], 2)
        log_one = jax.nn.logsumexp(alone) - math.log(df.shape[0])
        log_two = _log_sum_over_pairs(paired) - math.log(max(num_pairs, 1))
        # All components have the factor p in common: log p plus the log of the sum over components.
        return jnp.sum(log_p) + jax.nn.logsumexp(
            jnp.log(self.weights) + jnp.stack([jnp.zeros_like(log_one), log_one, log_two])
        )

    def _chosen(self, u: Float[Array, ""], days: int) -> tuple[Bool[Array, " days"], Bool[Array, " days"]]:
        """(the day of a single jump, the two days of a pair), from one uniform u; at least one of the two is empty."""
        none, one = self.weights[0], self.weights[0] + self.weights[1]
        # The position of u within its component is uniform again: it chooses the day, then the distance to the second.
        first, rest = _digit(jnp.where(u < one, (u - none) / self.weights[1], (u - one) / (1.0 - one)), days)
        gap, _ = _digit(rest, max(days - 1, 1))
        day = jnp.arange(days, dtype=first.dtype)
        is_first, is_second = day == first, day == (first + 1 + gap) % days
        return is_first & (u >= none) & (u < one), (is_first | is_second) & (u >= one)

    def _days(self) -> list[Float[Array, " days"]]:
        """[df, loc, scale] of every day."""
        return jnp.broadcast_arrays(self.target.df, self.target.loc, self.target.scale)


def _digit(u: Float[Array, ""], base: int) -> tuple[Int[Array, ""], Float[Array, ""]]:
    """The first digit of u in [0, 1] in a base, and the remaining fraction."""
    digit = jnp.clip(jnp.floor(u * base), 0, base - 1)
    return digit.astype(jnp.int32), u * base - digit


def _log_sum_over_pairs(a: Float[Array, " n"]) -> Float[Array, ""]:
    """log sum_(i<j) exp(a_i + a_j); -inf for n = 1.

    Pairs with the largest term are summed separately: ((sum)^2 - sum of squares)/2 over all terms would cancel if one
    term dominates.
    """
    largest = jnp.max(a)
    others = jnp.where(jnp.arange(a.shape[0]) == jnp.argmax(a), 0.0, jnp.exp(a - largest))
    total = jnp.sum(others)
    pairs = total + 0.5 * jnp.maximum(total * total - jnp.sum(others * others), 0.0)
    return 2.0 * largest + jnp.where(pairs > 0.0, jnp.log(jnp.where(pairs > 0.0, pairs, 1.0)), -jnp.inf)


def one_big_jump(
    problem: Probability,
    level: Scalar | None = None,
    width: Scalar | None = None,
    *,
    defensive_share: Scalar = 0.1,
    pair_share: Scalar = 0.15,
) -> OneBigJump:
    """One day jumps, the others are as in the model: a heavy-tailed sum is large because of one term, or rarely two.

    The jump is Student-t, centred `level` scales of a day below the daily mean, with scale `width` in the same unit.
    With z the distance to the threshold in scales and o = sqrt((n - 1) df/(df - 2)) the standard deviation of the sum
    of the other days, the defaults are

        level = z + z/(2 df) - o/2,  width = sqrt((z/df)^2 + (o/2)^2).

    Reason: beyond z the excess of a Student-t is generalised Pareto with scale z/df. Among shifted and scaled
    t distributions, that with centre z + z/(2 df) and scale z/df has nearly the least second moment against it (1.86
    times the squared tail probability for df = 2.7; the optimum is 1.83). The terms in o account for the sum of the
    other days. The variance per sample is then a small multiple of p^2 for every fall that one day dominates (20 % and
    more in ten days).

    With probability `pair_share` two days jump, each with half the level and half the width. Such paths are rare under
    the model but would have the largest weights: without them k-hat is about 0.5, and error bars are too short at small
    sample counts.

    **Arguments:** `problem`, an `index_fall`; `level`; `width` > 0; `defensive_share` in (0, 1), the probability of no
    jump; `pair_share` in [0, 1), ignored for a single day.

    **Raises:** `TypeError` for a problem that is not an `index_fall`; `ValueError` for a width that is not positive,
    and for shares outside their range or with a sum of 1 or more.

    Source: S. Asmussen and P. Glynn, Stochastic Simulation (2007), chapter VI.3, for the principle of one big jump.
    """
    target, df, loc, scale, days, distance = _model_of(problem)
    # The variance of a day is infinite for df <= 2; the bound keeps the level finite there.
    others = math.sqrt((days - 1) * df / max(df - 2, 0.5))
    level = distance * (1 + 0.5 / df) - others / 2 if level is None else level
    width = max(1.0, math.hypot(distance / df, others / 2)) if width is None else width
    pair_share = pair_share if days > 1 else 0.0
    if not (0 < defensive_share < 1 and pair_share >= 0 and defensive_share + pair_share < 1):
        raise ValueError(
            "one_big_jump: defensive_share must lie strictly between 0 and 1, pair_share not below 0, and their sum "
            f"below 1; got defensive_share={defensive_share}, pair_share={pair_share}."
        )
    if not width > 0:
        raise ValueError(f"one_big_jump: width must be positive, got {width}.")
    levels, widths = np.asarray([level, level / 2]), np.asarray([width, width / 2])
    weights = [defensive_share, 1 - defensive_share - pair_share, pair_share]
    return OneBigJump(target, loc - levels * scale, widths * scale, weights)


class _Model(NamedTuple):
    """The fitted model, and the `distance` of its mean path from the threshold, in scales of a day."""

    target: StudentT
    df: float
    loc: float
    scale: float
    days: int
    distance: float


def _model_of(problem: Probability) -> _Model:
    target = problem.target
    if not (isinstance(target, StudentT) and target.loc.ndim == 1):
        raise TypeError(f"This proposal is for a Student-t of several days (finance.index_fall), not for {target}.")
    df, loc, scale = (float(np.mean(x)) for x in (target.df, target.loc, target.scale))
    days = target.loc.shape[0]
    return _Model(target, df, loc, scale, days, (float(problem.threshold) + days * loc) / scale)
