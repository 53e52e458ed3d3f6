"""`sample` and `log_prob` are twins: a chi-square test of one against the integral of the other, for every family."""

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mcengine import numerics
from mcengine.distributions import event_struct, prefers_sample_many, sample_many
from tests.distributions.cases import CASES

NUM = 100_000
# A right distribution fails with this probability; the seeds are fixed.
LEVEL = 1e-4
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(40)


@eqx.filter_jit
def _images(distribution, v):
    return jax.vmap(distribution.forward, in_axes=-1)(v)[0]


@eqx.filter_jit
def _log_densities(distribution, points):
    return jax.vmap(distribution.log_prob)(points)


@eqx.filter_jit
def _one_by_one(distribution, keys):
    return jax.vmap(distribution.sample)(keys)


_at_once = eqx.filter_jit(sample_many)


def _nodes_of_axis(edges, low, high, exponent=8):
    """Quadrature nodes, their weights and the bin of each, for the bins between low, the edges and high.

    The outermost bins are mapped so that a singular end (x^-0.7) and a long tail (x^-1.7) are smooth.
    """
    s, ds = 0.5 * (NODES + 1.0), 0.5 * NODE_WEIGHTS
    span = edges[-1] - edges[0]
    nodes, weights, bins = [], [], []

    def add(x, dx, number):
        nodes.append(x), weights.append(dx), bins.append(np.full(x.shape, number))

    for number, (a, b) in enumerate(pairwise(edges), start=1):
        add(a + (b - a) * s, (b - a) * ds, number)
    for end, edge, number, side in ((low, edges[0], 0, -1.0), (high, edges[-1], len(edges), 1.0)):
        if np.isfinite(end):
            if abs(edge - end) > 2.0 * span:  # a far end: the mass lies by the edge
                near = edge + side * span
                add(edge + (near - edge) * s, span * ds, number)
                edge = near
            distance = s**exponent
            add(end + (edge - end) * distance, abs(edge - end) * exponent * s ** (exponent - 1) * ds, number)
        else:
            # x = edge + span (t^-e - 1) for t in (0, 1): a tail x^-(1 + a) becomes t^(e a - 1).
            t, e = s, 4
            add(edge + side * span * (t**-e - 1.0), span * e * t ** (-e - 1) * ds, number)
    return np.concatenate(nodes), np.concatenate(weights), np.concatenate(bins)


def _expected_continuous(distribution, pilot, bins_per_axis):
    """Bin edges from the pilot sample, and the integral of exp(log_prob) over each bin."""
    shape = event_struct(distribution).shape
    pilot = pilot.reshape(pilot.shape[0], -1)
    lower, upper = (np.broadcast_to(np.asarray(side, float), shape).ravel() for side in distribution.support)
    edges, axes = [], []
    for i in range(pilot.shape[1]):
        inner = np.quantile(pilot[:, i], np.arange(1, bins_per_axis) / bins_per_axis)
        edges.append(inner)
        axes.append(_nodes_of_axis(inner, lower[i], upper[i]))
    grid = np.stack(np.meshgrid(*(a[0] for a in axes), indexing="ij"), -1).reshape(-1, len(axes))
    weight = np.prod(np.stack(np.meshgrid(*(a[1] for a in axes), indexing="ij"), -1).reshape(-1, len(axes)), axis=1)
    number = np.stack(np.meshgrid(*(a[2] for a in axes), indexing="ij"), -1).reshape(-1, len(axes))
    points = jnp.asarray(grid.reshape(-1, *shape), jnp.float32)
    log_density = np.asarray(_log_densities(distribution, points), float)
    assert not np.any(np.isnan(log_density))
    flat = np.ravel_multi_index(tuple(number.T.astype(int)), (bins_per_axis,) * len(axes))
    return edges, np.bincount(flat, weight * np.exp(log_density), bins_per_axis ** len(axes))


def _count(samples, edges, bins_per_axis):
    samples = samples.reshape(samples.shape[0], -1)
    number = [np.searchsorted(inner, samples[:, i]) for i, inner in enumerate(edges)]
    flat = np.ravel_multi_index(tuple(number), (bins_per_axis,) * len(edges))
    return np.bincount(flat, minlength=bins_per_axis ** len(edges))


def _p_value(observed, expected):
    assert expected.sum() == pytest.approx(1.0, abs=2e-3), "the density does not integrate to 1"
    expected = expected / expected.sum() * observed.sum()
    rare = expected < 8
    if rare.any():  # pooled, as the chi-square approximation asks
        observed = np.append(observed[~rare], observed[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    possible = expected > 0
    assert np.all(observed[~possible] == 0)
    statistic = np.sum((observed - expected)[possible] ** 2 / expected[possible])
    return stats.chi2.sf(statistic, possible.sum() - 1)


def _many(distribution, key):
    """NUM samples through `forward`, fed from one generator outside, which saves compiling it for each of them."""
    words = np.random.Generator(np.random.Philox(key=np.asarray(jax.random.key_data(key)).astype(np.uint64)))
    bits = words.integers(0, 2**32, (1, distribution.num_uniforms, NUM), dtype=np.uint32)
    return np.asarray(_images(distribution, numerics.centred_uniform(jnp.asarray(bits))))


@pytest.mark.parametrize("case", [c for c in CASES if c.values is None], ids=lambda c: c.name)
def test_continuous_samples_follow_the_density(case, key):
    _follow_the_density(case, key, _many)


@pytest.mark.parametrize("case", [c for c in CASES if prefers_sample_many(c.make())], ids=lambda c: c.name)
def test_samples_by_the_cheaper_way_follow_the_density_too(case, key):
    _follow_the_density(case, key, lambda distribution, key: np.asarray(_at_once(distribution, key, NUM)))


def _follow_the_density(case, key, draw):
    distribution = case.make()
    pilot_key, main_key = jax.random.split(key)
    bins = 40 if event_struct(distribution).shape == () else 6
    edges, expected = _expected_continuous(distribution, draw(distribution, pilot_key), bins)
    samples = draw(distribution, main_key)
    assert np.all(np.isfinite(samples))
    assert _p_value(_count(samples, edges, bins), expected) > LEVEL


@pytest.mark.parametrize("case", [c for c in CASES if c.values is not None], ids=lambda c: c.name)
def test_discrete_samples_follow_the_probabilities(case, key):
    distribution = case.make()
    samples = _many(distribution, key)
    assert samples.dtype == np.int32
    values = jnp.asarray(case.values, jnp.int32)
    expected = np.exp(np.asarray(jax.vmap(distribution.log_prob)(values), float))
    observed = np.array([np.sum(samples == value) for value in case.values])
    assert observed.sum() >= NUM - 5
    assert _p_value(observed, expected) > LEVEL


@pytest.mark.parametrize("name", ["gamma", "student-t"])
def test_one_by_one_is_the_same_law_as_many_at_once(name, key):
    case = next(c for c in CASES if c.name == name)
    distribution = case.make()
    one_key, many_key = jax.random.split(key)
    one = np.asarray(_one_by_one(distribution, jax.random.split(one_key, 20_000)))
    many = _many(distribution, many_key)
    assert stats.ks_2samp(one, many).pvalue > LEVEL


def test_the_harness_sees_a_wrong_scale(key):
    right, wrong = CASES[0].make(), type(CASES[0].make())(1.0, 2.6)
    edges, expected = _expected_continuous(right, _many(right, key), 40)
    assert _p_value(_count(_many(wrong, jax.random.fold_in(key, 1)), edges, 40), expected) < LEVEL
