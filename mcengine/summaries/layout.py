"""Where the columns of a summary lie, by name.

Columns are outputs first, then the denominators of ratios, which other outputs are divided by.
"""

from collections.abc import Sequence
from typing import NamedTuple

from mcengine.summaries.summary import Moments, SampleStats

# Of the columns of `Moments.third`: sum (y - mean)^3 of the column itself.
OWN_CUBES = 0


class SummaryLayout(NamedTuple):
    """The numbers of columns C, of cross terms A (against the last A columns), and of third moments D.

    D is 0, or 1 + 2 m for m denominators, which are the last m columns: `third` has the sums of y^3, and then for each
    denominator b those of y y b and y b b.
    """

    num_columns: int
    num_cross: int
    num_third: int

    @classmethod
    def of(cls, moments: Moments) -> "SummaryLayout":
        """The layout of a summary's moments."""
        return cls(moments.mean.shape[-1], moments.cross.shape[-1], moments.third.shape[-1])

    @property
    def first_cross(self) -> int:
        """The first column that `cross` has products with."""
        return self.num_columns - self.num_cross

    @property
    def denominators(self) -> range:
        """The columns of denominators that `third` has products with."""
        return range(self.num_columns - self.num_third // 2, self.num_columns)

    def cross_with(self, columns: Sequence[int]) -> list[int]:
        """Where `cross` has the products with some columns."""
        return [column - self.first_cross for column in columns]

    def cubes_with(self, denominator: int) -> tuple[int, int]:
        """Where `third` has the sums of y y b and of y b b, b the column `denominator`."""
        first = 1 + 2 * (denominator - self.denominators.start)
        return first, first + 1

    def third_with(self, denominators: Sequence[int]) -> list[int]:
        """Where `third` has the sums of y^3, and of the products with some denominators."""
        if not self.num_third:
            return []
        return [OWN_CUBES, *(position for column in denominators for position in self.cubes_with(column))]


def num_third(num_denominators: int) -> int:
    """How many columns `third` has."""
    return 1 + 2 * num_denominators


def take_columns(m: Moments, columns: Sequence[int], *, cross: Sequence[int], third: Sequence[int]) -> Moments:
    """The moments of some columns, with some of their cross terms and third moments."""
    some = list(columns)
    return Moments(
        count=m.count,
        exponent=m.exponent[..., some],
        mean=m.mean[..., some],
        m2=m.m2[..., some],
        cross=m.cross[..., some, :][..., list(cross)],
        total=m.total[..., some, :],
        third=m.third[..., some, :][..., list(third)],
    )


def take_stats(s: SampleStats, columns: Sequence[int], tails: Sequence[int]) -> SampleStats:
    """The statistics of some columns, and some of the tails."""
    some, of_tails = list(columns), list(tails)
    return SampleStats(
        num_samples=s.num_samples,
        num_nonfinite=s.num_nonfinite,
        exponent=s.exponent[..., some],
        sum_abs=s.sum_abs[..., some],
        sum_squares=s.sum_squares[..., some],
        max_abs=s.max_abs[..., some],
        hits=s.hits[..., some],
        removed=s.removed[..., some],
        log_tail=s.log_tail[..., of_tails, :],
        tail_hits=s.tail_hits[..., of_tails],
    )
