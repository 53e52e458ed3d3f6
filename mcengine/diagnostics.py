"""How far an estimate may be trusted: ESS, k-hat, hits, largest share, and the figures that compare estimators.

Everything takes and returns NumPy or JAX arrays as its inputs are; `xp` is the array module.
"""

import enum
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from mcengine import pareto
from mcengine.columns import finite
from mcengine.moments import MAX_TAIL, MAX_TAILED, SampleStats


class Status(enum.IntEnum):
    """What to make of an estimate, in order of gravity; `sentence` says what to do next."""

    OK = 0
    FEW_HITS = 1
    FEW_UNITS = 2
    BUDGET_SPENT = 3
    BIASED = 4
    ROUNDING = 5
    HEAVY_TAIL = 6
    DOMINATED = 7
    UNMET_COMPONENT = 8
    UNRELIABLE = 9
    WEAK_DENOMINATOR = 10
    NO_HITS = 11
    NON_FINITE = 12

    @property
    def sentence(self) -> str:
        """The status in words."""
        return _SENTENCES[self]

    def __str__(self) -> str:
        return self.name.lower()


_SENTENCES = {
    Status.OK: "ok.",
    Status.FEW_HITS: "few hits, or few misses: the standard error is rough (the binomial interval of plain sampling "
    "still holds); draw more samples, or from a proposal closer to the event.",
    Status.FEW_UNITS: "few units: an error bar from fewer than 8 exchangeable units says little, and none can be had "
    "from one, or from units that are equal by chance; raise the budget, or make units shorter.",
    Status.BUDGET_SPENT: "budget spent before the tolerance was reached: the interval holds, but is longer than asked "
    "for; raise max_samples, or use a better proposal or points.",
    Status.BIASED: "biased: what the weighting took away, or the finest level left out, is not small against the error "
    "bar; raise the weighting's limit or use raw weights, or allow finer levels.",
    Status.ROUNDING: "rounding is as large as the error bar: in float32 trust no more than 6 digits, or enable x64; in "
    "float64 no more than 14.",
    Status.HEAVY_TAIL: "heavy-tailed weights or controls (k-hat not clearly below 0.5, or that of weights above 0.1 "
    "and their mean below 1): the interval is optimistic; use a proposal with heavier tails or a defensive mixture, "
    "lighter controls, or more samples.",
    Status.DOMINATED: "a few samples rule (one has over a quarter of the weight, or ESS is below 25): do not trust the "
    "interval; bring the proposal closer to the target.",
    Status.UNMET_COMPONENT: "a component of the mixture was due to contribute more than the error bar shows, and has "
    "hardly met the integrand: do not trust the interval; draw more samples, or leave that part to the components that "
    "fit it (mis.Power).",
    Status.UNRELIABLE: "heavy-tailed weights (k-hat above 0.7): do not use the interval; change the proposal.",
    Status.WEAK_DENOMINATOR: "the ratio's denominator is within five standard errors of 0: do not trust the interval; "
    "draw more samples, or from a proposal that is good for the denominator too.",
    Status.NO_HITS: "no hits: the value is 0 and only the upper bound says anything; draw more samples, or from a "
    "proposal that reaches the event.",
    Status.NON_FINITE: "non-finite integrand values or weights were met and left out, the value itself is beyond the "
    "largest float, or inside jit a control's mean was seen to be wrong: mend the integrand, the densities, the mean.",
}

MIN_HITS = 30
# The binomial interval holds for any number of hits; the value itself is hardly known below this.
MIN_HITS_BINOMIAL = 10
MIN_UNITS = 8
MIN_ESS = 25.0
MAX_SHARE = 0.25
K_OPTIMISTIC, K_USELESS = 0.5, 0.7
# Of a tail that is seen to end (see `is_bounded`). Of index 0.5 it has 12 such values once in 30 runs, of 0.7 in 200.
K_LIGHT, MIN_CROWD = 0.2, 12
# A run that has met none of the large weights that were due has too light a tail and a mean weight below 1, that of a
# normalised target. Further below than by so many of its standard errors, the target is not normalised.
K_MODEST, LACKING_ERRORS, UNNORMALISED_ERRORS = 0.1, 1.0, 6.0
# Below, the tail is a fifth of the samples and k-hat hardly more than its prior.
MIN_HITS_OF_MARGIN = 225
# What controls leave is near 0 for most samples, and next to that any tail looks heavy to k-hat. It counts where so few
# squares make the variance: of exp(x) less a line, whose intervals hold from 10,000 samples on, one run in fifteen.
FEW_SQUARES = 12.0
# Rounding of the kernels' dtype, with room for the densities' own.
ROUNDING_ULPS = 8.0
# Bias against standard error above which coverage falls below 0.93.
MAX_BIAS = 0.3


