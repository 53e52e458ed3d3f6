"""The residuals of estimates over units: what their variances, skewness and covariances are made of.

The residual of a mean is w f - mean(w f). That of a ratio R = mean(w f) / mean(w) is w f - R w, whose mean is 0: by the
delta method the variance of R is that of the mean residual, divided by mean(w)^2.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mcengine.inference.spec import EstimateSpec
from mcengine.numerics.arrays import AnyArray, AnyScalar, namespace
from mcengine.summaries.layout import OWN_CUBES, SummaryLayout
from mcengine.summaries.summary import Moments, Summary


class Residuals(NamedTuple):
    """The residuals of K outputs in n units, on the outputs' own scales.

    `ratio` R is in units of the two scales' quotient; `denominator` is mean(w), or 1 where it is 0. Both are None for
    means.
    """

    moments: Moments
    num_outputs: int
    ratio: Float[AnyArray, "*batch K"] | None
    denominator: Float[AnyArray, "*batch 1"] | None

    def sum_squares(self) -> Float[AnyArray, "*batch K"]:
        """sum (w f - R w)^2 of every output, up to rounding, which may make it negative."""
        m, r = self.moments, self.ratio
        own = m.m2[..., : self.num_outputs]
        if r is None:
            return own
        return own - 2.0 * r * m.cross[..., : self.num_outputs, -1] + r**2 * m.m2[..., -1:]

    def products(self) -> Float[AnyArray, "*batch K K"]:
        """sum (w f_i - R_i w) (w f_j - R_j w) of all pairs, where cross terms of all outputs were kept."""
        m, r, k = self.moments, self.ratio, self.num_outputs
        own = m.cross[..., :k, :k]
        if r is None:
            return own
        with_w = m.cross[..., :k, -1]
        return (
            own
            - r[..., :, None] * with_w[..., None, :]
            - with_w[..., :, None] * r[..., None, :]
            + r[..., :, None] * r[..., None, :] * m.m2[..., -1, None, None]
        )

    def sum_cubes(self) -> Float[AnyArray, "*batch K"]:
        """sum (w f - R w)^3 of every output, with the sign of mean(w), where third moments were kept."""
        m, r = self.moments, self.ratio
        third = m.third[..., : self.num_outputs, :]
        cubes = third[..., OWN_CUBES]
        if r is None or self.denominator is None:
            return cubes
        layout = SummaryLayout.of(m)
        twice_f, twice_w = layout.cubes_with(layout.num_columns - 1)
        of_w = m.third[..., -1:, OWN_CUBES]
        cubes = cubes - 3.0 * r * third[..., twice_f] + 3.0 * r**2 * third[..., twice_w] - r**3 * of_w
        return namespace(cubes).where(self.denominator < 0, -cubes, cubes)


def residuals_of(summary: Summary, spec: EstimateSpec) -> Residuals:
    """The residuals of an estimate's outputs; the last column is the denominator of a self-normalised one."""
    if not spec.self_normalised:
        return Residuals(summary.moments, spec.num_outputs, None, None)
    mean = means(summary)
    denominator = namespace(mean).where(mean[..., -1:] != 0, mean[..., -1:], 1.0)
    return Residuals(summary.moments, spec.num_outputs, mean[..., : spec.num_outputs] / denominator, denominator)


def means(summary: Summary) -> Float[AnyArray, "*batch C"]:
    """Mean of every column, from exact totals where they were kept."""
    total = summary.moments.total
    if total.shape[-1] == 0:
        return summary.moments.mean
    return (total[..., 0] + total[..., 1]) / summary.stats.num_samples[..., None]


def pairs(m: Moments) -> Float[AnyScalar, "*batch"]:
    """n (n - 1) of n units: a sum of squares divided by it is the variance of a mean."""
    xp = namespace(m.count)
    return xp.maximum(m.count, 1.0) * xp.maximum(m.count - 1.0, 1.0)


def error_of_means(squares: Float[AnyArray, "*batch K"], m: Moments) -> Float[AnyArray, "*batch K"]:
    """sqrt(squares / (n (n - 1))), the standard errors of means of n units with these sums of squares.

    Its derivative at 0 and below is 0, so that a gradient of a zero variance is not NaN; NaN stays NaN.
    """
    xp, variance = namespace(squares), squares / pairs(m)[..., None]
    none = variance <= 0
    return xp.where(none, 0.0, xp.sqrt(xp.where(none, 1.0, variance)))


def sample_residuals(y: Float[np.ndarray, " n"], w: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """y - mean(y) (w - 1) of samples y with weights w whose mean is 1: the residuals of a ratio, about mean(y)."""
    return y - (w - 1.0) * y.mean()
