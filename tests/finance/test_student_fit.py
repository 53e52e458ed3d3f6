"""The maximum-likelihood Student-t, against simulated data and SciPy's."""

import numpy as np
import pytest
from scipy import stats

from mcengine.finance import fit_student, load_prices


def likelihood(fit, returns):
    return stats.t.logpdf(returns, fit.df, fit.loc, fit.scale).sum()


@pytest.mark.parametrize(
    ("df", "loc", "scale"), [(2.7, 5e-4, 7e-3), (4.0, -0.3, 2.0), (12.0, 10.0, 0.1)], ids=["heavy", "moved", "light"]
)
def test_true_parameters_are_found(df, loc, scale):
    returns = stats.t.rvs(df, loc, scale, size=40_000, random_state=np.random.default_rng(1))
    fit = fit_student(returns)
    # Standard errors from the Fisher information: scale sqrt((df + 3)/(2 df n)) and scale sqrt((df + 3)/((df + 1) n)).
    n = returns.size
    assert abs(fit.loc - loc) < 4 * scale * np.sqrt((df + 3) / ((df + 1) * n))
    assert abs(fit.scale / scale - 1) < 4 * np.sqrt(2 * (df + 3) / (2 * df * n))
    assert abs(fit.df / df - 1) < 0.15


def test_as_good_as_scipy_on_the_sp500():
    returns = load_prices().log_returns
    fit, theirs = fit_student(returns), stats.t.fit(returns)
    assert likelihood(fit, returns) == pytest.approx(fit.log_likelihood, rel=1e-10)
    assert fit.log_likelihood >= likelihood(type(fit)(*theirs, 0.0), returns) - 1e-8
    np.testing.assert_allclose([fit.df, fit.loc, fit.scale], theirs, rtol=1e-3)


def test_the_gradient_vanishes_at_the_fit():
    returns = stats.t.rvs(3.0, 0.1, 0.5, size=500, random_state=np.random.default_rng(2))
    fit = fit_student(returns)
    best = likelihood(fit, returns)
    for i in range(3):
        for step in (-1e-3, 1e-3):
            moved = list(fit[:3])
            moved[i] += step * (fit.scale if i == 1 else moved[i])
            assert likelihood(type(fit)(*moved, 0.0), returns) < best


def test_units_do_not_matter():
    returns = stats.t.rvs(3.0, 0.1, 0.5, size=500, random_state=np.random.default_rng(3))
    a, b = fit_student(returns), fit_student(1e-4 * returns - 7.0)
    np.testing.assert_allclose([b.df, b.loc, b.scale], [a.df, 1e-4 * a.loc - 7.0, 1e-4 * a.scale], rtol=1e-4)


def test_light_tails_end_at_the_largest_df():
    assert fit_student(np.random.default_rng(4).uniform(size=1000)).df == pytest.approx(200)


@pytest.mark.parametrize(
    ("returns", "message"),
    [
        (np.linspace(-1, 1, 49), "at least 50 returns"),
        (np.zeros(60), "half of the returns are equal"),
        (np.r_[np.linspace(-1, 1, 60), np.nan], "return 60 is nan"),
    ],
)
def test_bad_returns_are_refused(returns, message):
    with pytest.raises(ValueError, match=message):
        fit_student(returns)
