"""The summary of a set of samples: moments of units, and statistics of samples."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from mcengine.numerics.arrays import AnyArray
from mcengine.summaries.component_sums import ComponentSums

# Outputs that keep a tail for k-hat, and how much of a tail.
MAX_TAILED = 16
MAX_TAIL = 768
# Units of at least this many samples are few, so that their skewness matters; antithetic pairs are thousands.
LONG_UNIT = 8
LOG_2 = float(np.log(2.0))


class Moments(eqx.Module):
    """Centred moments of C columns over units: column c stands for 2^exponent_c y_c.

    `m2` is sum (y - mean)^2 and `cross` is sum (y_c - mean_c)(y_a - mean_a) against the last A columns: the auxiliary
    ones (the denominator of a ratio, controls), or all of them. `total` is the sum of y over samples as two floats,
    high and low, right to 1e-13 where there are several outputs (see `mcengine.exact_sums`); else it has no columns.
    `third` is sum (y - mean)^3 where units are many samples, so that they are few and maybe skewed, and beside it for
    each denominator b, which are the last columns, the sums of the products y y b and y b b; else it has no columns.
    """

    count: Float[AnyArray, "*rows"]
    exponent: Float[AnyArray, "*rows C"]
    mean: Float[AnyArray, "*rows C"]
    m2: Float[AnyArray, "*rows C"]
    cross: Float[AnyArray, "*rows C A"]
    total: Float[AnyArray, "*rows C P"]
    third: Float[AnyArray, "*rows C D"]

    @property
    def log_scale(self) -> AnyArray:
        """The scale's natural logarithm, -inf where nothing contributes."""
        return self.exponent * LOG_2


class SampleStats(eqx.Module):
    """Sums over samples of |w f|, raw weights: column c stands for 2^exponent_c |y_c|.

    `log_tail` has the largest log |w f| in descending order, of the first `tail_hits` non-zero ones, for the columns D
    that keep a tail; `removed` is the sum of w' f - w f where a weighting changed w to w'. Where controls are taken out
    as many tails of |w f - beta c - its mean| follow, of the same samples: a heavy control shows there alone.
    """

    num_samples: Float[AnyArray, "*rows"]
    num_nonfinite: Float[AnyArray, "*rows"]
    exponent: Float[AnyArray, "*rows C"]
    sum_abs: Float[AnyArray, "*rows C"]
    sum_squares: Float[AnyArray, "*rows C"]
    max_abs: Float[AnyArray, "*rows C"]
    hits: Float[AnyArray, "*rows C"]
    removed: Float[AnyArray, "*rows C"]
    log_tail: Float[AnyArray, "*rows D T"]
    tail_hits: Float[AnyArray, "*rows D"]

    @property
    def log_scale(self) -> AnyArray:
        """The scale's natural logarithm, -inf where nothing contributes."""
        return self.exponent * LOG_2


class Summary(eqx.Module):
    """All that is kept of one block, or of many."""

    moments: Moments
    stats: SampleStats
    component_sums: ComponentSums | None = None
