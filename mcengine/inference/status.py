"""The status of an estimate: what speaks against trusting its interval."""

import enum
from typing import Any

import numpy as np

from mcengine.summaries.summary import MAX_TAIL
from mcengine.weights import pareto_tail


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
    UNDERSAMPLED_COMPONENT = 8
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
    Status.UNDERSAMPLED_COMPONENT: "a component of the mixture is undersampled: its expected contribution is "
    "larger than the error bar shows. Do not trust the interval; draw more samples, or give that part to the components "
    "that fit it (mis.Power).",
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
# A run that has met none of the large weights that were due has too light a tail and a mean weight below 1, that of a
# normalised target. Further below than by so many of its standard errors, the target is not normalised.
K_MODEST, LACKING_ERRORS, UNNORMALISED_ERRORS = 0.1, 1.0, 6.0
# Below, the tail is a fifth of the samples and k-hat hardly more than its prior.
MIN_HITS_OF_MARGIN = 225
# Rounding of the kernels' dtype, with room for the densities' own.
ROUNDING_ULPS = 8.0
# Bias against standard error above which coverage falls below 0.93.
MAX_BIAS = 0.3


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
        Status.UNDERSAMPLED_COMPONENT: hardly_met & xp.ones_like(few),
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
    tail = xp.minimum(pareto_tail.tail_size(hits, xp), MAX_TAIL).astype(k.dtype)
    return xp.where(hits > MIN_HITS_OF_MARGIN, (1.0 + k) * xp.sqrt(tail) / (tail + 10.0), 0.0)
