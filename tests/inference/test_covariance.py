"""Many outputs: what adds up sample by sample adds up in the estimate, and combinations have right error bars."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import mcengine as mc
from mcengine.numerics import exact_sums
from mcengine.summaries.merge import merge_all
from mcengine.summaries.merge_tree import MergeTree
from tests.statistics import MIN_COVERED, assert_honest, covered
from tests.summaries.test_summaries import row_of, sample

STANDARD = mc.Normal(0.0, 1.0)
EDGES = np.linspace(-4.0, 4.0, 99)
TOTAL = np.exp(0.5 * 0.3**2)


def total_and_bins(x):
    """exp(0.3 x), and the same by where x lies: 100 bins, the outer two without end."""
    total = jnp.exp(0.3 * x)
    lower, upper = np.append(-np.inf, EDGES), np.append(EDGES, np.inf)
    return {"bins": jnp.where((x >= lower) & (x < upper), total, 0.0), "total": total}


PROBLEM = mc.Expectation(total_and_bins, STANDARD)
# exp(0.3 x) phi(x) is a normal density about 0.3, times the total.
BINS = TOTAL * np.diff(norm.cdf(np.concatenate([[-np.inf], EDGES, [np.inf]]) - 0.3))
PAIR = mc.Expectation(lambda x: jnp.stack([x, x * x + 0.5 * x, jnp.exp(0.3 * x)]), STANDARD)


@pytest.mark.parametrize("proposal", [None, mc.Normal(0.5, 1.3)], ids=["plain", "weighted"])
@pytest.mark.parametrize("weighting", [mc.weighting.Raw(), mc.weighting.SelfNormalised(), mc.weighting.Truncated()])
def test_bins_add_up_to_their_total(proposal, weighting):
    execution = mc.Execution(block_size=512)
    result = mc.estimate(
        jax.random.key(3), PROBLEM, proposal, budget=mc.Samples(4_096), weighting=weighting, execution=execution
    )
    assert np.sum(result.value["bins"]) == pytest.approx(result.value["total"], rel=1e-12)
    assert result.value["total"] == pytest.approx(TOTAL, rel=0.05)


@pytest.mark.parametrize("points", [mc.points.Sobol(256), mc.points.Sobol(1024)], ids=["whole units", "in chunks"])
def test_bins_add_up_over_units_too(points):
    execution = mc.Execution(block_size=512)
    result = mc.estimate(jax.random.key(3), PROBLEM, points=points, budget=mc.Samples(8_192), execution=execution)
    assert np.sum(result.value["bins"]) == pytest.approx(result.value["total"], rel=1e-12)


def test_a_hundred_and_one_outputs_are_unbiased_over_many_seeds():
    runs = mc.replicate(jax.random.split(jax.random.key(11), 400), PROBLEM, budget=mc.Samples(1_000))
    np.testing.assert_allclose(np.sum(runs.value["bins"], axis=1), runs.value["total"], rtol=1e-12)
    for name, exact in (("total", TOTAL), ("bins", BINS)):
        values = np.asarray(runs.value[name])
        error = np.maximum(values.std(axis=0, ddof=1), 1e-6) / np.sqrt(400)
        z = (values.mean(axis=0) - exact) / error
        assert np.max(np.abs(np.where(exact > 1e-4, z, 0.0))) < 4.5
    low, high = runs.interval()
    assert covered(low["total"], high["total"], TOTAL) >= MIN_COVERED[400]


def test_exact_sums_are_right_where_float32_sums_are_not():
    y = np.random.default_rng(0).uniform(-1.0, 1.0, (3, 2**14)).astype(np.float32)
    y[1] = np.abs(y[1])
    high, low = np.moveaxis(np.asarray(exact_sums.exact_sums(jnp.asarray(y)), np.float64), -1, 0)
    truth = y.astype(np.float64).sum(axis=1)
    scale = np.abs(y).astype(np.float64).sum(axis=1)
    assert np.max(np.abs(high + low - truth) / scale) < 1e-13
    assert np.max(np.abs(np.asarray(jnp.sum(jnp.asarray(y), axis=1), np.float64) - truth) / scale) > 1e-10


def test_the_covariance_is_that_of_the_estimates():
    keys = jax.random.split(jax.random.key(5), 400)
    runs = mc.replicate(keys, PAIR, mc.Normal(0.3, 1.3), budget=mc.Samples(1_000), covariance="full")
    seen = np.cov(runs.value.T)
    reported = np.mean(runs.covariance, axis=0)
    scale = np.sqrt(np.outer(np.diag(seen), np.diag(seen)))
    np.testing.assert_allclose(reported / scale, seen / scale, atol=0.2)
    np.testing.assert_allclose(np.diagonal(runs.covariance, axis1=1, axis2=2), runs.std_error**2, rtol=1e-4)


@pytest.mark.parametrize("weighting", [mc.weighting.Raw(), mc.weighting.SelfNormalised()])
def test_a_combination_is_as_good_as_an_output_of_its_own(weighting):
    c = np.asarray([1.0, -0.5, 2.0])
    alone = mc.Expectation(lambda x: jnp.dot(jnp.asarray(c, jnp.float32), PAIR.integrand(x)), STANDARD)
    options = {"budget": mc.Samples(4_096), "weighting": weighting}
    together = mc.estimate(jax.random.key(1), PAIR, mc.Normal(0.3, 1.3), covariance="full", **options).combination(c)
    one = mc.estimate(
        jax.random.key(1), alone, mc.Normal(0.3, 1.3), execution=mc.Execution(block_size=4_096), **options
    )
    assert together.value == pytest.approx(one.value, rel=1e-5)
    assert together.std_error == pytest.approx(one.std_error, rel=1e-4)
    np.testing.assert_allclose(together.interval(0.9), one.interval(0.9), rtol=1e-4)


def test_intervals_of_a_combination_cover():
    keys = jax.random.split(jax.random.key(8), 400)
    runs = mc.replicate(keys, PAIR, budget=mc.Samples(1_000), covariance="full")
    # The second holds half of the first, so -x/2 + (x^2 + x/2) has variance 2 and not 1/4 + 9/4.
    c = np.asarray([-0.5, 1.0, 0.0])
    assert_honest(runs.combination(c), 1.0, widest_ratio=1.2)
    apart = np.sqrt(np.sum((c * runs.std_error) ** 2, axis=1))
    assert np.median(apart / runs.combination(c).std_error) > 1.1


def log_of_ratio(value):
    return {"log": jnp.log(value[1] / value[2]), "parts": value[:2] ** 2}


def test_functions_of_outputs_have_the_error_bars_of_the_delta_method():
    # E[x^2 + x / 2] = 1, E[exp(0.3 x)] = TOTAL, E[x] = 0: only there is the square not linear over its error bar.
    keys = jax.random.split(jax.random.key(10), 400)
    runs = mc.replicate(keys, PAIR, budget=mc.Samples(1_000), covariance="full")
    made = runs.function_of(log_of_ratio)
    low, high = made.interval()
    assert covered(low["log"], high["log"], -np.log(TOTAL)) >= MIN_COVERED[400]
    assert covered(low["parts"][:, 1], high["parts"][:, 1], 1.0) >= MIN_COVERED[400]
    spread = np.std(made.value["log"], ddof=1)
    assert np.median(made.std_error["log"]) == pytest.approx(spread, rel=0.15)


def test_a_ratio_by_the_delta_method_is_the_functionals_own():
    options = {"budget": mc.Samples(4_096), "execution": mc.Execution(block_size=4_096)}
    key, proposal = jax.random.key(1), mc.Normal(0.3, 1.3)
    ratio = mc.estimate(key, PAIR, proposal, functional=mc.Ratio(1, 2), **options)
    both = mc.estimate(key, PAIR, proposal, covariance="full", **options).function_of(lambda value: value[1] / value[2])
    assert both.value == pytest.approx(ratio.value, rel=1e-6)
    assert both.std_error == pytest.approx(ratio.std_error, rel=1e-5)
    in_jit = jax.jit(
        lambda key: mc.estimate(key, PAIR, proposal, covariance="full", **options).function_of(log_of_ratio)
    )(key)
    assert in_jit.std_error["log"] == pytest.approx(both.std_error / both.value, rel=1e-3)


def test_batches_give_error_bars_without_squares_of_samples():
    keys = jax.random.split(jax.random.key(9), 400)
    runs = mc.replicate(keys, PAIR, budget=mc.Samples(4_096), covariance=None)
    assert set(runs.num_units) == {64.0}
    assert np.all(np.isnan(runs.ess))
    first = mc.replicate(keys, mc.Expectation(lambda x: x, STANDARD), budget=mc.Samples(4_096), covariance=None)
    assert_honest(first, 0.0, widest_ratio=1.2)


@pytest.mark.parametrize("rows", [1, 5, 16, 37])
def test_rows_too_large_for_a_chunk_fold_in_the_same_tree(rows, monkeypatch):
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *[row_of(*sample(8, seed)) for seed in range(rows)])
    monkeypatch.setattr(MergeTree, "CHUNK_BYTES", 1)
    tree = MergeTree()
    for i in range(rows):
        tree.append(jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], stacked))
        assert len(tree._folded) <= 1 + int(np.log2(i + 1))
    jax.tree.map(np.testing.assert_array_equal, tree.merged(), merge_all(stacked))


def test_an_output_without_hits_has_no_variance_but_does_no_harm():
    problem = mc.Expectation(lambda x: jnp.stack([x, jnp.where(x > 9.0, 1.0, 0.0)]), STANDARD)
    result = mc.estimate(jax.random.key(0), problem, budget=mc.Samples(1_000), covariance="full")
    assert np.isnan(result.covariance[1]).all()
    assert np.isfinite(result.covariance[0, 0])
    assert result.combination([1.0, 1.0] @ np.eye(2)).std_error == pytest.approx(result.std_error[0], rel=1e-5)
    assert np.isnan(result.combination(np.asarray([0.0, 1.0])).std_error)


def test_diagonal_runs_know_variances_and_single_outputs():
    result = mc.estimate(jax.random.key(0), PAIR, budget=mc.Samples(1_000))
    np.testing.assert_array_equal(result.covariance, result.std_error**2)
    assert result.combination(np.asarray([0.0, -2.0, 0.0])).std_error == pytest.approx(2 * result.std_error[1])


def run(**options):
    return mc.estimate(jax.random.key(0), PAIR, budget=mc.Samples(256), **options)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: run(covariance="block"), 'covariance must be "diagonal", "full" or None'),
        (lambda: run().combination(np.ones(3)), "known only after"),
        (lambda: run().function_of(jnp.sum), "known only after"),
        (lambda: run(covariance="full").combination(np.ones(4)), "structure and shapes"),
        (lambda: run(covariance="full").combination({"a": 1.0}), "structure and shapes"),
        (lambda: run(covariance="full").combination(np.ones(3)).interval(1.0), "level must lie strictly"),
        (lambda: run().merge(run(covariance="full")), "not of the same problem"),
        (
            lambda: mc.estimate(
                jax.random.key(0),
                mc.Expectation(lambda x: x * jnp.ones(3_000), STANDARD),
                budget=mc.Samples(256),
                covariance="full",
            ),
            "at most 2,048 outputs",
        ),
    ],
)
def test_mistakes_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_list_of_coefficients_stands_for_an_array():
    result = run(covariance="full")
    number = len(np.atleast_1d(result.value))
    listed, array = (result.combination(c) for c in ([1.0] * number, np.ones(number)))
    assert (listed.value, listed.std_error) == (array.value, array.std_error)
