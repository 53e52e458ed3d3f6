"""The status of an estimate: an ordered table of rules, each of which tests the findings of a run."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int32

from mcengine.numerics.arrays import AnyArray, AnyScalar, namespace
from mcengine.summaries.summary import MAX_TAIL
from mcengine.weights import pareto_tail

# An error bar from fewer hits is rough.
MIN_HITS = 30
# The binomial interval holds for any number of hits, but below this the value itself is rough.
MIN_HITS_BINOMIAL = 10
MIN_UNITS = 8
MIN_ESS = 25.0
MAX_SHARE = 0.25
K_OPTIMISTIC, K_USELESS = 0.5, 0.7
# Below this many hits the tail is a fifth of the samples, and the prior of k-hat dominates it.
MIN_HITS_OF_MARGIN = 225
# Rounding of the kernels' dtype, with room for the rounding of the densities.
ROUNDING_ULPS = 8.0
# A bias above this many standard errors makes the coverage fall below 0.93.
MAX_BIAS = 0.3


class Status(enum.IntEnum):
    """The result of the checks of an estimate, in order of severity; `sentence` says what to do next."""

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
    # The name of the last release.
    UNMET_COMPONENT = 8

    @property
    def sentence(self) -> str:
        """The status in words, with what to do about it."""
        return _SENTENCES[self]

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Findings:
    """The figures of K outputs that the status rules test.

    **Arguments** (arrays have shape [..., K] or broadcast to it):

    - `value`, `std_error`, `bias`: the estimates, their standard errors, and the absolute changes by the weighting.
    - `hits`, `num_samples`, `num_units`: samples with w f != 0, all samples, exchangeable units.
    - `k_hat`, `ess`, `largest_share`: the tail index of |w f| (NaN where there is no tail), the effective sample size,
      and max |w f| / sum |w f|.
    - `residual_k_hat`: the tail index of the residuals after controls; NaN where many squares make the variance.
    - `is_nonfinite`: some integrand values or weights, or the estimate itself, are not finite.
    - `is_tied`: all units are equal by chance.
    - `is_undersampled`: a component of the mixture proposal has contributed less than expected.
    - `lacks_weight`: the mean weight is a little below 1, so that large weights are probably missing.
    - `is_denominator_weak`: the denominator of a ratio is near 0 compared with its standard error.
    - `is_budget_spent`: the run ended before its tolerance was reached.
    - `is_binomial`: the interval is the binomial one, which holds for any number of hits; all weights are equal.
    - `is_indicator`: w f is 0 or 1, so that misses count like hits.
    - `epsilon`: the rounding unit of the kernels' dtype.
    """

    value: Float[AnyScalar, "..."]
    std_error: Float[AnyScalar, "..."]
    hits: Float[AnyScalar, "..."]
    num_samples: Float[AnyScalar, "..."]
    num_units: Float[AnyScalar, "..."]
    k_hat: Float[AnyScalar, "..."]
    ess: Float[AnyScalar, "..."]
    largest_share: Float[AnyScalar, "..."]
    bias: Float[AnyScalar, "..."] = 0.0
    residual_k_hat: Float[AnyScalar, "..."] = np.nan
    is_nonfinite: Bool[AnyScalar, "..."] = False
    is_tied: Bool[AnyScalar, "..."] = False
    is_undersampled: Bool[AnyScalar, "..."] = False
    lacks_weight: Bool[AnyScalar, "..."] = False
    is_denominator_weak: Bool[AnyScalar, "..."] = False
    is_budget_spent: bool = False
    is_binomial: bool = False
    is_indicator: bool = False
    epsilon: float = 0.0


Verdict = Bool[AnyScalar, "..."]


def has_few_hits(f: Findings) -> Verdict:
    """Whether there are few hits, or few misses of an indicator."""
    counts_misses = f.is_indicator or f.is_binomial
    scarce = namespace(f.hits).minimum(f.hits, f.num_samples - f.hits) if counts_misses else f.hits
    return scarce < (MIN_HITS_BINOMIAL if f.is_binomial else MIN_HITS)


def has_few_units(f: Findings) -> Verdict:
    """Whether there are too few units, or none that differ."""
    return (f.num_units < MIN_UNITS) | f.is_tied


def has_spent_budget(f: Findings) -> Verdict:
    """Whether the run ended before its tolerance was reached."""
    return f.is_budget_spent


def is_biased(f: Findings) -> Verdict:
    """Whether the bias is not small against the error bar."""
    return f.bias > MAX_BIAS * f.std_error


def is_rounded(f: Findings) -> Verdict:
    """Whether the error bar is no larger than rounding errors."""
    xp = namespace(f.value)
    return (f.std_error <= ROUNDING_ULPS * f.epsilon * xp.abs(f.value)) & (not f.is_binomial)


def has_heavy_tail(f: Findings) -> Verdict:
    """Whether the tail of |w f|, or of the residuals after controls, is not clearly light, or weights are missing.

    The tail index of residuals is rough, since their tails are short: it never makes an estimate UNRELIABLE. Residuals
    that are rounding errors have no tail.
    """
    xp = namespace(f.k_hat)
    k = xp.fmax(f.k_hat, xp.where(is_rounded(f), xp.nan, f.residual_k_hat))
    return (k + k_margin(k, f.hits) > K_OPTIMISTIC) | f.lacks_weight


def is_dominated(f: Findings) -> Verdict:
    """Whether a few samples have most of the weight."""
    return ((f.largest_share > MAX_SHARE) | (f.ess < MIN_ESS)) & (not f.is_binomial)


def has_undersampled_component(f: Findings) -> Verdict:
    """Whether a component of the mixture proposal has contributed less than expected."""
    return f.is_undersampled


def is_unreliable(f: Findings) -> Verdict:
    """Whether the tail index of |w f| is so large that the error bar is useless."""
    return f.k_hat > K_USELESS


def has_weak_denominator(f: Findings) -> Verdict:
    """Whether the denominator of a ratio is near 0 compared with its standard error."""
    return f.is_denominator_weak


def has_no_hits(f: Findings) -> Verdict:
    """Whether no sample contributed."""
    return f.hits == 0


def is_nonfinite(f: Findings) -> Verdict:
    """Whether values or weights were not finite."""
    return f.is_nonfinite


class StatusRule(NamedTuple):
    """A status, the predicate of findings that it is for, and its sentence."""

    status: Status
    applies: Callable[[Findings], Verdict]
    sentence: str


# In order of severity: the last rule that applies gives the status.
RULES = (
    StatusRule(
        Status.FEW_HITS, has_few_hits,
        "few hits, or few misses: the standard error is rough (the binomial interval of plain sampling still holds); "
        "draw more samples, or use a proposal closer to the event.",
    ),
    StatusRule(
        Status.FEW_UNITS, has_few_units,
        "few units: fewer than 8 exchangeable units give a rough error bar, and one unit, or units that are equal by "
        "chance, give none; raise the budget, or make units shorter.",
    ),
    StatusRule(
        Status.BUDGET_SPENT, has_spent_budget,
        "budget spent before the tolerance was reached: the interval holds, but it is longer than requested; raise "
        "max_samples, or use a better proposal or better points.",
    ),
    StatusRule(
        Status.BIASED, is_biased,
        "biased: the bias of the weighting, or of the finest level, is not small against the error bar; raise the "
        "weighting's limit or use raw weights, or allow finer levels.",
    ),
    StatusRule(
        Status.ROUNDING, is_rounded,
        "rounding is as large as the error bar: in float32 trust no more than 6 digits, or enable x64; in float64 no "
        "more than 14.",
    ),
    StatusRule(
        Status.HEAVY_TAIL, has_heavy_tail,
        "heavy-tailed weights or controls (k-hat is not clearly below 0.5, or that of the weights is above 0.1 and "
        "their mean is below 1): the interval is optimistic; use a proposal with heavier tails or a defensive mixture, "
        "lighter controls, or more samples.",
    ),
    StatusRule(
        Status.DOMINATED, is_dominated,
        "a few samples dominate (one has over a quarter of the weight, or ESS is below 25): do not trust the interval; "
        "bring the proposal closer to the target.",
    ),
    StatusRule(
        Status.UNDERSAMPLED_COMPONENT, has_undersampled_component,
        "a component of the mixture is undersampled: its expected contribution is larger than the error bar shows. Do "
        "not trust the interval; draw more samples, or leave that region to the components that fit it (mis.Power).",
    ),
    StatusRule(
        Status.UNRELIABLE, is_unreliable,
        "heavy-tailed weights (k-hat above 0.7): do not use the interval; change the proposal.",
    ),
    StatusRule(
        Status.WEAK_DENOMINATOR, has_weak_denominator,
        "the ratio's denominator is within five standard errors of 0: do not trust the interval; draw more samples, or "
        "use a proposal that is good for the denominator too.",
    ),
    StatusRule(
        Status.NO_HITS, has_no_hits,
        "no hits: the value is 0, and only the upper bound is informative; draw more samples, or use a proposal that "
        "reaches the event.",
    ),
    StatusRule(
        Status.NON_FINITE, is_nonfinite,
        "non-finite integrand values or weights were found and left out, or the value itself is beyond the largest "
        "float, or inside jit a control's mean is wrong: correct the integrand, the densities or the mean.",
    ),
)  # fmt: skip
_SENTENCES = {Status.OK: "ok.", **{rule.status: rule.sentence for rule in RULES}}


def status_codes(findings: Findings) -> Int32[AnyArray, "..."]:
    """The `Status` code of every output: the most severe one that applies."""
    xp = namespace(findings.value)
    codes = xp.zeros(np.shape(findings.value), dtype=xp.int32)
    for rule in RULES:
        codes = xp.where(rule.applies(findings), int(rule.status), codes)
    return codes.astype(xp.int32)


def k_margin(k: Float[AnyScalar, "..."], hits: Float[AnyScalar, "..."]) -> Float[AnyScalar, "..."]:
    """One standard error of k-hat, (1 + k) / sqrt(M), times M / (M + 10): its prior has the weight of 10 values.

    With this margin a tail of index 1 seldom passes for one of index 0.5, where the interval would be far off. Short
    tails get no margin: it would flag light ones.
    """
    xp = namespace(hits)
    length = xp.minimum(pareto_tail.tail_size(hits), MAX_TAIL).astype(k.dtype)
    return xp.where(hits > MIN_HITS_OF_MARGIN, (1.0 + k) * xp.sqrt(length) / (length + 10.0), 0.0)
