"""The counter-based generator, besides the statistical batteries whose logs are in results/randomness/."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcengine as mc
from mcengine import numerics
from mcengine.numerics.generator import hashed

MASK = 2**32 - 1


def hashed_in_python(counter, k0, k1):
    """The formula in integers of Python."""

    def scatter(x, shift, multiplier):
        return (x ^ (x >> shift)) * multiplier & MASK

    x = scatter((counter + k0) & MASK, 17, 0xED5AD4BB)
    first = x ^ (x >> 11)
    x = scatter(scatter((first + k1) & MASK, 16, 0xAC4C1B51), 15, 0x31848BAB)
    return ((x ^ (x >> 14)) + first) & MASK


def test_the_hash_is_the_formula():
    counters = [0, 1, 2, 2**18 - 1, 2**31, MASK]
    keys = [(0, 0), (1, 2), (0xDEADBEEF, 0x12345678), (MASK, MASK)]
    for k0, k1 in keys:
        found = hashed(jnp.asarray(counters, jnp.uint32), jnp.uint32(k0), jnp.uint32(k1))
        np.testing.assert_array_equal(found, [hashed_in_python(c, k0, k1) for c in counters])


def test_words_do_not_depend_on_their_number(key):
    many = np.asarray(numerics.random_words(key, (3, 4096)))
    np.testing.assert_array_equal(many[:, :100], numerics.random_words(jax.random.clone(key), (3, 100)))


def test_coordinates_keys_and_blocks_are_streams_of_their_own():
    words = [
        np.asarray(numerics.random_words(jax.random.fold_in(jax.random.key(seed), block), (2, 1000)))
        for seed in (0, 1)
        for block in (0, 1)
    ]
    streams = np.concatenate(words)
    for i, one in enumerate(streams):
        for other in streams[:i]:
            assert len(np.intersect1d(one, other)) <= 2  # 1000^2 / 2^32 in expectation
            # One is not the other with bits flipped: half of the bits differ.
            differing = np.unpackbits((one ^ other).view(np.uint8)).mean()
            assert abs(differing - 0.5) < 4.5 * 0.5 / np.sqrt(32_000)


def test_words_repeat_as_often_as_random_ones():
    """A permutation of the counters would never repeat a word, and fail a collision test over many blocks."""
    seen = sum(
        2**18 - len(np.unique(np.asarray(numerics.random_words(jax.random.key(seed), (1, 2**18)))))
        for seed in range(12)
    )
    expected = 12 * 2**35 / 2**32  # n^2 / 2 over 2^32, for each of twelve
    assert abs(seen - expected) < 4 * np.sqrt(expected)


@pytest.mark.parametrize("generator", ["counter", "threefry"])
def test_every_bit_is_fair_and_neighbours_are_independent(generator):
    words = np.asarray(numerics.random_words(jax.random.key(5), (4, 2**16), generator))
    bits = np.unpackbits(words.view(np.uint8)).reshape(-1, 32)
    z = (bits.mean(axis=0) - 0.5) / (0.5 / np.sqrt(len(bits)))
    assert np.abs(z).max() < 4.5
    u = words / 2.0**32
    for lag in (1, 2, 16):
        pairs = np.histogram2d(u[:, :-lag].ravel(), u[:, lag:].ravel(), bins=32)[0].ravel()
        assert stats.chisquare(pairs).pvalue > 1e-4
    across = np.histogram2d(u[0], u[1], bins=16)[0].ravel()
    assert stats.chisquare(across).pvalue > 1e-4


def test_threefry_is_the_generator_of_jax(key):
    words = numerics.random_words(key, (2, 5), "threefry")
    np.testing.assert_array_equal(words, jax.random.bits(jax.random.clone(key), (2, 5), jnp.uint32))


@pytest.mark.parametrize(
    "points", [mc.points.IID, mc.points.Antithetic, mc.points.Stratified, mc.points.LatinHypercube]
)
def test_points_take_either_generator(key, points):
    tail = mc.Probability(lambda x: x, mc.Normal(0.0, 1.0), 1.0)
    values = [
        mc.estimate(jax.random.clone(key), tail, budget=mc.Samples(4096), points=points(generator=generator)).value
        for generator in ("counter", "threefry")
    ]
    assert values[0] != values[1]
    np.testing.assert_allclose(values, stats.norm.sf(1.0), atol=0.03)


def test_another_generator_is_refused(key):
    with pytest.raises(ValueError, match="must be 'counter' or 'threefry', got 'mt19937'"):
        numerics.random_words(key, (2, 5), "mt19937")
