"""Uniforms of the generator, elementary functions and fences, by enumeration where it matters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from benchmarks import fit_elementary
from mcengine import numerics
from mcengine.numerics import elementary

LADDER = np.unique(np.round(2.0 ** np.linspace(0, 30.99, 4000)).astype(np.int64))
WORDS = np.concatenate([[0], LADDER, 2**31 - 1 - LADDER, [2**31 - 1]])
WORDS = np.unique(np.concatenate([WORDS, 2**32 - 1 - WORDS])).astype(np.uint32)


def _exact_magnitude(words, second=None):
    signed = words.view(np.int32)
    low = np.where(signed < 0, ~signed, signed).astype(np.float64)
    fraction = 0.5 if second is None else (second.astype(np.float64) + 0.5) * 2.0**-32
    return (low + fraction) * 2.0**-32, signed < 0


def test_centred_uniforms_hold_the_smaller_tail():
    v = np.asarray(numerics.centred_uniform(jnp.asarray(WORDS[None])), np.float64)
    magnitude, upper = _exact_magnitude(WORDS)
    np.testing.assert_allclose(np.abs(v), magnitude, rtol=2.0**-23)  # rounded twice
    np.testing.assert_array_equal(v < 0, upper)
    assert np.abs(v).min() == 2.0**-33
    assert np.abs(v).max() <= 0.5
    # The probability increases with the word.
    assert np.all(np.diff(np.where(v > 0, v, 1.0 + v)) >= 0)


def test_second_words_resolve_the_tails():
    second = np.array([0, 1, 2**31, 2**32 - 1], np.uint32)
    for word in (0, 5, 2**32 - 1):
        words = np.full(4, word, np.uint32)
        v = np.asarray(numerics.centred_uniform(jnp.asarray(np.stack([words, second]))), np.float64)
        np.testing.assert_allclose(np.abs(v), _exact_magnitude(words, second)[0], rtol=2e-7)
    assert np.abs(np.asarray(numerics.centred_uniform(jnp.zeros((2, 1), jnp.uint32)))).min() == 2.0**-65


def test_never_zero_never_one():
    ends = jnp.asarray([[0, 2**31 - 1, 2**31, 2**32 - 1]], jnp.uint32)
    v = numerics.centred_uniform(ends)
    assert np.all(np.asarray(v) != 0)
    assert np.all(np.isfinite(np.asarray(numerics.log_lower(v))))
    assert np.all(np.isfinite(np.asarray(numerics.log_upper(v))))


def test_logarithms_of_both_tails():
    v = numerics.centred_uniform(jnp.asarray(WORDS[None]))
    magnitude, upper = _exact_magnitude(WORDS)
    exact = np.where(upper, np.log1p(-magnitude), np.log(magnitude))
    np.testing.assert_allclose(np.asarray(numerics.log_lower(v), np.float64), exact, rtol=4e-7)
    exact = np.where(upper, np.log(magnitude), np.log1p(-magnitude))
    np.testing.assert_allclose(np.asarray(numerics.log_upper(v), np.float64), exact, rtol=4e-7)


def test_to_and_from_unit():
    u = jnp.asarray([0.1, 0.25, 0.5, 0.75, 0.999])
    np.testing.assert_allclose(numerics.to_unit(numerics.from_unit(u)), u, rtol=1e-6)


def test_the_normal_quantile_at_every_magnitude():
    """Relative error below 4e-7 for one word and for two, that is from 2^-65 to 1/2."""
    p = np.concatenate([2.0 ** np.linspace(-65, -1.001, 40_000), np.linspace(1e-3, 0.4999, 40_000)]).astype(np.float32)
    z = np.asarray(jax.jit(numerics.normal_quantile)(jnp.asarray(p)), np.float64)
    exact = special.ndtri(p.astype(np.float64))
    assert np.max(np.abs(z / exact - 1.0)) < 6e-7
    assert z.min() < -9.0


def test_the_normal_quantile_near_the_median():
    p = np.float32(0.5) - np.arange(1, 2000, dtype=np.float32) * np.float32(2.0**-25)
    z = np.asarray(numerics.normal_quantile(jnp.asarray(p)), np.float64)
    np.testing.assert_allclose(z, special.ndtri(p.astype(np.float64)), rtol=6e-7)
    assert float(numerics.normal_quantile(jnp.asarray(0.5))) == 0.0


def test_the_normal_quantile_is_odd_and_increases():
    v = numerics.centred_uniform(jnp.asarray(WORDS[None]))
    z = np.asarray(numerics.normal_quantile(v))
    np.testing.assert_array_equal(z, -np.asarray(numerics.normal_quantile(-v)))
    inner = np.abs(np.asarray(v)) < 0.5  # the last 64 words on either side round to 1/2, and z to 0
    np.testing.assert_array_equal(z[inner] < 0, np.asarray(v)[inner] > 0)
    # Up to rounding: neighbours a few 1e-7 apart may swap by that much.
    assert np.all(np.diff(z) >= -8e-7 * np.abs(z[1:]))


def test_the_branches_of_the_quantile_meet():
    # -log(4p(1 - p)) = 6.25 at p = 4.84e-4
    p = np.float32(4.8376e-4) * (1 + np.linspace(-1e-4, 1e-4, 4001, dtype=np.float32))
    z = np.asarray(numerics.normal_quantile(jnp.asarray(p)), np.float64)
    np.testing.assert_allclose(z, special.ndtri(p.astype(np.float64)), rtol=6e-7)


@pytest.mark.parametrize("v", [1e-12, 1e-6, 0.02, 0.3, 0.4999, -0.4, -1e-9])
def test_the_slope_of_the_quantile_is_the_reciprocal_density(v):
    slope = float(jax.grad(numerics.normal_quantile)(jnp.asarray(v)))
    z = special.ndtri(v) if v > 0 else -special.ndtri(-v)
    assert slope == pytest.approx(1 / stats.norm.pdf(z), rel=2e-5)


def test_uniforms_are_uniform(key):
    v = np.asarray(numerics.centred_uniform(numerics.random_words(key, (1, 200_000))), np.float64)
    u = np.where(v > 0, v, 1.0 + v)
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    # The tails, which a histogram would not resolve: each power of two has half the probability of the one before.
    tail = -np.log2(np.minimum(np.abs(v) * 2.0, 1.0))
    for side in (v > 0, v < 0):
        counts = np.histogram(tail[side], bins=np.arange(0, 12))[0]
        expected = side.sum() * 0.5 ** np.arange(1, 12)
        assert np.sum((counts - expected) ** 2 / expected) < stats.chi2.isf(1e-4, 11)


def test_polynomials_follow_horners_rule():
    x = jnp.asarray([0.5, -2.0])
    np.testing.assert_allclose(numerics.polynomial((1.0, 2.0, 3.0), x), 1 + 2 * np.asarray(x) + 3 * np.asarray(x) ** 2)


def test_double_precision_uses_scipys_formula():
    p = np.array([1e-200, 1e-40, 1e-3, 0.2, 0.5 - 1e-12])
    with jax.enable_x64(True):
        z = np.asarray(numerics.normal_quantile(jnp.asarray(p)))
        assert z.dtype == np.float64
    np.testing.assert_allclose(z, special.ndtri(p), rtol=1e-12)


def test_a_fence_changes_nothing():
    tree = {"a": jnp.arange(3.0), "b": (jnp.ones(2),)}
    fenced = jax.jit(numerics.fence)(tree)
    assert jax.tree.all(jax.tree.map(lambda x, y: bool(jnp.all(x == y)), tree, fenced))
    assert float(jax.grad(lambda x: jnp.sum(numerics.fence(x) ** 2))(jnp.asarray(3.0))) == 6.0


@pytest.mark.battery
def test_the_coefficients_are_those_of_the_fit():
    fits = fit_elementary.fits()
    used = {name: getattr(elementary, f"_{name.upper()}") for name in fits}
    for name, (coefficients, error) in fits.items():
        np.testing.assert_allclose(used[name], coefficients, rtol=2e-5)
        assert error < 2e-7


def test_the_fast_logarithm_is_within_a_rounding():
    x = np.concatenate([2.0 ** np.linspace(-126, 127, 200_001), 1.0 + np.linspace(-1e-3, 1e-3, 20_001)]).astype(
        np.float32
    )
    exact = np.log(x.astype(np.float64))
    found = np.asarray(numerics.log_of_normal(jnp.asarray(x)), np.float64)
    assert np.max(np.abs(found - exact) / (1.0 + np.abs(exact))) < 1.2e-7
    assert float(numerics.log_of_normal(jnp.asarray(1.0))) == 0.0
    assert float(jax.grad(numerics.log_of_normal)(jnp.asarray(3.0))) == pytest.approx(1 / 3, rel=2e-6)


def test_the_sine_and_cosine_of_a_turn():
    v = np.concatenate([np.linspace(-0.5, 0.5, 100_001), [1e-9, -1e-9, 0.25, -0.25]]).astype(np.float32)
    sine, cosine = (np.asarray(part, np.float64) for part in numerics.sin_cos_of_turn(jnp.asarray(v)))
    turn = 2 * np.pi * v.astype(np.float64)
    assert np.max(np.abs(sine - np.sin(turn))) < 2e-7
    assert np.max(np.abs(cosine - np.cos(turn))) < 2e-7
    slope = jax.vmap(jax.grad(lambda x: numerics.sin_cos_of_turn(x)[0]))(jnp.asarray(v))
    np.testing.assert_allclose(slope, 2 * np.pi * np.cos(turn), atol=3e-5)


def test_the_logarithm_sine_and_cosine_in_double_precision():
    with jax.enable_x64(True):
        v = jnp.asarray([-0.4, 0.1, 0.3])
        np.testing.assert_allclose(numerics.log_of_normal(jnp.abs(v)), np.log([0.4, 0.1, 0.3]), rtol=1e-15)
        np.testing.assert_allclose(numerics.sin_cos_of_turn(v)[0], np.sin(2 * np.pi * np.asarray(v)), rtol=1e-14)


def test_fenced_values_are_computed_once():
    """Without the fence XLA repeats the polynomial in the sum and in the maximum."""

    def two_consumers(x, fence):
        y = fence(numerics.polynomial(tuple(np.linspace(0.3, 1.7, 41)), x))
        return jnp.sum(y), jnp.max(y), y[::7] * 2.0

    x = jnp.linspace(0.0, 1.0, 2**14)
    programs = [
        jax.jit(two_consumers, static_argnums=1).lower(x, fence).compile().as_text()
        for fence in (numerics.fence, lambda y: y)
    ]
    fenced, plain = (text.count(" multiply(") for text in programs)
    assert fenced < 60  # one polynomial of degree 40
    assert plain > 75  # two without the fence, or else this test would show nothing


@pytest.mark.parametrize("values", [[0.0, -0.0, 1e-45, np.inf, -np.inf, np.nan, -3.5, 1e38]])
def test_a_fence_keeps_every_bit(values):
    for dtype, x64 in ((np.float32, False), (np.float64, True)):
        with jax.enable_x64(x64):
            x = np.asarray(values, dtype)
            np.testing.assert_array_equal(np.asarray(jax.jit(numerics.fence)(x)).view(np.uint8), x.view(np.uint8))