def effective_sample_size(stats: SampleStats, xp: Any = np) -> Any:
    """(sum |w f|)^2 / sum (w f)^2 per column: how many equal contributions would be as good."""
    # NaN where squares were not summed.
    return stats.sum_abs**2 / xp.where(stats.sum_squares == 0, 1.0, stats.sum_squares)


def largest_share(stats: SampleStats, xp: Any = np) -> Any:
    """max |w f| / sum |w f| per column."""
    return stats.max_abs / xp.where(stats.sum_abs > 0, stats.sum_abs, 1.0)


def k_hat(stats: SampleStats, xp: Any = np, divided_by: int = 1) -> Any:
    """Pareto tail index of |w f| per column that keeps a tail, NaN where there is none (few or discrete values)."""
    if xp is np:
        # Columns without a tail divide by zero on the way to their NaN.
        with np.errstate(all="ignore"):
            return pareto.k_hat(stats.log_tail, stats.tail_hits, np, divided_by)
    of_column = partial(pareto.k_hat, xp=xp, divided_by=divided_by)
    return jnp.vectorize(of_column, signature="(t),()->()")(stats.log_tail, stats.tail_hits)


def is_bounded(stats: SampleStats, k: Any, xp: Any = np) -> Any:
    """Whether the tail of |w f| is seen to end in spite of a high k-hat, per column that keeps a tail.

    Bounded values with a second, lower maximum crowd above the cutoff, and k-hat takes the few that lie higher for a
    heavy tail: 1.4 for x^2 under N(1/2, 1.2^2). A tail of index k looks the same from every cutoff and has about
    2^(1/k) values within a factor of two of its largest; so two signs speak against it, each rarer than once in 100
    runs at k = 0.84 (`benchmarks/tail_index.py`): its upper half has a light k-hat, or a crowd lies near the largest
    value. Near means within a factor of two of its excess over the mean of |w f|: on top of a large constant, as in
    1 + 0.01 t, all values are near the largest otherwise.
    """
    if xp is np and not np.any(k > K_LIGHT):
        return np.zeros(k.shape, dtype=bool)
    tail, num_outputs = stats.log_tail, k.shape[-1]
    log_top = finite(tail[..., :1], xp)
    sum_abs, scale = (_tailed(x, num_outputs, xp) for x in (stats.sum_abs, stats.log_scale))
    mean = sum_abs / stats.num_samples[..., None] * xp.exp(xp.minimum(scale - log_top[..., 0], 80.0))
    near = tail - log_top >= xp.log(0.5 + 0.5 * xp.minimum(mean, 1.0))[..., None]
    crowd = xp.sum(near.astype(int), axis=-1)
    return (crowd >= MIN_CROWD) | (k_hat(stats, xp, divided_by=2) < K_LIGHT)


def _tailed(columns: Any, length: int, xp: Any) -> Any:
    """The columns that keep a tail: all, or the first ones, where there are too many, and the last, a denominator's."""
    if length <= MAX_TAILED:
        return columns[..., :length]
    return xp.concatenate([columns[..., :MAX_TAILED], columns[..., -1:]], axis=-1)


def squares_that_count(log_tail: Any, xp: Any = np) -> Any:
    """(sum r^2)^2 / sum r^4 of the r >= 0 of a tail: how many equal squares would make the same variance."""
    top = log_tail[..., :1]
    known = log_tail > -xp.inf
    squares = xp.exp(2.0 * xp.where(known, log_tail - xp.where(top > -xp.inf, top, 0.0), -xp.inf))
    fourth = xp.sum(squares * squares, axis=-1)
    return xp.sum(squares, axis=-1) ** 2 / xp.where(fourth > 0, fourth, 1.0)


