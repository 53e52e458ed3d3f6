"""Few units whose means are skewed: their third moments, and intervals that are longer on the side of the skewness."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcengine as mc
from mcengine.inference.intervals import UNDERSTATED, skewed_sides
from tests.statistics import MIN_COVERED, covered

NORMAL = mc.Normal(0.0, 1.0)
UNIT, UNITS = 64, 16


def outputs(x):
    return {"exp": jnp.exp(x), "square": (x - 1.0) ** 2}


def means_of_units(key, problem, points, proposal=None):
    """The mean of each unit of a run: n times the mean of the first n units, minus the same for n - 1."""

    def total(n):
        run = mc.replicate(key[None], problem, proposal, budget=mc.Samples(n * UNIT), points=points)
        return jax.tree.map(lambda mean: n * mean[0], run.value)

    totals = [total(n) for n in range(1, UNITS + 1)]
    return {name: np.diff([0.0, *(of[name] for of in totals)]) for name in totals[0]}


@pytest.mark.parametrize("points", [mc.points.Sobol(UNIT), mc.points.LatinHypercube(UNIT)])
def test_skewness_is_that_of_the_units(key, points):
    problem = mc.Expectation(outputs, NORMAL)
    # Blocks of several units, and of half a unit where units may span blocks.
    sizes = [None, 128] + [32] * isinstance(points, mc.points.Sobol)
    for size in sizes:
        execution = mc.Execution(block_size=size)
        run = mc.estimate(key, problem, budget=mc.Samples(UNITS * UNIT), points=points, execution=execution)
        for name, units in means_of_units(key, problem, points).items():
            assert run.skewness[name] == pytest.approx(stats.skew(units, bias=False), rel=2e-3, abs=2e-3)


def test_skewness_of_a_ratio_is_that_of_its_residuals(key):
    target, points = mc.Normal(0.5, 0.8), mc.points.Sobol(UNIT)
    both = mc.Expectation(lambda x: {"f": jnp.exp(x), "one": jnp.ones_like(x)}, target)
    f, w = means_of_units(key, both, points, NORMAL).values()
    problem, weighting = mc.Expectation(jnp.exp, target), mc.weighting.SelfNormalised()
    ratio = mc.estimate(key, problem, NORMAL, budget=mc.Samples(UNITS * UNIT), points=points, weighting=weighting)
    assert ratio.value == pytest.approx(f.sum() / w.sum(), rel=1e-5)
    assert ratio.skewness == pytest.approx(stats.skew(f - f.sum() / w.sum() * w, bias=False), rel=5e-3)


@pytest.mark.parametrize(("block_size", "covariance"), [(32, "diagonal"), (128, "full"), (1024, None)])
def test_skewness_of_several_ratios_and_a_mean(key, block_size, covariance):
    # Columns of very different scales, two denominators, one of them negative; several blocks, several outputs.
    def columns(x):
        return {"f": 1e6 * jnp.exp(x), "g": x - 3.0, "h": 1e-6 * (2.0 + jnp.cos(x))}

    problem, points = mc.Expectation(columns, NORMAL), mc.points.Sobol(UNIT)
    ratios = {"fg": mc.Ratio("f", "g"), "gh": mc.Ratio("g", "h"), "f": mc.Mean("f")}
    run = mc.estimate(
        key, problem, budget=mc.Samples(UNITS * UNIT), points=points, functional=ratios, covariance=covariance,
        execution=mc.Execution(block_size=block_size),
    )  # fmt: skip
    units = means_of_units(key, problem, points)
    for name in ("fg", "gh"):
        above, below = (units[column] for column in name)
        sign = np.sign(below.mean())
        residuals = sign * (above - above.sum() / below.sum() * below)
        assert run[name].skewness == pytest.approx(stats.skew(residuals, bias=False), rel=1e-2)
    assert run["f"].skewness == pytest.approx(stats.skew(units["f"], bias=False), rel=5e-3)


def test_rounding_of_the_residuals_of_a_ratio_is_not_reported_as_skewness(key):
    keys = jax.random.split(key, 50)
    problem = mc.Expectation(lambda x: 300.0 + jnp.exp(x), NORMAL)
    runs = mc.replicate(
        keys, problem, mc.Normal(0.3, 1.1), budget=mc.Samples(1024), points=mc.points.Sobol(UNIT),
        weighting=mc.weighting.SelfNormalised(),
    )  # fmt: skip
    assert np.mean(np.isnan(runs.skewness)) > 0.9
    # And their error bars are right, although f is nearly proportional to w.
    assert np.mean(runs.status_codes == mc.Status.OK) > 0.9
    assert covered(*runs.interval(), 300.0 + np.exp(0.5)) >= 42


def test_skewness_is_the_same_in_a_trace_and_in_replicates(key):
    def run(key):
        return mc.estimate(key, mc.Expectation(jnp.exp, NORMAL), budget=mc.Samples(1024), points=mc.points.Sobol(UNIT))

    keys = jax.random.split(key, 3)
    many = mc.replicate(
        keys, mc.Expectation(jnp.exp, NORMAL), budget=mc.Samples(1024), points=mc.points.Sobol(UNIT)
    ).skewness
    traced = jax.jit(jax.vmap(run))(keys).skewness
    np.testing.assert_allclose(traced, many, rtol=1e-3)
    assert many[0] == pytest.approx(run(keys[0]).skewness, rel=1e-3)


@pytest.mark.parametrize("points", [mc.points.IID(), mc.points.Antithetic()])
def test_independent_samples_and_pairs_have_t_intervals(key, points):
    result = mc.estimate(key, mc.Expectation(jnp.exp, NORMAL), budget=mc.Samples(1000), points=points)
    assert np.isnan(result.skewness)
    half = stats.t.ppf(0.975, result.num_units - 1) * result.std_error
    np.testing.assert_allclose(result.interval(), [result.value - half, result.value + half])


def test_the_gradient_of_the_error_bar_is_that_without_skewness(key):
    def run(scale):
        problem = mc.Expectation(lambda x: jnp.exp(scale * x), NORMAL)
        return mc.estimate(key, problem, budget=mc.Samples(1024), points=mc.points.Sobol(UNIT))

    assert jax.grad(lambda s: run(s).skewness)(jnp.asarray(1.0)) == 0.0
    step = 1e-2
    by_differences = (run(1.0 + step).std_error - run(1.0 - step).std_error) / (2.0 * step)
    assert jax.grad(lambda s: run(s).std_error)(jnp.asarray(1.0)) == pytest.approx(by_differences, rel=1e-2)


def test_units_merge_with_independent_samples(key):
    first, second = jax.random.split(key)
    problem = mc.Expectation(jnp.exp, NORMAL)
    units = mc.estimate(first, problem, budget=mc.Samples(1024), points=mc.points.Sobol(UNIT))
    both = units.merge(mc.estimate(second, problem, budget=mc.Samples(1024)))
    assert both.num_units == 16 + 1024
    assert np.isnan(both.skewness)
    alike = units.merge(mc.estimate(second, problem, budget=mc.Samples(1024), points=mc.points.Sobol(UNIT)))
    assert alike.num_units == 32
    assert np.isfinite(alike.skewness)


@pytest.mark.parametrize("skewness", [0.1, 0.5, 1.0])
def test_sides_invert_the_transformation(skewness):
    quantile, lam = stats.t.ppf(0.975, UNITS - 1), UNDERSTATED * skewness / np.sqrt(UNITS)
    below, above = skewed_sides(quantile, skewness, UNITS)
    assert above > quantile == below  # that of t where the transformed end is nearer
    assert -above + lam * above**2 / 3 - lam**2 * above**3 / 27 + lam / 6 == pytest.approx(-quantile)
    np.testing.assert_allclose(skewed_sides(quantile, -skewness, UNITS), (above, below))


def test_sides_grow_with_the_skewness_to_twice_their_length():
    _, above = np.asarray([skewed_sides(2.1, skewness, UNITS) for skewness in np.linspace(0.0, 4.0, 41)]).T
    assert np.all(np.diff(above) >= 0)
    assert above[-1] == 4.2


@pytest.mark.parametrize("skewness", [0.0, np.nan, 1e-9])
def test_without_skewness_sides_are_student_t(skewness):
    np.testing.assert_allclose(skewed_sides(2.1, skewness, UNITS), (2.1, 2.1))
    # The skewness of fewer than 8 units is not used.
    np.testing.assert_allclose(skewed_sides(2.1, 1.0, 7), (2.1, 2.1))


@pytest.mark.parametrize("points", [mc.points.Sobol(), mc.points.Stratified(), mc.points.LatinHypercube()])
def test_skewed_units_are_covered(points):
    """Most of the variance that is left lies in the tail of exp X: t intervals cover in .87 to .90 of these runs."""
    keys = jax.random.split(jax.random.key(50_311), 400)
    runs = mc.replicate(keys, mc.Expectation(jnp.exp, NORMAL), budget=mc.Samples(4096), points=points)
    low, high = runs.interval()
    assert covered(low, high, np.exp(0.5)) >= MIN_COVERED[400]
    assert np.mean(runs.skewness) > 1.0
    # They are not simply long: the mean length is at most 1.45 times that of t intervals.
    assert np.mean((high - low) / (2 * stats.t.ppf(0.975, 15) * runs.std_error)) < 1.45


def test_intervals_of_even_units_are_hardly_longer():
    keys = jax.random.split(jax.random.key(50_312), 400)
    problem = mc.Expectation(jnp.tanh, mc.Normal(0.3, 1.0))
    runs = mc.replicate(keys, problem, budget=mc.Samples(4096), points=mc.points.Sobol())
    low, high = runs.interval()
    longer = (high - low) / (2 * stats.t.ppf(0.975, 15) * runs.std_error)
    assert np.mean(longer) < 1.1
    assert np.max(longer) < 1.51  # one side is that of t
