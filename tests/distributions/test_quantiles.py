"""The inverse distribution functions that no formula gives: gamma, beta, Poisson and Student-t against SciPy's."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import mcengine.distributions as md
from mcengine.distributions import beta_tails, gamma_tails

# Centred uniforms: both tails from 2^-33 to 1/2, as float32 has them.
_TAIL = 2.0 ** -np.linspace(33.0, 1.0, 49)
V = np.concatenate([_TAIL, -_TAIL]).astype(np.float32).astype(float)
SHAPES = np.array([0.05, 0.3, 0.8, 1.0, 1.7, 5.0, 30.0, 1e3, 1e4]).astype(np.float32).astype(float)
TINY = 2e-38


@eqx.filter_jit
def _forward(law, v):
    return law.forward(v)[0]


def _at_every(parameter):
    """The parameters, one row each, against all of V."""
    return np.repeat(np.asarray(parameter, float), V.size), np.tile(V, np.size(parameter))


def _as_float32(*arrays):
    return tuple(jnp.asarray(a, jnp.float32) for a in arrays)


def test_gamma_is_inverted_for_every_shape_in_both_tails():
    shape, v = _at_every(SHAPES)
    x = np.asarray(_forward(md.Gamma(shape), _as_float32(v)[0]), float)
    exact = np.where(v > 0, special.gammaincinv(shape, np.abs(v)), special.gammainccinv(shape, np.abs(v)))
    seen = exact > TINY
    np.testing.assert_allclose(x[seen], exact[seen], rtol=1.5e-5)
    # What is smaller than the floats is the smallest of them.
    assert np.all(x[~seen] <= 1.2 * TINY)
    assert np.all(x > 0)
    # The error of a shape of 0.05 is that of log(p) over 0.05; large shapes are as exact as a float.
    np.testing.assert_allclose(x[shape > 50], exact[shape > 50], rtol=6e-7)


def test_beta_is_inverted_for_every_pair_of_shapes_in_both_tails():
    alpha, beta = (a.ravel() for a in np.meshgrid(SHAPES, SHAPES))
    (alpha, v), (beta, _) = _at_every(alpha), _at_every(beta)
    law = md.Beta(alpha, beta)
    x = np.asarray(_forward(law, _as_float32(v)[0]), float)
    exact = np.where(v > 0, special.betaincinv(alpha, beta, np.abs(v)), special.betainccinv(alpha, beta, np.abs(v)))
    seen = exact > TINY
    np.testing.assert_allclose(x[seen], exact[seen], rtol=3e-5)
    assert np.all((x > 0) & (x < 1))
    # 1 - x, which the sample itself cannot say near 1, is as exact inside.
    logs = _as_float32(*np.where(v > 0, [np.log(np.abs(v)), np.log1p(-np.abs(v))], [np.log1p(v), np.log(np.abs(v))]))
    y = np.asarray(_complement(*_as_float32(alpha, beta), *logs), float)
    rest = np.where(v > 0, special.betainccinv(beta, alpha, np.abs(v)), special.betaincinv(beta, alpha, np.abs(v)))
    np.testing.assert_allclose(y[rest > TINY], rest[rest > TINY], rtol=3e-5)


@jax.jit
def _complement(alpha, beta, log_lower, log_upper):
    return beta_tails.both_sides(alpha, beta, beta_tails.quantile(alpha, beta, log_lower, log_upper))[1]


@pytest.mark.parametrize("rate", [1e-3, 0.1, 1.0, 3.7, 10.0, 50.0, 1e3, 1e5])
def test_poisson_is_inverted_count_by_count(rate):
    rate = float(np.float32(rate))
    law = stats.poisson(rate)
    tail = (2.0 ** -np.linspace(33.0, 1.0, 600)).astype(np.float32).astype(float)
    v = np.concatenate([tail, -tail])
    x = np.asarray(_forward(md.Poisson(np.full(v.size, rate)), _as_float32(v)[0])).astype(float)
    # The first count with P(X <= x) >= u. Right at a step float32 may take its neighbour: the rounding of the rate
    # alone moves the logarithm of a tail by |z| sqrt(rate) 2^-24.
    slack = 1e-5 + 1e-6 * np.sqrt(rate)
    lower, p = v > 0, np.abs(v)
    assert np.all(law.cdf(x)[lower] >= p[lower] * (1 - slack))
    assert np.all(law.cdf(x - 1)[lower] < p[lower] * (1 + slack))
    assert np.all(law.sf(x)[~lower] <= p[~lower] * (1 + slack))
    assert np.all((law.sf(x - 1) > p * (1 - slack))[~lower] | (x[~lower] == 0))
    assert np.all(np.diff(x[: tail.size]) >= 0)
    assert np.all(np.diff(x[tail.size :]) <= 0)


@pytest.mark.parametrize("df", [0.7, 3.5, 30.0, 1e6])
def test_tails_of_student_t(df):
    law = md.StudentT(df)
    x = np.asarray([-8.0, -2.0, -0.3, -1e-3, 0.0, 1e-8, 0.2, 1.0, 5.0, 9.0, 40.0]).astype(np.float32)
    log_cdf, log_sf, slope, back = _student_tails(law, jnp.asarray(x))
    exact = stats.t(df)
    x = x.astype(float)
    seen = x < 20 if df > 1e5 else np.full(x.size, True)
    np.testing.assert_allclose(log_cdf[seen], exact.logcdf(x[seen]), rtol=3e-6, atol=1e-7)
    np.testing.assert_allclose(log_sf[seen], exact.logsf(x[seen]), rtol=3e-6, atol=1e-7)
    np.testing.assert_allclose(slope[seen], -np.exp((exact.logpdf(x) - exact.logsf(x))[seen]), rtol=2e-5)
    np.testing.assert_allclose(back[seen], x[seen], rtol=3e-6, atol=3e-7)


@jax.jit
def _student_tails(law, x):
    log_cdf, log_sf = jax.vmap(law.log_cdf)(x), jax.vmap(law.log_sf)(x)
    return log_cdf, log_sf, jax.vmap(jax.grad(law.log_sf))(x), jax.vmap(law.quantile)(log_cdf, log_sf)


@jax.jit
def _back_and_forth(law, log_lower, log_upper):
    x = jax.vmap(law.quantile)(log_lower, log_upper)
    return x, jax.vmap(law.log_cdf)(x), jax.vmap(law.log_sf)(x)


@pytest.mark.parametrize(
    "law",
    [md.Gamma(0.05), md.Gamma(2.5), md.Gamma(100.0), md.Gamma(1e4), md.Beta(1e3, 2e3), md.Beta(0.5, 1e4)],
    ids=str,
)
def test_probabilities_far_below_the_smallest_float(law):
    far = jnp.asarray([-30.0, -100.0, -1e3, -1e4])
    nothing = jnp.zeros_like(far)
    x, _, log_sf = _back_and_forth(law, nothing, far)
    np.testing.assert_allclose(log_sf, far, rtol=4e-5)
    x, log_cdf, _ = _back_and_forth(law, far, nothing)
    seen = np.asarray(x) > 1e-30
    np.testing.assert_allclose(log_cdf[seen], far[seen], rtol=4e-5)
    x, _, _ = _back_and_forth(law, jnp.asarray([-jnp.inf, 0.0]), jnp.asarray([0.0, -jnp.inf]))
    assert np.all(np.isfinite(np.asarray(x)))


def _slopes(draw, parameters, v):
    """d draw / d(parameters, v) by JAX."""
    return jax.jit(jax.vmap(jax.grad(draw, argnums=tuple(range(len(parameters) + 1)))))(*_as_float32(*parameters, v))


def _differences(ppf, parameters, v):
    """The same by central differences of SciPy's quantile in float64."""
    columns = []
    for i in range(len(parameters)):
        step = 1e-5 * parameters[i]
        ends = [ppf([p + s * step * (i == j) for j, p in enumerate(parameters)], v) for s in (-1.0, 1.0)]
        columns.append((ends[1] - ends[0]) / (2.0 * step))
    return columns


