"""Truncation far out, between close limits, and where it is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import mcengine.distributions as md
from mcengine.distributions.foreign import relaxed

INF = np.inf
U = np.array([1e-9, 1e-4, 0.05, 0.3, 0.5, 0.8, 0.999, 1 - 1e-6])


@eqx.filter_jit
def _forward(law, v):
    return jax.vmap(law.forward)(v)


@eqx.filter_jit
def _log_probs(law, x):
    return jax.vmap(law.log_prob)(x)


def _centred(u):
    return jnp.asarray(np.where(u <= 0.5, u, u - 1.0), jnp.float32)[:, None]


def _upper(u):
    return np.asarray(-_centred(u)[:, 0], float) % 1.0  # 1 - u as the centred uniform says it


@pytest.mark.parametrize("start", [0.0, 3.0, 8.0, 12.0, 30.0])
def test_a_normal_tail_far_out(start):
    law = md.Truncated(md.Normal(), start, INF)
    x, log_q = _forward(law, _centred(U))
    # In float64: log P(Z > x) = log P(Z > start) + log(1 - u), inverted by SciPy.
    exact = -special.ndtri_exp(special.log_ndtr(-start) + np.log(_upper(U)))
    np.testing.assert_allclose(np.asarray(x, float), exact, rtol=2e-6, atol=1e-7)
    density = stats.norm.logpdf(np.asarray(x, float)) - special.log_ndtr(-start)
    # x has 24 bits, and the density falls by `start` per unit of x.
    np.testing.assert_allclose(np.asarray(log_q, float), density, rtol=3e-6, atol=3e-6 + start**2 * 2e-7)
    assert np.all(np.asarray(x) >= start)


def test_the_mirror_image_is_the_mirror_image():
    right, left = md.Truncated(md.Normal(), 8.0, 9.0), md.Truncated(md.Normal(), -9.0, -8.0)
    v = _centred(U)
    np.testing.assert_array_equal(_forward(right, v)[0], -_forward(left, -v)[0])


@pytest.mark.parametrize("width", [1e-3, 0.1, 3.0])
@pytest.mark.parametrize("start", [-0.3, 5.0, -8.0])
def test_close_limits_keep_their_mass(start, width):
    low, high = float(np.float32(start)), float(np.float32(start + width))
    law = md.Truncated(md.Normal(), low, high)
    grid, weights = np.polynomial.legendre.leggauss(60)
    exact = np.log(np.sum(weights * stats.norm.pdf(low + (high - low) * 0.5 * (grid + 1))) * 0.5 * (high - low))
    assert float(law.log_mass) == pytest.approx(exact, abs=3e-6 + 3e-7 * abs(exact))


@pytest.mark.parametrize(
    ("base", "low", "high"),
    [
        (md.Exponential(2.0), 40.0, INF),
        (md.Exponential(2.0), 0.5, 0.6),
        (md.Gumbel(1.0, 2.0), 60.0, 80.0),
        (md.Gumbel(1.0, 2.0), -INF, -3.0),
        (md.Weibull(0.7, 2.0), 300.0, INF),
        (md.Weibull(1.7, 2.0), 0.0, 1e-3),
        (md.GeneralisedPareto(0.3, 2.0, 1.0), 1e4, 1e6),
        (md.LogNormal(0.0, 0.5), 30.0, INF),
        (md.Uniform(-1.0, 3.0), 2.5, 7.0),
        (md.Box(-INF, INF), 1e3, INF),
        (md.Gamma(2.5, 2.0), 30.0, INF),
        (md.Gamma(0.3), 0.0, 1e-6),
        (md.Gamma(1e3), 800.0, 830.0),
        (md.Beta(2.0, 3.5), 0.97, 1.0),
        (md.Beta(0.4, 30.0), 0.2, 0.9),
        (md.StudentT(3.0, 1.0, 2.0), 200.0, INF),
        (md.StudentT(30.0), -INF, -12.0),
        (md.StudentT(0.7), -0.5, 2.0),
        (md.Box(1.0, INF), 5.0, 1e4),
    ],
    ids=lambda v: type(v).__name__ if not isinstance(v, float) else f"{v:g}",
)
def test_other_families(base, low, high):
    """The density integrates to 1, and the sampler's distribution function is u."""
    law = md.Truncated(base, low, high)
    x, _ = _forward(law, _centred(U[2:7]))
    nodes, weights = np.polynomial.legendre.leggauss(400)
    s, ds = 0.5 * (nodes + 1), 0.5 * weights
    lower, upper = (float(side) for side in law.support)
    scale = max(abs(float(x[2]) - lower), 1e-6) if np.isfinite(lower) else abs(upper - float(x[2]))
    if np.isfinite(lower) and np.isfinite(upper):
        points, measure = lower + (upper - lower) * s**4, (upper - lower) * 4 * s**3 * ds
    elif np.isfinite(lower):
        points, measure = lower + scale * (s**-4 - 1), scale * 4 * s**-5 * ds
    else:
        points, measure = upper - scale * (s**-4 - 1), scale * 4 * s**-5 * ds
    density = np.exp(np.asarray(_log_probs(law, jnp.asarray(points, jnp.float32)), float))
    assert np.sum(density * measure) == pytest.approx(1.0, abs=2e-3)
    for value, u in zip(np.asarray(x, float), U[2:7], strict=True):
        assert np.sum((density * measure)[points <= value]) == pytest.approx(u, abs=1.5e-2)


