"""Densities against SciPy's in float64, far tails included; off the support; gradients; a transport's own log q."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcengine import numerics
from mcengine.distributions import Distribution, Transport, event_struct, is_transport
from tests.distributions.cases import CASES

WITH_SCIPY = [c for c in CASES if c.scipy is not None]
# Points of the wild: the largest, the smallest and the zero of a float.
SIZE = 64
WILD = (0.0, 1e-38, -1e-38, 1e-20, 1e20, -1e20, 3e38, -3e38)


@eqx.filter_jit
def _compiled_log_probs(distribution, x):
    return jax.vmap(distribution.log_prob)(x)


def _log_probs(distribution, x):
    """Padded to one size, so that a distribution is compiled once for the whole file."""
    padded = jnp.concatenate([x, jnp.broadcast_to(x[:1], (SIZE - x.shape[0], *x.shape[1:]))])
    return np.asarray(_compiled_log_probs(distribution, padded))[: x.shape[0]]


@eqx.filter_jit
def _gradients(distribution, x):
    return jax.vmap(lambda point: eqx.filter_grad(lambda pair: pair[0].log_prob(pair[1]))((distribution, point)))(x)


@eqx.filter_jit
def _images(distribution, v):
    return jax.vmap(distribution.forward)(v)


def _points(case, values):
    dtype = jnp.float32 if case.values is None else jnp.int32
    return jnp.asarray(values, dtype)


@pytest.mark.parametrize("case", WITH_SCIPY, ids=lambda c: c.name)
def test_log_prob_is_scipys(case):
    x = np.asarray(_points(case, case.grid)).astype(float)
    exact = case.scipy.logpdf(x) if case.values is None else np.log(case.scipy.pmf(x))
    ours = _log_probs(case.make(), _points(case, case.grid)).astype(float)
    # Rounding of x itself moves the log density by (d log p / dx) |x| 2^-24.
    slope = np.abs(case.scipy.logpdf(x * (1 + 1e-6)) - exact) if case.values is None else 0.0
    slack = 2e-6 + 3e-6 * np.abs(exact) + 0.2 * np.where(np.isfinite(slope), slope, 0.0)
    assert np.all(np.abs(ours - exact) <= slack), (x, ours, exact)


@pytest.mark.parametrize("case", [c for c in CASES if c.off_support], ids=lambda c: c.name)
def test_log_prob_is_minus_infinity_off_the_support(case):
    assert np.all(_log_probs(case.make(), _points(case, case.off_support)) == -np.inf)


@pytest.mark.parametrize("name", ["categorical", "bernoulli", "poisson"])
def test_what_is_no_integer_has_no_probability(name):
    distribution = next(c for c in CASES if c.name == name).make()
    values = _log_probs(distribution, jnp.asarray([0.5, 1.25, -0.5]))
    assert np.all(values == -np.inf)
    assert distribution.log_prob(jnp.asarray(0.0)) == distribution.log_prob(jnp.asarray(0, jnp.int32))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_log_prob_of_any_finite_point_is_no_nan(case):
    distribution = case.make()
    shape = event_struct(distribution).shape
    points = _points(case, WILD if case.values is None else (0, 1, -1, 2**31 - 1, -(2**31)))
    x = jnp.broadcast_to(points.reshape(-1, *(1,) * len(shape)), (points.size, *shape))
    assert not np.any(np.isnan(_log_probs(distribution, x)))


@pytest.mark.parametrize("case", [c for c in CASES if c.values is None], ids=lambda c: c.name)
def test_gradients_are_finite_on_and_off_the_support(case):
    distribution = case.make()
    shape = event_struct(distribution).shape
    points = jnp.asarray([-50.0, -1.3, 0.2, 0.7, 1.2, 2.9, 40.0])
    x = jnp.broadcast_to(points.reshape(-1, *(1,) * len(shape)), (points.size, *shape))
    for leaf in jax.tree.leaves(_gradients(distribution, x)):
        assert np.all(np.isfinite(np.asarray(leaf)))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_transports_own_log_q_is_log_prob(case):
    distribution = case.make()
    assert isinstance(distribution, Transport)
    words = np.random.default_rng(5).integers(0, 2**32, (1, SIZE, distribution.num_uniforms), dtype=np.uint32)
    words[0, :8] = np.array([0, 1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1, 2**30, 3 * 2**30])[:, None]
    x, log_q = _images(distribution, numerics.centred_uniform(jnp.asarray(words)))
    log_prob = _log_probs(distribution, x)
    assert np.all(np.isfinite(np.asarray(log_q)))
    # The extreme ones are left out of the comparison: there the rounding of x moves the density.
    np.testing.assert_allclose(np.asarray(log_q)[8:], log_prob[8:], rtol=2e-5, atol=2e-5)
    assert np.all(np.isfinite(log_prob))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_protocol(case, key):
    distribution = case.make()
    assert isinstance(distribution, Distribution)
    assert is_transport(distribution)
    assert isinstance(distribution, Transport)
    struct = event_struct(distribution)
    assert struct.dtype == (jnp.float32 if case.values is None else jnp.int32)
    for side in distribution.support:
        assert np.broadcast_shapes(np.shape(side), struct.shape) == struct.shape
    for leaf in jax.tree.leaves(eqx.filter(distribution, eqx.is_array)):
        assert not leaf.aval.weak_type, "a weakly typed leaf would compile again"


@pytest.mark.parametrize("case", [c for c in WITH_SCIPY if c.name != "categorical"], ids=lambda c: c.name)
def test_the_support_is_scipys(case):
    lower, upper = case.make().support
    exact = case.scipy.support()
    np.testing.assert_allclose(float(lower), exact[0], rtol=1e-6)
    np.testing.assert_allclose(min(float(upper), 2**30), min(exact[1], 2**30), rtol=1e-6)


def test_an_event_of_the_wrong_shape_is_refused():
    for case in CASES:
        if case.name in ("pushforward", "affine"):  # the user's own function; said by the law inside
            continue
        with pytest.raises(ValueError, match="event has shape"):
            case.make().log_prob(jnp.zeros((7,)))


def test_new_parameters_compile_nothing():
    import mcengine.distributions as md

    traces = []

    @jax.jit
    def density(distribution, x):
        traces.append(distribution)
        return distribution.log_prob(x)

    x = jnp.asarray(0.5)
    for loc, df in [(0.0, 3), (1, 4.0), (np.float64(2.0), jnp.asarray(5)), (jnp.float32(3), np.int64(6))]:
        density(md.StudentT(df, loc, 2.0), x)
        density(md.Truncated(md.Normal(loc), -1.0, df), x)
        density(md.Mixture([md.Normal(loc), md.Normal(df)], [0.5, 0.5]), x)
        density(md.Box(loc - 10.0, df), x)
    assert len(traces) == 4
