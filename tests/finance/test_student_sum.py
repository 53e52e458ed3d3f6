"""Tails of sums of Student-t variables: two derivations against each other and against closed forms."""

import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from mcengine.finance import student_sum_tail, tail_by_contour, tail_by_fft


@pytest.mark.parametrize("df", [1.0, 2.7, 5.0])
@pytest.mark.parametrize("x", [0.5, 5.0, 40.0, 300.0])
def test_one_term_is_the_student_t(df, x):
    exact = stats.t.sf(x, df)
    assert student_sum_tail(x, df, 1) == pytest.approx(exact, rel=1e-6)
    assert tail_by_contour(x, df, 1) == pytest.approx(exact, rel=1e-11)


@pytest.mark.parametrize("x", [0.5, 5.0, 40.0, 300.0])
def test_a_sum_of_cauchy_variables_is_cauchy(x):
    exact = 0.5 - math.atan(x / 4) / math.pi
    assert student_sum_tail(x, 1.0, 4) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(("df", "x"), [(2.7, 3.0), (2.7, 30.0), (4.0, 8.0)])
def test_two_terms_by_direct_convolution(df, x):
    norm = special.gamma((df + 1) / 2) / (special.gamma(df / 2) * math.sqrt(math.pi * df))

    def density(s):
        return norm * (1 + s * s / df) ** (-(df + 1) / 2)

    def piece(a, b):
        return integrate.quad(lambda s: density(s) * special.stdtr(df, s - x), a, b, epsrel=1e-11, epsabs=0)[0]

    ends = [-1e6, -1e3, -30, -3, 0, 3, x / 2, x, x + 30, x + 1e3, 1e6]
    direct = sum(piece(a, b) for a, b in zip(np.sort(ends)[:-1], np.sort(ends)[1:], strict=True))
    assert student_sum_tail(x, df, 2) == pytest.approx(direct, rel=1e-8)


@pytest.mark.parametrize(("df", "num_terms"), [(1.3, 10), (2.698, 10), (2.698, 3), (4.0, 30), (8.0, 10), (5.0, 2)])
def test_convolution_and_contour_agree(df, num_terms):
    compared = 0
    for x in (13.0, 16.0, 32.0, 51.0, 98.0, 323.0):
        by_fft, by_contour = tail_by_fft(x, df, num_terms), tail_by_contour(x, df, num_terms)
        if by_fft > 1e-7 and not math.isnan(by_contour):
            assert by_fft == pytest.approx(by_contour, rel=1e-6)
            compared += 1
    assert compared >= 2


def test_the_tables_are_good_to_1e_9_where_the_sp500_is():
    for x in (15.5, 31.9, 50.6, 97.7):
        assert tail_by_fft(x, 2.698, 10) == pytest.approx(tail_by_contour(x, 2.698, 10), rel=1e-9)


def test_far_out_the_tail_is_that_of_one_term():
    # P(S_n > x) / (n P(T > x)) goes to 1, which only the contour integral resolves.
    for df, x in ((2.7, 1e5), (5.0, 1e4)):
        assert student_sum_tail(x, df, 10) == pytest.approx(10 * stats.t.sf(x, df), rel=1e-4)


def test_both_tails():
    assert student_sum_tail(-3.0, 2.7, 5) + student_sum_tail(3.0, 2.7, 5) == pytest.approx(1, abs=1e-14)
    assert student_sum_tail(0.0, 2.7, 5) == pytest.approx(0.5, abs=1e-12)


def test_many_light_tailed_terms_are_nearly_normal():
    # 200 degrees of freedom, 50 terms: excess kurtosis 6/196/50, so the tail at 2 sigma is normal to 1e-4 or so.
    x = 2 * math.sqrt(50 * 200 / 198)
    assert student_sum_tail(x, 200.0, 50) == pytest.approx(stats.norm.sf(2), rel=1e-3)


def test_nan_where_neither_resolves_it():
    assert math.isnan(student_sum_tail(40.0, 100.0, 10))


@pytest.mark.parametrize(("df", "num_terms", "message"), [(0.9, 2, "df must lie in"), (3.0, 0, "at least one term")])
def test_bad_arguments_are_refused(df, num_terms, message):
    with pytest.raises(ValueError, match=message):
        student_sum_tail(5.0, df, num_terms)


def test_the_grid_has_an_end():
    with pytest.raises(ValueError, match="which the grid resolves"):
        tail_by_fft(1e5, 2.7, 10)
