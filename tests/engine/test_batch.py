"""`estimate_batch`: each problem's estimate is the one it would have alone, and mistakes are named."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import mcengine as mc
from tests.compilations import compilations
from tests.statistics import covered, least_covered

KEY = jax.random.key(7)
SIZE = 21
PARAMETERS = {"loc": np.linspace(0.0, 1.0, SIZE), "scale": np.linspace(1.0, 2.0, SIZE)}


def score(x):
    return x


def tail(row):
    return mc.Probability(score, mc.Normal(row["loc"], row["scale"]), jnp.asarray([2.0, 3.0]))


def shifted(row):
    return mc.Normal(2.0, row["scale"])


TAILS, SHIFTED = mc.batch(tail, PARAMETERS), mc.batch(shifted, PARAMETERS)
SETTINGS = {
    "weighted": {"budget": mc.Samples(700)},
    "several_blocks": {"budget": mc.Samples(700), "execution": mc.Execution(block_size=256)},
    "self_normalised": {"budget": mc.Samples(512), "weighting": mc.weighting.SelfNormalised()},
    "sobol": {"budget": mc.Samples(1_024), "points": mc.points.Sobol()},
    "tolerance": {"budget": mc.Tolerance(rtol=0.1, max_samples=100_000)},
    "growing_sobol": {"budget": mc.Tolerance(rtol=0.05, max_samples=50_000), "points": mc.points.Sobol()},
    "two_functionals": {
        "budget": mc.Samples(512),
        "functional": {"mean": mc.Mean(), "variance": mc.Variance(), "risk": mc.TailRisk([0.9])},
    },
}
FAST = {"weighted", "tolerance"}


def agree(batch, single, *, rtol=1e-6):
    """Value to 1e-6; errors and intervals as float32 sums of squares allow."""
    for ours, alone in zip(jax.tree.leaves(batch.value), jax.tree.leaves(single.value), strict=True):
        np.testing.assert_allclose(ours, alone, rtol=rtol)
    pairs = (batch.std_error, single.std_error), (batch.interval(), single.interval())
    for ours, alone in pairs:
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5)


@pytest.mark.parametrize("name", [n if n in FAST else pytest.param(n, marks=pytest.mark.battery) for n in SETTINGS])
def test_each_problem_is_estimated_as_it_would_be_alone(name):
    options = SETTINGS[name]
    proposals = None if name == "two_functionals" else SHIFTED
    if name == "two_functionals":
        problems = mc.batch(lambda row: mc.Expectation(score, mc.Normal(row["loc"], row["scale"])), PARAMETERS)
    else:
        problems = TAILS
    found = mc.estimate_batch(KEY, problems, proposals, **options)
    for i in (0, 7, SIZE - 1):
        proposal = None if proposals is None else proposals[i]
        alone = mc.estimate(jax.random.fold_in(KEY, i), problems[i], proposal, **options)
        if isinstance(found, dict):
            for part in ("mean", "variance"):
                agree(found[part][i], alone[part], rtol=1e-5)
            np.testing.assert_allclose(found["risk"].value["quantile"][i], alone["risk"].value["quantile"], rtol=1e-6)
        else:
            agree(found[i], alone)
            assert found[i].num_samples == alone.num_samples


def test_controls_have_a_pilot_for_each_problem():
    problems = mc.batch(lambda row: mc.Expectation(Cubic(row["loc"]), mc.Normal(0.0, 1.0)), PARAMETERS)
    controls = mc.Controls(score, 0.0)
    found = mc.estimate_batch(KEY, problems, budget=mc.Samples(1_000), controls=controls)
    for i in (0, SIZE - 1):
        alone = mc.estimate(jax.random.fold_in(KEY, i), problems[i], budget=mc.Samples(1_000), controls=controls)
        np.testing.assert_allclose(found[i].value, alone.value, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found[i].std_error, alone.std_error, rtol=1e-4)


class Cubic(eqx.Module):
    """x^3 + slope x."""

    slope: jax.Array

    def __call__(self, x):
        return x**3 + self.slope * x


def test_the_bits_do_not_depend_on_the_other_problems_or_on_threads():
    def run(size, **options):
        some = {name: column[:size] for name, column in PARAMETERS.items()}
        problems, proposals = mc.batch(tail, some), mc.batch(shifted, some)
        return mc.estimate_batch(
            KEY, problems, proposals, budget=mc.Samples(5_000), execution=mc.Execution(**options), check_tails=0
        ).summary

    reference = run(SIZE)  # groups of eight
    for size, options in ((SIZE, {"threads": 1}), (3, {}), (10, {"devices": jax.devices()})):
        for ours, theirs in zip(jax.tree.leaves(run(size, **options)), jax.tree.leaves(reference), strict=True):
            np.testing.assert_array_equal(ours, theirs[:size])


def test_other_numbers_compile_nothing():
    mc.estimate_batch(KEY, TAILS, SHIFTED, budget=mc.Samples(700))
    others = {name: column + 0.25 for name, column in PARAMETERS.items()}
    with compilations() as compiled:
        mc.estimate_batch(KEY, mc.batch(tail, others), mc.batch(shifted, others), budget=mc.Samples(650))
    assert not compiled


def test_functions_made_afresh_may_close_over_the_row():
    problems = mc.batch(lambda row: mc.Expectation(lambda x: row["scale"] * x, mc.Normal(1.0, 0.1)), PARAMETERS)
    found = mc.estimate_batch(KEY, problems, budget=mc.Samples(400))
    np.testing.assert_allclose(found.value, PARAMETERS["scale"], rtol=0.05)


def test_shared_leaves_are_not_copied_and_a_threshold_array_stays_levels():
    from mcengine.engine.estimate_batch import _rows  # what a call would send to the device
    from mcengine.engine.options import Options
    from mcengine.engine.plan import plan_run

    run = plan_run(TAILS[0], None, Options(mc.Samples(100)))
    rows = _rows(run.task, run.functionals, TAILS, None)
    assert [leaf.shape for leaf, varies in zip(rows.leaves, rows.varies, strict=True) if not varies] == [(2,)]
    found = mc.estimate_batch(KEY, TAILS, SHIFTED, budget=mc.Samples(700))
    assert found.value.shape == (SIZE, 2)


def test_intervals_cover_over_many_problems():
    size = 2_000
    rows = {"loc": np.linspace(-1.0, 1.0, size)}
    problems = mc.batch(lambda row: mc.Probability(score, mc.Normal(row["loc"], 1.0), 1.0), rows)
    found = mc.estimate_batch(KEY, problems, mc.Normal(0.5, 1.3), budget=mc.Samples(512))
    low, high = found.interval()
    assert covered(low, high, norm.sf(1.0 - rows["loc"])) >= least_covered(size)
    assert found.status_counts[mc.Status.OK] > 0.99 * size


def test_heavy_tails_are_seen_without_tails():
    rows = {"df": np.asarray([40.0, 1.1, 40.0])}
    problems = mc.batch(lambda row: mc.Expectation(jnp.abs, mc.StudentT(row["df"])), rows)
    found = mc.estimate_batch(KEY, problems, budget=mc.Samples(4_096), check_tails=0)
    assert list(found.status_code == mc.Status.OK) == [True, False, True]
    checked = mc.estimate_batch(KEY, problems, budget=mc.Samples(4_096), check_tails=1)
    assert list(checked.tails_checked) == [1]
    assert np.isfinite(checked.pareto_k[1])
    assert np.isnan(checked.pareto_k[0])
    assert not checked.ok
    assert "3 problems" in str(checked)


def test_problems_that_miss_their_tolerance_say_so():
    found = mc.estimate_batch(KEY, TAILS, budget=mc.Tolerance(rtol=0.01, max_samples=20_000))
    assert np.all(found.status_code >= mc.Status.BUDGET_SPENT)
    assert np.all(found.num_samples <= 20_000)


def test_progress_is_reported():
    seen = []
    mc.estimate_batch(
        KEY, TAILS, SHIFTED, budget=mc.Samples(700), execution=mc.Execution(progress=lambda d, t: seen.append((d, t)))
    )
    assert seen[-1] == (SIZE * 700, SIZE * 700)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: mc.batch(tail, {"a": np.zeros(3), "b": np.zeros(4)}), ValueError, r"\['a'\] has 3, .*\['b'\] has 4"),
        (lambda: mc.batch(tail, {"a": np.zeros((0, 2))}), ValueError, r"no rows: parameters\['a'\] is empty"),
        (lambda: mc.batch(tail, {"a": np.zeros(3), "b": 1.0}), ValueError, r"\['b'\] is one number"),
        (lambda: mc.batch(tail, {"a": ["x", "y"]}), TypeError, r"\['a'\]\[0\] must be an array of numbers"),
        (lambda: mc.batch(tail, {}), ValueError, "hold no arrays"),
        (lambda: mc.batch(3.0, PARAMETERS), TypeError, "make must be a function"),
        (lambda: mc.estimate_batch(KEY, TAILS[0], budget=mc.Samples(9)), TypeError, r"problems must be mc\.batch"),
        (lambda: mc.estimate_batch(KEY, SHIFTED, budget=mc.Samples(9)), TypeError, "must return a problem"),
        (
            lambda: mc.estimate_batch(KEY, TAILS, mc.batch(shifted, {"scale": np.ones(3)}), budget=mc.Samples(9)),
            ValueError,
            "21 problems and 3 proposals",
        ),
        (lambda: mc.estimate_batch(KEY, TAILS, budget=mc.Seconds(1.0)), TypeError, "budget must be"),
        (lambda: mc.estimate_batch(KEY, TAILS, budget=None), TypeError, "budget must be"),
        (lambda: mc.estimate_batch(0, TAILS, budget=mc.Samples(9)), TypeError, "estimate_batch: key"),
        (
            lambda: mc.estimate_batch(KEY, TAILS, budget=mc.Tolerance(atol=0.1, finite_sample=True)),
            ValueError,
            "finite_sample",
        ),
        (
            lambda: mc.estimate_batch(
                KEY,
                mc.batch(lambda row: mc.Expectation(score, mc.Normal(row["loc"], 1.0)), PARAMETERS),
                mc.batch(lambda row: mc.Uniform(-10.0 + 10.0 * row["loc"], 10.0), PARAMETERS),
                budget=mc.Samples(9),
            ),
            ValueError,
            "no density at x",
        ),
        (lambda: TAILS[SIZE], IndexError, "no row 21"),
    ],
)
def test_mistakes_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
