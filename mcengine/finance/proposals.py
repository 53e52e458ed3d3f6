"""Where to sample the days when an index falls: inflated volatility, a shifted mean, one bad day."""

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
from mcengine.numerics.values import as_parameter
from mcengine.problems.probability import Probability


def inflated(problem: Probability, factor=None) -> Distribution:
    """The model with every day's scale times `factor`: Student-t of event shape [days].

    By default factor (factor - 1) = (df + 3) / (4 (days - 1)): the second moment of w f grows with the n - 1 quiet days
    as exp((n - 1) I (c - 1)^2), I = 2 df/(df + 3) the Fisher information of log scale, and falls with the one bad
    day as c^-df; that is where the two balance. Heavy tails leave little to win: the best c is 1.15 for ten days.

    **Raises:** `ValueError` for a factor that is not positive.
    """
    model = _model_of(problem)
    if factor is None:
        balance = (model.df + 3) / (4 * max(model.days - 1, 1))
        # A single day has no quiet days to pay for; its scale need not exceed the distance to be covered.
        factor = (1 + math.sqrt(1 + 4 * balance)) / 2 if model.days > 1 else max(1.0, model.distance)
    return proposals.scaled(model.target, factor)


def shifted(problem: Probability, shift=None) -> Distribution:
    """The model with `shift` added to every day's mean, by default so that the mean path just reaches the threshold.

    When it lies: this is the right move for light tails only. Under a Student-t the index falls in one jump, on paths
    that a shift of all days makes rare: few samples see them, with huge weights, and the estimate is far too low.
    """
    model = _model_of(problem)
    return proposals.shifted(model.target, -model.distance * model.scale / model.days if shift is None else shift)


class OneBigJump(eqx.Module):
    """The model as it is, or with one bad day, or with two, any days alike: a mixture over all choices of days.

    q = p (e_0 + e_1 mean_i r_i(x_i) + e_2 mean_(i<j) s_i(x_i) s_j(x_j)), with r_i and s_i the densities of a bad day
    over p_i, alone or as one of a pair; so p/q <= 1/e_0.

    **Arguments:** `target`, a `StudentT` of event shape [n]; `bad_loc`, `bad_scale`, shape [2], of a bad day alone and
    in a pair (the degrees of freedom stay); `shares` e, shape [3].

    A transport of 2 n + 1 uniforms: the first chooses the days.
    """

    target: StudentT
    bad_loc: Float[Array, "2"] = eqx.field(converter=as_parameter)
    bad_scale: Float[Array, "2"] = eqx.field(converter=as_parameter)
    shares: Float[Array, "3"] = eqx.field(converter=as_parameter)

    @property
    def defensive_share(self) -> Float[Array, ""]:
        """The share of the model as it is: weights are at most 1 over this."""
        return self.shares[0]

    @property
    def num_uniforms(self) -> int:
        return 1 + self.target.num_uniforms

    def forward(self, v: Float[Array, " num_uniforms"]):
        df, loc, scale = self._days()
        alone, paired = self._chosen(numerics.to_unit(v[0]), df.shape[0])
        loc = jnp.where(alone, self.bad_loc[0], jnp.where(paired, self.bad_loc[1], loc))
        scale = jnp.where(alone, self.bad_scale[0], jnp.where(paired, self.bad_scale[1], scale))
        x, _ = StudentT(df, loc, scale).forward(v[1:])
        return x, self.log_prob(x)

    def sample(self, key: PRNGKeyArray):
        return sample_by_transport(self, key)

    def log_prob(self, x: Float[Array, " days"]) -> Float[Array, ""]:
        df, loc, scale = self._days()
        log_day = jax.vmap(lambda df, loc, scale, x: StudentT(df, loc, scale).log_prob(x))
        log_p = log_day(df, loc, scale, x)
        alone, paired = (
            log_day(df, jnp.broadcast_to(bad_loc, df.shape), jnp.broadcast_to(bad_scale, df.shape), x) - log_p
            for bad_loc, bad_scale in zip(self.bad_loc, self.bad_scale, strict=True)
        )
        num_pairs = math.comb(df.shape[0], 2)
        log_one = jax.nn.logsumexp(alone) - math.log(df.shape[0])
        log_two = _log_sum_over_pairs(paired) - math.log(max(num_pairs, 1))
        # Every component shares p but for its bad days: the sum over components, in logs.
        return jnp.sum(log_p) + jax.nn.logsumexp(
            jnp.log(self.shares) + jnp.stack([jnp.zeros_like(log_one), log_one, log_two])
        )

    def _chosen(self, u: Float[Array, ""], days: int) -> tuple[Bool[Array, " days"], Bool[Array, " days"]]:
        """Which day is bad alone, and which two are bad together, by one uniform: most days in neither."""
        none, one = self.shares[0], self.shares[0] + self.shares[1]
        # What is left of u inside its component is uniform again: it picks the day, then the days between the two.
        first, rest = _digit(jnp.where(u < one, (u - none) / self.shares[1], (u - one) / (1.0 - one)), days)
        gap, _ = _digit(rest, max(days - 1, 1))
        day = jnp.arange(days, dtype=first.dtype)
        is_first, is_second = day == first, day == (first + 1 + gap) % days
        return is_first & (u >= none) & (u < one), (is_first | is_second) & (u >= one)

    def _days(self):
        return jnp.broadcast_arrays(self.target.df, self.target.loc, self.target.scale)


