"""Weights from a fitted propensity: LaLonde's programme, whose effect an experiment knows and a survey hides."""

from pathlib import Path

import numpy as np
import pytest

import mcengine as mc

DATA = np.load(Path(__file__).parents[1] / "data" / "lalonde.npz")
EARNINGS, TREATED, SURVEYED = DATA["re78"].astype(float), DATA["treat"] == 1, DATA["sample"] == 1


def covariates():
    age, educ, before = (DATA[name].astype(float) for name in ("age", "educ", "re74"))
    kinds = [DATA[name].astype(float) for name in ("marr", "nodegree", "black", "hisp", "re75")]
    none = [DATA[name] == 0 for name in ("re74", "re75")]
    x = np.column_stack([age, age**2, age**3, educ, educ**2, before, educ * before, *kinds, *none])
    return np.column_stack([np.ones(len(x)), (x - x.mean(axis=0)) / x.std(axis=0)])


def fitted_log_odds(x, y):
    """Of a logistic regression, by Newton's method."""
    b = np.zeros(x.shape[1])
    for _ in range(30):
        e = 1.0 / (1.0 + np.exp(-x @ b))
        b += np.linalg.solve((x * (e * (1.0 - e))[:, None]).T @ x, x.T @ (y - e))
    assert np.abs(x.T @ (y - 1.0 / (1.0 + np.exp(-x @ b)))).max() < 1e-6
    return x @ b


def test_weights_turn_the_surveys_8498_too_little_into_the_experiments_1794():
    treated, by_lot = EARNINGS[TREATED], EARNINGS[~TREATED & ~SURVEYED]
    assert treated.mean() - by_lot.mean() == pytest.approx(1_794, abs=0.5)
    assert treated.mean() - EARNINGS[SURVEYED].mean() == pytest.approx(-8_498, abs=0.5)

    compared = TREATED | SURVEYED
    # What those treated would have earned otherwise: p / q of the survey's people is the odds of having been treated.
    log_odds = fitted_log_odds(covariates()[compared], TREATED[compared].astype(float))
    otherwise = mc.estimate_from(
        log_odds[SURVEYED[compared]], EARNINGS[SURVEYED], weighting=mc.weighting.SelfNormalised()
    )
    assert treated.mean() - otherwise.value == pytest.approx(1_782, abs=1)
    error = np.hypot(otherwise.std_error, treated.std() / np.sqrt(len(treated)))
    assert abs(treated.mean() - otherwise.value - 1_794) < 2 * error
    assert error < 800
    # Few of the survey are like them, and the status says that the error bar knows too little of it.
    assert otherwise.ess < 200
    assert otherwise.status is mc.Status.UNRELIABLE