POINTS = np.array([1e-6, 1e-3, 0.1, 0.3, 0.499, -0.499, -0.2, -0.01, -1e-5]).astype(np.float32).astype(float)


def test_gamma_draws_move_with_the_shape_and_with_the_uniform():
    shapes = np.array([0.3, 0.8, 2.5, 40.0, 3e3]).astype(np.float32).astype(float)
    shape, v = np.repeat(shapes, POINTS.size), np.tile(POINTS, shapes.size)

    def ppf(parameters, v):
        return np.where(
            v > 0, special.gammaincinv(*parameters, np.abs(v)), special.gammainccinv(*parameters, np.abs(v))
        )

    along_shape, along_v = _slopes(lambda a, u: md.Gamma(a).forward(u[None])[0], (shape,), v)
    np.testing.assert_allclose(along_shape, _differences(ppf, [shape], v)[0], rtol=1e-3)
    np.testing.assert_allclose(along_v, 1.0 / stats.gamma(shape).pdf(ppf([shape], v)), rtol=1e-3)


def test_beta_draws_move_with_both_shapes_and_with_the_uniform():
    pairs = np.array([[0.4, 0.8], [2.0, 3.5], [0.5, 30.0], [300.0, 20.0]]).astype(np.float32).astype(float)
    alpha, beta = (np.repeat(pairs[:, i], POINTS.size) for i in range(2))
    v = np.tile(POINTS, len(pairs))

    def ppf(parameters, v):
        return np.where(v > 0, special.betaincinv(*parameters, np.abs(v)), special.betainccinv(*parameters, np.abs(v)))

    slopes = _slopes(lambda a, b, u: md.Beta(a, b).forward(u[None])[0], (alpha, beta), v)
    exact = [*_differences(ppf, [alpha, beta], v), 1.0 / stats.beta(alpha, beta).pdf(ppf([alpha, beta], v))]
    # Of x within a few roundings of 1 there is nothing to compare.
    seen = ppf([alpha, beta], v) < 1.0 - 1e-5
    for ours, theirs in zip(slopes, exact, strict=True):
        np.testing.assert_allclose(np.asarray(ours)[seen], theirs[seen], rtol=2e-3)


def test_a_count_has_no_pathwise_derivative(key):
    for draw in (lambda r: md.Poisson(r).sample(key), lambda r: md.Poisson(r).forward(jnp.asarray([0.3]))[0]):
        with pytest.raises(ValueError, match=r"discrete choice.*Poisson.*score form"):
            jax.grad(lambda r, draw=draw: draw(r).astype(jnp.float32))(3.0)


def test_the_tails_of_a_gamma_sum_to_one_and_fall():
    shape = jnp.asarray([0.05, 0.6, 3.0, 500.0])
    t = jnp.linspace(-3.0, 1.5, 200)
    log_cdf, log_sf = jax.jit(jax.vmap(gamma_tails.log_tails, in_axes=(None, 0)))(shape, jnp.stack([t] * 4, axis=1))
    np.testing.assert_allclose(jnp.exp(log_cdf) + jnp.exp(log_sf), 1.0, rtol=1e-6)
    assert np.all(np.diff(np.asarray(log_cdf), axis=0) >= 0)
    assert np.all(np.diff(np.asarray(log_sf), axis=0) <= 0)