def status_codes(
    *,
    hits: Any,
    num_samples: Any,
    num_units: Any,
    value: Any,
    std_error: Any,
    k: Any,
    k_left: Any = np.nan,
    ess: Any,
    share: Any,
    bias: Any,
    nonfinite: Any,
    weak: Any = False,
    lacking: Any = False,
    hardly_met: Any = False,
    missed: bool,
    exact_interval: bool,
    indicator: bool = False,
    tied: Any = False,
    epsilon: float,
    xp: Any = np,
) -> Any:
    """The `Status` code of every output: the gravest that applies.

    `exact_interval` says that the interval is the binomial's own, right for any number of hits; weights are then all
    equal and cannot be dominated. `indicator` says that w f is 0 or 1, so that misses count like hits; `tied`, that all
    units were equal by chance; `lacking`, that large weights that were due have not come; `hardly_met`, that a
    component of the proposal was due to contribute and has not (`mcengine.dues`). `k_left` is the k-hat of what
    controls left, NaN where that is not worth a word: of a short tail it is rough, and raises no more than
    `HEAVY_TAIL`. What rounding left is no tail.
    """
    rounded = (std_error <= ROUNDING_ULPS * epsilon * xp.abs(value)) & (not exact_interval)
    k_any = xp.fmax(k, xp.where(rounded, xp.nan, k_left))
    scarce = xp.minimum(hits, num_samples - hits) if indicator or exact_interval else hits
    few = scarce < (MIN_HITS_BINOMIAL if exact_interval else MIN_HITS)
    tests = {
        Status.FEW_HITS: few,
        Status.FEW_UNITS: (num_units < MIN_UNITS) | tied | xp.zeros_like(few),
        Status.BUDGET_SPENT: missed & xp.ones_like(few),
        Status.BIASED: bias > MAX_BIAS * std_error,
        Status.ROUNDING: rounded,
        Status.HEAVY_TAIL: (k_any + _k_margin(k_any, hits, xp) > K_OPTIMISTIC) | lacking,
        Status.DOMINATED: ((share > MAX_SHARE) | (ess < MIN_ESS)) & (not exact_interval),
        Status.UNMET_COMPONENT: hardly_met & xp.ones_like(few),
        Status.UNRELIABLE: k > K_USELESS,
        Status.WEAK_DENOMINATOR: weak & xp.ones_like(few),
        Status.NO_HITS: hits == 0,
        Status.NON_FINITE: nonfinite,
    }
    code = xp.zeros(value.shape, dtype=xp.int32)
    for status, applies in tests.items():
        code = xp.where(applies, int(status), code)
    return code


def _k_margin(k: Any, hits: Any, xp: Any) -> Any:
    """One standard error of k-hat, (1 + k)/sqrt(M) shrunk by its prior of 10 of M + 10 values.

    Where the tail index is 1, a k-hat below 0.5 by chance is rare, but then the interval is far off. Short tails get no
    margin: it would flag light ones.
    """
    tail = xp.minimum(pareto.tail_size(hits, xp), MAX_TAIL).astype(k.dtype)
    return xp.where(hits > MIN_HITS_OF_MARGIN, (1.0 + k) * xp.sqrt(tail) / (tail + 10.0), 0.0)


def student_half_width(std_error: Any, num_units: Any, level: float) -> Any:
    """t_{units - 1} std_error, of the two-sided interval."""
    from scipy import special  # 0.2 s, which `import mcengine` need not pay

    dof = np.maximum(np.asarray(num_units, np.float64) - 1.0, 1.0)
    return special.stdtrit(dof, 0.5 + 0.5 * level) * np.asarray(std_error, np.float64)


def student_interval(value: Any, std_error: Any, num_units: Any, level: float) -> tuple[Any, Any]:
    """value -+ t_{units - 1} std_error, two-sided."""
    half_width = student_half_width(std_error, num_units, level)
    with np.errstate(invalid="ignore"):  # a value beyond the largest float
        return value - half_width, value + half_width


def binomial_interval(hits: Any, trials: Any, level: float) -> tuple[Any, Any]:
    """Clopper and Pearson's interval for a proportion: covers at least `level` for any number of hits."""
    from scipy import special  # as above

    hits, trials = np.asarray(hits, np.float64), np.asarray(trials, np.float64)
    tail = 0.5 * (1.0 - level)
    low = np.where(hits > 0, special.betaincinv(np.maximum(hits, 0.5), trials - hits + 1.0, tail), 0.0)
    inside = np.maximum(trials - hits, 0.5)
    high = np.where(hits < trials, special.betaincinv(hits + 1.0, inside, 1.0 - tail), 1.0)
    return low, high


def upper_bound_without_hits(num_samples: Any, largest: Any, level: float = 0.95) -> Any:
    """Bound on E_q[w f] when none of n samples hit and 0 <= w f <= `largest`: -log(1 - level) largest / n.

    At 95 % that is the rule of three, 3 sup(w f) / n. Without a bound on w f, no hits bound the hit rate alone.
    """
    return -np.log1p(-level) * largest / num_samples


def variance_ratio(reference_variance: Any, variance: Any) -> Any:
    """Variance of a reference estimator over this one's, at the same number of samples: above 1 is a gain."""
    return np.asarray(reference_variance) / np.asarray(variance)


def efficiency(variance: Any, seconds: Any) -> Any:
    """1 / (variance x seconds): the figure of merit that does not depend on the number of samples."""
    return 1.0 / (np.asarray(variance) * np.asarray(seconds))
