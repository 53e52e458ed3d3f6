"""The expected contributions of a mixture's components, and the status where one of them was undersampled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc
from mcengine.rendering import cosine_and_lamp, plane_light
from mcengine.weights import mis
from tests.statistics import covered, least_covered

HEURISTICS = [mc.mis.Balance(), mc.mis.Power(), mc.mis.Power(4.0), mc.mis.Cutoff(0.3), mc.mis.Maximum()]
MIXTURE = mc.mixture([mc.Normal(-1.0, 0.7), mc.Normal(0.5, 1.5)], [0.3, 0.7])
# Of w f and of its square, whose scale is 2^exponent and that squared.
SUMS = (("first", 2.0), ("second", 4.0))
SMOOTH = mc.Expectation(lambda x: jnp.exp(0.5 * x), mc.Normal(0.0, 1.0), exact=float(np.exp(0.125)))


@pytest.mark.parametrize("heuristic", HEURISTICS, ids=repr)
def test_expected_contributions_are_those_of_each_component(heuristic):
    # Discrete, so that sums over all (point, component) pairs are the expectations: by hand what k draws by itself.
    rng = np.random.default_rng(3)
    points, components = 7, 3
    c = rng.uniform(0.01, 1.0, (components, points)) ** 3
    c[1, 2] = c[0, 5] = 0.0
    target_and_f = rng.uniform(0.5, 2.0, points)
    with np.errstate(divide="ignore"):
        log_c = jnp.asarray(np.log(c), jnp.float32)
    h = np.exp(np.asarray(heuristic.log_weights(log_c), np.float64))
    wf = np.divide(h * target_and_f, c, out=np.zeros_like(c), where=c > 0)
    by_itself = np.sum(c * wf, axis=1), np.sum(c * wf**2, axis=1)
    from_all = np.zeros(components), np.zeros(components)
    for drawn_by in range(components):
        log_density = mis.log_density(heuristic, log_c, jnp.full(points, drawn_by))
        for power, factor in enumerate(mis.expected_contributions(heuristic, log_c, log_density)):
            seen = np.where(c[drawn_by] > 0, wf[drawn_by] ** (power + 1), 0.0)
            from_all[power][:] += np.sum(c[drawn_by] * np.nan_to_num(np.asarray(factor, np.float64)) * seen, axis=1)
    np.testing.assert_allclose(from_all, by_itself, rtol=1e-5)


@pytest.mark.parametrize(("block_size", "scale"), [(32, 1e-30), (None, 1.0)])
def test_expected_contributions_are_the_same_however_the_work_is_cut_up(key, block_size, scale):
    problem = mc.Expectation(lambda x: {"a": scale * jnp.exp(0.5 * x), "b": x}, mc.Normal(0.0, 1.0))
    options = {"budget": mc.Samples(2**11), "points": mc.points.Sobol(128)}
    found = [
        mc.estimate(key, problem, MIXTURE, execution=mc.Execution(block_size=size), **options)
        for size in (block_size, 128)
    ]
    sums = [run.summary.component_sums for run in found]
    firsts, seconds = ([getattr(of, name) * base ** of.exponent[:, None] for of in sums] for name, base in SUMS)
    np.testing.assert_allclose(*firsts, rtol=1e-5)
    np.testing.assert_allclose(*seconds, rtol=1e-5)
    np.testing.assert_allclose(sums[0].drawn, [0.3 * 2**11, 0.7 * 2**11], rtol=1e-5)
    # What both are due is all there is.
    np.testing.assert_allclose(firsts[0][0].sum() / 2**11, found[0].value["a"], rtol=1e-5)


LIGHTS = [
    pytest.param(0.5, mc.points.Sobol(), 256, id="a third of the runs meets the lamp by no cosine"),
    pytest.param(0.0, mc.points.Stratified(), 256, id="under the lamp", marks=pytest.mark.battery),
    pytest.param(2.0, mc.points.Sobol(), 1024, id="far away, where two runs in three see next to no variance"),
    pytest.param(2.0, mc.points.Lattice(), 4096, id="far away, met now and then", marks=pytest.mark.battery),
]


@pytest.mark.parametrize(("x", "points", "num_samples"), LIGHTS)
def test_a_lamp_hardly_met_by_the_cosines_is_flagged(key, x, points, num_samples):
    problem = plane_light(x=x)
    keys = jax.random.split(key, 400)
    runs = mc.replicate(keys, problem, cosine_and_lamp(problem), budget=mc.Samples(num_samples), points=points)
    low, high = runs.interval()
    ok = runs.status_code == mc.Status.OK
    assert set(np.unique(runs.status_code)) <= {mc.Status.OK, mc.Status.UNDERSAMPLED_COMPONENT}
    assert covered(low[ok], high[ok], problem.exact) >= least_covered(int(ok.sum()))
    if covered(low, high, problem.exact) < least_covered(400):
        assert ok.mean() < 0.9


def test_fixed_counts_are_flagged_too(key):
    # Straight under the lamp all that the lamp's samples bring is constant.
    problem = plane_light()
    proposal = mc.multi_sample(cosine_and_lamp(problem).components, (4, 4))
    runs = mc.replicate(jax.random.split(key, 400), problem, proposal, budget=mc.Samples(256))
    low, high = runs.interval()
    ok = runs.status_code == mc.Status.OK
    assert covered(low, high, problem.exact) < least_covered(400)
    assert covered(low[ok], high[ok], problem.exact) >= least_covered(int(ok.sum()))


@pytest.mark.parametrize(
    "heuristic", [mc.mis.Power(), pytest.param(mc.mis.Maximum(), marks=pytest.mark.battery)], ids=repr
)
def test_weights_that_leave_the_lamp_to_its_samples_need_no_flag(key, heuristic):
    problem = plane_light(x=0.5)
    options = {"budget": mc.Samples(256), "points": mc.points.Sobol(), "mis": heuristic}
    runs = mc.replicate(jax.random.split(key, 400), problem, cosine_and_lamp(problem), **options)
    assert np.mean(runs.status_code == mc.Status.OK) > 0.98
    assert covered(*runs.interval(), problem.exact) >= least_covered(400)


@pytest.mark.parametrize(
    ("points", "num_samples"),
    [(mc.points.Antithetic(), 256), (mc.points.Sobol(), 4096), (mc.points.Lattice(tent=True), 256)],
    ids=repr,
)
def test_components_that_all_meet_the_integrand_are_not_flagged(key, points, num_samples):
    options = {"budget": mc.Samples(num_samples), "points": points}
    runs = mc.replicate(jax.random.split(key, 400), SMOOTH, MIXTURE, **options)
    assert np.mean(runs.status_code == mc.Status.OK) > 0.98


@pytest.mark.parametrize("share", [0.003, 0.02])
@pytest.mark.parametrize("points", [mc.points.Sobol(), mc.points.Lattice(tent=True)], ids=repr)
def test_a_small_share_whose_samples_all_contribute_is_not_flagged(key, points, share):
    proposal = mc.defensive(mc.Normal(0.0, 1.0), mc.Normal(0.5, 1.0), share=share)
    runs = mc.replicate(jax.random.split(key, 400), SMOOTH, proposal, budget=mc.Samples(256), points=points)
    assert not np.any(runs.status_code == mc.Status.UNDERSAMPLED_COMPONENT)
    assert covered(*runs.interval(), SMOOTH.exact) >= 0.9 * 400


def test_components_as_controls_under_other_weights_are_not_flagged(key):
    # What a control is does not depend on who drew the sample, as weights do: nothing can be told.
    options = {"budget": mc.Samples(512), "points": mc.points.Sobol(), "mis": mc.mis.Power(8.0)}
    runs = mc.replicate(jax.random.split(key, 50), SMOOTH, MIXTURE, controls=mc.Components(), **options)
    assert runs.summary.component_sums is None
    assert not np.any(runs.status_code == mc.Status.UNDERSAMPLED_COMPONENT)


@pytest.mark.parametrize("share", [0.002, 0.02])
def test_equal_contributions_are_not_flagged(key, share):
    # A rare component that does what the other does: all weights are 1, and nothing is left to vary.
    twins = mc.mixture([mc.Normal(0.0, 1.0), mc.Normal(0.0, 1.0)], [1.0 - share, share])
    constant = mc.Expectation(lambda x: jnp.full_like(x, 3.0), mc.Normal(0.0, 1.0))
    runs = mc.replicate(jax.random.split(key, 100), constant, twins, budget=mc.Samples(256), points=mc.points.Sobol())
    assert not np.any(runs.status_code == mc.Status.UNDERSAMPLED_COMPONENT)


def test_every_functional_has_its_own(key):
    problem = plane_light()
    both = mc.Expectation(lambda d: {"light": problem.integrand(d), "up": d[2]}, problem.target)
    options = {"budget": mc.Samples(256), "points": mc.points.Sobol()}
    options["functional"] = [mc.Mean(), mc.Mean("up"), mc.Mean("light")]
    keys = jax.random.split(key, 40)
    all_of_it, up, light = mc.replicate(keys, both, cosine_and_lamp(problem), **options)
    assert not np.any(up.status_code)
    np.testing.assert_array_equal(all_of_it.status_codes["light"], light.status_code)
    np.testing.assert_array_equal(all_of_it.status_codes["up"], up.status_code)
    assert set(light.status_code) == {mc.Status.OK, mc.Status.UNDERSAMPLED_COMPONENT}


def test_merged_estimates_keep_what_both_have(key):
    first, second, third = jax.random.split(key, 3)
    options = {"budget": mc.Samples(512), "points": mc.points.Sobol()}
    a, b = (mc.estimate(one, SMOOTH, MIXTURE, **options) for one in (first, second))
    np.testing.assert_allclose(a.merge(b).summary.component_sums.drawn, [0.3 * 1024, 0.7 * 1024], rtol=1e-5)
    independent = mc.estimate(third, SMOOTH, MIXTURE, budget=mc.Samples(512))
    assert independent.summary.component_sums is None
    assert a.merge(independent).summary.component_sums is None
    other = mc.mixture(MIXTURE.components, [0.6, 0.4])
    assert a.merge(mc.estimate(third, SMOOTH, other, **options)).summary.component_sums is None
    three = mc.mixture([*MIXTURE.components, mc.Normal(0.0, 2.0)], [0.3, 0.4, 0.3])
    assert a.merge(mc.estimate(third, SMOOTH, three, **options)).summary.component_sums is None


def test_a_tolerance_reached_by_chance_is_flagged(key):
    # Units that grow stop as soon as they agree, which they do while none of them has met the lamp by a cosine.
    problem, budget = plane_light(x=6.0), mc.Tolerance(rtol=1e-3, atol=0.0, max_samples=2**16)
    options = {"budget": budget, "points": mc.points.Sobol()}
    runs = [mc.estimate(one, problem, cosine_and_lamp(problem), **options) for one in jax.random.split(key, 10)]
    missed = [run for run in runs if not run.interval()[0] <= problem.exact <= run.interval()[1]]
    assert len(missed) > 5
    assert all(run.status == mc.Status.UNDERSAMPLED_COMPONENT for run in missed)
