"""Multilevel Monte Carlo on a hierarchy whose means, variances and rates are known."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc
from tests.statistics import least_covered

LIMIT, BIAS, NOISE = 3.0, 0.8, 0.5


class Approximation(eqx.Module):
    """P = 2 + z_0^2 and BIAS h + NOISE sqrt(2) h z_1 away from it, with h = 2^-level: rates 1 and 1."""

    h: jax.Array = eqx.field(converter=jnp.asarray)
    correction: bool = eqx.field(static=True)

    def __call__(self, z):
        if self.correction:  # h less 2 h
            return -self.h * (BIAS + np.sqrt(2.0) * NOISE * z[1])
        return 2.0 + z[0] ** 2 + self.h * (BIAS + np.sqrt(2.0) * NOISE * z[1])


TARGET = mc.Normal(np.zeros(2), 1.0)


def levels(level):
    return mc.Expectation(Approximation(0.5**level, level > 0), TARGET), 2.0**level


def check_tolerance(key, atol, num_runs):
    runs = [
        mc.multilevel(k, levels, budget=mc.Tolerance(atol=atol), weak_order=1.0)
        for k in jax.random.split(key, num_runs)
    ]
    errors = np.asarray([run.value - LIMIT for run in runs])
    assert np.sum(np.abs(errors) <= atol) >= 0.95 * num_runs
    low, high = np.asarray([run.interval() for run in runs]).T
    assert np.sum((low <= LIMIT) & (high >= LIMIT)) >= least_covered(num_runs)
    # As short as requested, and not much shorter.
    assert np.mean((high - low) / 2 <= atol) >= 0.9
    assert np.mean(high - low) > 2 * 0.6 * atol
    assert sum(run.ok for run in runs) >= 0.85 * num_runs
    # The standard errors are those of the spread about E[P_L].
    finest = LIMIT + BIAS * 0.5 ** np.asarray([len(run.levels) - 1 for run in runs])
    scores = [(run.value - mean) / run.std_error for run, mean in zip(runs, finest, strict=True)]
    # Four standard errors of a spread and of a mean.
    assert abs(np.std(scores) - 1.0) < 4 / np.sqrt(2 * num_runs)
    assert abs(np.mean(scores)) < 4 / np.sqrt(num_runs)


def test_the_error_is_within_the_tolerance_and_intervals_cover(key):
    check_tolerance(key, 0.2, 20)


@pytest.mark.battery
@pytest.mark.parametrize("atol", [0.1, 0.02])
def test_the_error_is_within_the_tolerance_in_95_of_100_runs(key, atol):
    check_tolerance(key, atol, 100)


def test_the_results_of_the_levels_are_the_known_ones(key):
    run = mc.multilevel(key, levels, budget=mc.Tolerance(atol=0.005))
    finest = len(run.levels) - 1
    assert run.bias == pytest.approx(BIAS * 0.5**finest, rel=0.35)
    assert run.weak_order == pytest.approx(1.0, abs=0.15)
    assert run.strong_order == pytest.approx(1.0, abs=0.1)
    for line in run.levels[1:]:
        assert line.mean == pytest.approx(-BIAS * 0.5**line.level, abs=5 * line.std_error)
        assert line.variance == pytest.approx(2 * (NOISE * 0.5**line.level) ** 2, rel=0.4)
    assert run.cost == sum(line.num_samples * 2.0**line.level for line in run.levels)
    assert run.std_error == pytest.approx(np.sqrt(sum(x.variance / x.num_samples for x in run.levels)), rel=1e-6)
    counts = [line.num_samples for line in run.levels]
    assert counts == sorted(counts, reverse=True)


def test_a_cost_is_spent_near_the_best_allocation(key):
    runs = [mc.multilevel(k, levels, budget=mc.Samples(40_000), weak_order=1.0) for k in jax.random.split(key, 10)]
    assert all(0.95 * 40_000 <= run.cost <= 40_000 for run in runs)
    low, high = np.asarray([run.interval() for run in runs]).T
    assert np.sum((low <= LIMIT) & (high >= LIMIT)) >= least_covered(10)
    # Near the best split of the cost among the levels used; fine levels have their least count.
    for run in runs:
        variances = [2 + 2 * NOISE**2, *(2 * (NOISE * x.cost**-1.0) ** 2 for x in run.levels[1:])]
        best = sum(np.sqrt(v * x.cost) for v, x in zip(variances, run.levels, strict=True)) ** 2 / run.cost
        actual = sum(v / x.num_samples for v, x in zip(variances, run.levels, strict=True))
        assert actual < 1.15 * best


def test_the_cost_grows_like_the_inverse_square_of_the_tolerance(key):
    first, second = jax.random.split(key)
    coarse = mc.multilevel(first, levels, budget=mc.Tolerance(atol=0.04), weak_order=1.0)
    fine = mc.multilevel(second, levels, budget=mc.Tolerance(atol=0.01), weak_order=1.0)
    assert 8 < fine.cost / coarse.cost < 25
    # Plain sampling of the finest level, to the same standard error.
    plain = 2 / fine.std_error**2 * fine.levels[-1].cost
    assert plain / fine.cost > 10


def test_the_same_key_gives_the_same_numbers():
    first, again = (mc.multilevel(jax.random.key(3), levels, budget=mc.Tolerance(atol=0.05)) for _ in range(2))
    assert [x.mean for x in first.levels] == [x.mean for x in again.levels]


def test_differences_are_levels_too(key):
    # E[exp(X)] for X ~ N(0, (0.3 + h)^2): both from the same uniforms.
    def growth(h):
        return mc.Expectation(jnp.exp, mc.Normal(0.0, 0.3 + h))

    def pairs(level):
        h = 0.5 ** (level + 2)
        return (mc.difference(growth(h), growth(2 * h)) if level else growth(h)), 1.0 + level

    run = mc.multilevel(key, [pairs(level) for level in range(6)], budget=mc.Samples(200_000))
    low, high = run.interval(0.999)
    assert low <= np.exp(0.045) <= high
    a, b = 0.3 + 1 / 8, 0.3 + 1 / 4
    variance = np.exp(2 * a**2) + np.exp(2 * b**2) - 2 * np.exp((a + b) ** 2 / 2)
    variance -= (np.exp(a**2 / 2) - np.exp(b**2 / 2)) ** 2
    assert run.levels[1].variance == pytest.approx(variance, rel=0.2)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"budget": mc.Tolerance(atol=0.02), "max_level": 2}, mc.Status.BIASED),
        ({"budget": mc.Samples(300_000), "max_level": 2}, mc.Status.BIASED),
        ({"budget": mc.Tolerance(atol=0.001, max_samples=20_000), "max_level": 12}, mc.Status.BUDGET_SPENT),
    ],
)
def test_a_goal_that_is_missed_is_a_status(key, options, status):
    run = mc.multilevel(key, levels, weak_order=1.0, **options)
    assert run.status == status
    assert not run.ok
    low, high = run.interval()
    assert low <= LIMIT <= high


def test_a_level_that_is_not_finite_has_that_status(key):
    def broken(level):
        problem, cost = levels(level)
        return (problem if level != 2 else mc.Expectation(lambda z: jnp.sqrt(z[0]), TARGET)), cost

    run = mc.multilevel(key, broken, budget=mc.Samples(50_000))
    assert run.status == mc.Status.NON_FINITE
    assert run.levels[2].status == mc.Status.NON_FINITE


def test_the_result_is_readable_and_goes_into_json(key):
    run = mc.multilevel(key, levels, budget=mc.Samples(20_000))
    plain = json.loads(json.dumps(run.to_dict()))
    assert plain["value"] == run.value
    assert len(plain["levels"]) == len(run.levels)
    assert set(plain) >= {"low", "high", "bias", "std_error", "weak_order", "strong_order", "cost", "status"}
    text = str(run)
    assert "status: " in text
    assert text.count("\n") == len(run.levels) + 3
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        run.interval(1.0)


PLAIN = mc.Expectation(lambda z: z[0], TARGET)
TOLERANCE = mc.Tolerance(atol=0.1)


@pytest.mark.parametrize(
    ("levels", "options", "error", "words"),
    [
        (levels, {"budget": mc.Seconds(1.0)}, TypeError, r"mc.Tolerance\(rtol, atol\) or mc.Samples"),
        (levels, {"budget": mc.Tolerance(rtol=0.1)}, ValueError, "give atol besides rtol"),
        (levels, {"budget": mc.Samples(100)}, ValueError, "worth 100 samples of level 0 is less than"),
        (levels, {"budget": TOLERANCE, "bias_share": 1.0}, ValueError, "bias_share must lie"),
        (levels, {"budget": TOLERANCE, "max_level": 0}, ValueError, "at least two levels"),
        (levels, {"budget": TOLERANCE, "max_level": 2.5}, ValueError, "max_level must be a whole number.*got 2.5"),
        *[
            (levels, {"budget": TOLERANCE, "weak_order": order}, ValueError, "weak_order must be a positive number")
            for order in (-1.0, 0.0, float("nan"), float("inf"), "1")
        ],
        *[
            (levels, {"budget": TOLERANCE, "pilot": pilot}, ValueError, "pilot must be a whole number of at least 2")
            for pilot in (0, -1, 1, 1.5)
        ],
        (7, {"budget": TOLERANCE}, TypeError, "a function of the level or a list"),
        ([(PLAIN, 1.0)], {"budget": TOLERANCE}, ValueError, "at least two levels"),
        ([PLAIN, PLAIN], {"budget": TOLERANCE}, TypeError, "level 0 must be a pair"),
        ([(PLAIN, 1.0), (PLAIN, 0.0)], {"budget": TOLERANCE}, ValueError, "cost of a sample of level 1 must be posit"),
        ([(mc.Expectation(lambda z: z, TARGET), 1.0)] * 2, {"budget": TOLERANCE}, ValueError, "level 0 has 2 outputs"),
    ],
)
def test_mistakes_are_named(levels, options, error, words):
    with pytest.raises(error, match=words):
        mc.multilevel(jax.random.key(0), levels, **options)


def test_inside_a_trace_it_raises(key):
    with pytest.raises(TypeError, match="cannot be called inside jit"):
        jax.jit(lambda k: mc.multilevel(k, levels, budget=TOLERANCE).value)(key)
