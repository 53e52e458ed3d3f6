"""Checks of the moments of units: signs that an error bar is too small."""

from jaxtyping import Bool, Float

from mcengine import numerics
from mcengine.inference.residuals import error_of_means, pairs
from mcengine.inference.spec import EstimateSpec
from mcengine.numerics.arrays import AnyArray, namespace
from mcengine.summaries.columns import finite
from mcengine.summaries.component_sums import ComponentSums
from mcengine.summaries.summary import Moments, Summary

# Standard errors between a denominator and 0 below which the intervals of the delta method do not cover. For weights it
# is an ESS of 25.
LEAST_DENOMINATOR = 5.0
# With more units than this, equal units are no accident: so it is with fixed counts in strata where f is constant.
MAX_TIED = 256
# Sums in float32 that differ by less than this, relatively, are of equal values.
SAME = 1e-5
# A run without the rare large weights has a light tail and a mean weight below 1, if the target is normalised. If the
# mean is further below 1 than the last number of its standard errors, the target is not normalised.
K_MODEST, LACKING_ERRORS, UNNORMALISED_ERRORS = 0.1, 1.0, 6.0
# A component is undersampled if fewer than 20 effective contributions, or fewer than 0.5 per unit, are expected from
# it: no points spread so few evenly, and they vary like counts of rare events.
FEW_CONTRIBUTIONS, CONTRIBUTIONS_PER_UNIT = 20.0, 0.5
# And its contributions are rare among its draws: if nearly every draw of a component with a small weight contributes
# about the same, any other draw would do.
RARE = 0.5
# And its own variance is more than this many times the variance of the units.
MISSING = 2.0


def units_are_tied(summary: Summary, spec: EstimateSpec, k: Float[AnyArray, "*batch D"]) -> Bool[AnyArray, "*batch K"]:
    """Outputs whose units are equal to the last bit although the samples in them differ.

    Discrete values, whose tail index `k` is NaN, can do so by chance: 16 units that count 10 hits of 64 each. Equal
    means of other values are equal up to rounding only. Residuals after controls may be 0 for a good reason.
    """
    m, s, number = summary.moments, summary.stats, spec.num_outputs
    xp = namespace(m.m2)
    if spec.controlled:
        return xp.zeros(m.m2[..., :number].shape, dtype=bool)
    equal = m.m2[..., :number] == 0
    if spec.self_normalised:
        equal = equal & (m.m2[..., -1:] == 0)
    num_samples, sum_abs = s.num_samples[..., None], s.sum_abs[..., :number]
    scale = numerics.two_to(finite(m.exponent[..., :number]) - finite(s.exponent[..., :number]))
    sum_signed = xp.abs(m.mean[..., :number]) * scale * num_samples
    vary = sum_signed < (1.0 - SAME) * sum_abs
    vary = vary | (s.max_abs[..., :number] * num_samples > (1.0 + SAME) * sum_abs)
    few = (m.count < MAX_TIED) & (m.count < s.num_samples)
    return equal & vary & xp.isnan(k[..., :number]) & few[..., None]


def undersampled_outputs(summary: Summary, spec: EstimateSpec) -> Bool[AnyArray, "*batch K"]:
    """Outputs to which a component of the mixture proposal contributes less than expected.

    Only means: the residuals of a ratio differ from the samples of its numerator.
    """
    xp = namespace(summary.moments.mean)
    nowhere = xp.zeros(summary.moments.mean[..., : spec.num_outputs].shape, dtype=bool)
    if summary.component_sums is None or spec.self_normalised:
        return nowhere
    found = _is_undersampled(summary.component_sums, summary)
    return xp.concatenate([found, nowhere[..., found.shape[-1] :]], axis=-1)


def _is_undersampled(sums: ComponentSums, summary: Summary) -> Bool[AnyArray, "*batch D"]:
    """Whether some component is undersampled and its variance is missing in the units, for the first outputs."""
    m, xp, num_tailed = summary.moments, namespace(sums.exponent), sums.exponent.shape[-1]
    scale = numerics.two_to(finite(m.exponent[..., :num_tailed]) - finite(sums.exponent))
    seen = scale**2 * m.m2[..., :num_tailed] / pairs(m)[..., None]
    squared, second = sums.first**2, sums.second
    few = squared < second * xp.minimum(CONTRIBUTIONS_PER_UNIT * m.count, FEW_CONTRIBUTIONS)[..., None, None]
    within = second - squared / xp.where(sums.drawn > 0, sums.drawn, 1.0)[..., None, :]
    missing = within > MISSING * (seen * summary.stats.num_samples[..., None] ** 2)[..., None]
    return xp.any(few & (within > RARE * second) & missing, axis=-1)


def has_weak_denominator(m: Moments) -> Bool[AnyArray, "*batch 1"]:
    """Whether the last column's mean is not clearly away from 0."""
    return ~(namespace(m.mean).abs(m.mean[..., -1:]) > LEAST_DENOMINATOR * error_of_means(m.m2[..., -1:], m))


def has_missing_weights(summary: Summary, k: Float[AnyArray, "*batch 1"]) -> Bool[AnyArray, "*batch 1"]:
    """Whether weights with tail index k are not light, and their mean (before truncation) is a little below 1.

    The expected weight is 1 if the target is normalised; else the mean is usually many standard errors away from 1.
    """
    m, s = summary.moments, summary.stats
    mean_scale, removed_scale = (numerics.two_to(finite(x.exponent[..., -1:])) for x in (m, s))
    error = mean_scale * error_of_means(m.m2[..., -1:], m)
    gap = 1.0 - mean_scale * m.mean[..., -1:] + removed_scale * s.removed[..., -1:] / s.num_samples[..., None]
    below = (gap > LACKING_ERRORS * error) & (gap < UNNORMALISED_ERRORS * error)
    return below & (k > K_MODEST)