def _digit(u: Float[Array, ""], base: int) -> tuple[Int[Array, ""], Float[Array, ""]]:
    """The first digit of u in [0, 1] in a base, and the fraction behind it."""
    digit = jnp.clip(jnp.floor(u * base), 0, base - 1)
    return digit.astype(jnp.int32), u * base - digit


def _log_sum_over_pairs(a: Float[Array, " n"]) -> Float[Array, ""]:
    """log sum_(i<j) exp(a_i + a_j); -inf for n = 1.

    The largest term's pairs are summed apart: ((sum)^2 - sum of squares)/2 over all would cancel where one term rules.
    """
    largest = jnp.max(a)
    others = jnp.where(jnp.arange(a.shape[0]) == jnp.argmax(a), 0.0, jnp.exp(a - largest))
    total = jnp.sum(others)
    pairs = total + 0.5 * jnp.maximum(total * total - jnp.sum(others * others), 0.0)
    return 2.0 * largest + jnp.where(pairs > 0.0, jnp.log(jnp.where(pairs > 0.0, pairs, 1.0)), -jnp.inf)


def one_big_jump(problem: Probability, level=None, width=None, defensive_share=0.1, pair_share=0.15) -> OneBigJump:
    """One bad day, the others as in the model: heavy-tailed sums are large because of one term, or sometimes two.

    The bad day is Student-t about `level` scales of a day below the mean, `width` scales wide. With z the distance to
    the threshold in scales and o = sqrt((n - 1) df/(df - 2)) the spread of the other days' sum, by default

        level = z + z/(2 df) - o/2,  width = sqrt((z/df)^2 + (o/2)^2).

    Past z a Student-t's excess is generalised Pareto of scale z/df, and of all shifted and scaled t laws the one at
    z + z/(2 df), z/df wide, has nearly the least second moment against it (1.86 times the squared tail for df = 2.7,
    the optimum 1.83); the other days carry a path that crosses over part of the way. The variance is then a small
    multiple of p^2 per sample, whatever the fall, once one day rules (falls of 20 % and more in ten days).

    With `pair_share` two days share the fall, each about half the level and half as wide. Such paths are few but would
    have the largest weights: without them k-hat is about 0.5, and the error bar optimistic at small sample counts.

    **Raises:** `ValueError` for shares that are not in [0, 1), a `defensive_share` of 0, shares that leave nothing for
    the one bad day, and a width that is not positive.
    """
    target, df, loc, scale, days, distance = _model_of(problem)
    # A day's variance is infinite up to df = 2; the cap keeps the level sensible there.
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
    shares = [defensive_share, 1 - defensive_share - pair_share, pair_share]
    return OneBigJump(target, loc - levels * scale, widths * scale, shares)


class _Model(NamedTuple):
    """The fitted model and how many scales of a day (`distance`) its mean path is from the threshold."""

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
