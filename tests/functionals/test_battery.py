"""Every functional passes the same checks: a new functional is one more line in `CASES`."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcengine as mc
from tests.statistics import covered, least_covered

TARGET, PROPOSAL = mc.Normal(1.0, 1.0), mc.Normal(1.5, 1.3)
KEYS = jax.random.split(jax.random.key(20261128), 400)


def two_outputs(x):
    """An asymmetric pair: x and exp(x / 2), whose moments under N(1, 1) are known."""
    return {"x": x, "growth": jnp.exp(0.5 * x)}


class Case(NamedTuple):
    """A functional of `two_outputs` under N(1, 1), the part of its value that is checked, and the exact value of it."""

    functional: mc.Functional
    part: Callable
    exact: float


MEAN_GROWTH = np.exp(0.5 + 0.125)
CASES = {
    "mean": Case(mc.Mean("growth"), lambda tree: tree, MEAN_GROWTH),
    "ratio": Case(mc.Ratio("growth", "x"), lambda tree: tree, MEAN_GROWTH),
    "variance": Case(mc.Variance("growth"), lambda tree: tree, np.exp(1.5) - np.exp(1.25)),
    "covariance": Case(mc.Covariance("x", "growth"), lambda tree: tree, 0.5 * MEAN_GROWTH),
    "exceedance": Case(
        mc.ProbabilityOfExceeding([2.0, 0.0], "x"), lambda tree: tree[..., 0], stats.norm.sf(2.0, loc=1.0)
    ),
    "histogram": Case(
        mc.Histogram([0.0, 2.0, 3.0], output="x"),
        lambda tree: tree[..., 1],
        stats.norm.sf(2.0, loc=1.0) - stats.norm.sf(3.0, loc=1.0),
    ),
    "quantile": Case(mc.TailRisk([0.9], "x"), lambda tree: tree["quantile"][..., 0], stats.norm.ppf(0.9, loc=1.0)),
}
PROBLEM = mc.Expectation(two_outputs, TARGET)
SETTINGS = {
    "plain": {"proposal": None},
    "weighted": {"proposal": PROPOSAL},
    "self_normalised": {"proposal": PROPOSAL, "weighting": mc.weighting.SelfNormalised()},
    "sobol": {"proposal": PROPOSAL, "points": mc.points.Sobol()},
}
FAST = {("variance", "weighted"), ("covariance", "self_normalised"), ("exceedance", "sobol")}


def marked(name, setting):
    marks = () if (name, setting) in FAST else pytest.mark.battery
    return pytest.param(name, setting, marks=marks, id=f"{name}-{setting}")


@pytest.mark.parametrize(("name", "setting"), [marked(name, setting) for name in CASES for setting in SETTINGS])
def test_intervals_cover(name, setting):
    case = CASES[name]
    runs = mc.replicate(KEYS, PROBLEM, budget=mc.Samples(2_048), functional=case.functional, **SETTINGS[setting])
    low, high = (np.asarray(case.part(side)) for side in runs.interval())
    value = np.asarray(case.part(runs.value))
    assert covered(low, high, case.exact) >= least_covered(len(KEYS))
    # Intervals over 16 scrambles are longer: Student's, and up to twice that on the side of the skewness.
    widest = 2.0 if setting == "sobol" else 1.3
    assert np.median(high - low) < widest * 2 * 1.96 * np.std(value)


@pytest.mark.parametrize("name", CASES)
def test_it_says_what_it_gives(name):
    functional = CASES[name].functional
    assert isinstance(functional, mc.Functional)
    assert type(functional).__doc__
    assert functional.keeps_samples in (True, False)
    columns, below = functional.columns(two_outputs(jnp.asarray(0.3)))
    assert jax.tree.leaves(columns)
    assert below is None or jnp.shape(below) == ()


def test_a_functional_of_ones_own_is_one_class(key):
    class SecondMoment(mc.Functional):
        """E[f^2]."""

        def columns(self, value):
            return value**2, None

    found = mc.estimate(key, mc.Expectation(lambda x: x, TARGET), budget=mc.Samples(4_096), functional=SecondMoment())
    assert abs(found.value - 2.0) < 5 * found.std_error


def test_a_functional_without_columns_cannot_be_made():
    class Nothing(mc.Functional):
        """States nothing."""

    with pytest.raises(TypeError, match="columns"):
        Nothing()