def test_traced_limits_and_gradients():
    def mean_log_density(limit):
        return md.Truncated(md.Normal(), limit, INF).log_prob(jnp.asarray(9.0))

    slope = jax.jit(jax.grad(mean_log_density))(jnp.asarray(8.0))
    # -d log P(Z > a) / da = phi(a) / P(Z > a)
    assert float(slope) == pytest.approx(np.exp(stats.norm.logpdf(8.0) - stats.norm.logsf(8.0)), rel=1e-5)
    draw = jax.jit(jax.grad(lambda a: md.Truncated(md.Normal(), a, INF).forward(jnp.asarray([0.3]))[0]))
    step = 1e-3
    ends = [-special.ndtri_exp(special.log_ndtr(-(8.0 + s)) + np.log(0.7)) for s in (-step, step)]
    assert float(draw(jnp.asarray(8.0))) == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-3)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"lower must be below upper, got lower=3.0 and upper=1.0"):
        md.Truncated(md.Normal(), 3.0, 1.0)
    with pytest.raises(ValueError, match="no probability between"):
        md.Truncated(md.Uniform(0.0, 1.0), 2.0, 3.0)
    with pytest.raises(TypeError, match=r"Poisson has no .*can be truncated are Normal, LogNormal"):
        md.Truncated(md.Poisson(3.0), 0.0, 1.0)
    with pytest.raises(ValueError, match="scalar or of the event's shape"):
        md.Truncated(md.Normal([0.0, 1.0]), [0.0, 0.0, 0.0], INF)


def test_another_librarys_family_is_taken_at_the_door():
    numpyro = pytest.importorskip("numpyro.distributions", reason="numpyro is taken where it is installed")
    with relaxed():
        normal, laplace = numpyro.Normal(1.0, 2.0), numpyro.Laplace(0.0, 1.0)
    law = md.Truncated(normal, 0.0, 1.0)
    assert float(law.log_prob(0.5)) == float(md.Truncated(md.Normal(1.0, 2.0), 0.0, 1.0).log_prob(0.5))
    with pytest.raises(TypeError, match=r"Truncated: numpyro.Laplace has no log_density"):
        md.Truncated(laplace, 0.0, 1.0)
    with pytest.raises(TypeError, match="is not a distribution"):
        md.Truncated(1.0, 0.0, 1.0)
