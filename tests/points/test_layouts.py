"""Where the points of each layout lie, by counting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.stats import qmc

from mcengine.points import LatinHypercube, Lattice, Sobol, Stratified, lattice, sobol

START = jnp.zeros((), jnp.int32)
UNITS = [Stratified(64), LatinHypercube(64), Lattice(64), Lattice(64, tent=True), Sobol(64)]


def words(points, seed=0, dim=3):
    return np.asarray(points.words(jax.random.key(seed), START, points.size, dim), np.uint64)


def counts(coordinates, bits):
    """How many points lie in each box with 2^bits[i] slices of coordinate i."""
    cells = np.zeros(coordinates.shape[1], np.uint64)
    for coordinate, b in zip(coordinates, bits, strict=True):
        cells = (cells << np.uint64(b)) | (coordinate >> np.uint64(32 - b) if b else np.uint64(0))
    return np.bincount(cells.astype(int), minlength=2 ** sum(bits))


def test_sobol_points_are_the_published_ones():
    ours = np.asarray(sobol.sobol_words(START, 256, jnp.asarray(sobol.direction_numbers()[:300])))
    published = (qmc.Sobol(300, scramble=False, bits=32).random(256) * 2**32).astype(np.uint64).T
    # SciPy gives them in the order of the Gray code.
    np.testing.assert_array_equal(np.sort(ours, axis=1), np.sort(published, axis=1))
    assert set(map(tuple, ours[:9].T.tolist())) == set(map(tuple, published[:9].T.tolist()))


def test_sobol_points_by_index_are_those_of_one_run():
    directions = jnp.asarray(sobol.direction_numbers()[:7])
    whole = np.asarray(sobol.sobol_words(START, 512, directions))
    for start in (0, 128, 384):
        part = sobol.sobol_words(jnp.asarray(start), 128, directions)
        np.testing.assert_array_equal(part, whole[:, start : start + 128])


@pytest.mark.parametrize("seed", range(3))
def test_a_scramble_is_a_net(seed):
    # The first two Sobol coordinates are a (0, 6, 2)-net: one point in every box of volume 1/64, however shaped.
    points = words(Sobol(64), seed, dim=2)
    for first in range(7):
        np.testing.assert_array_equal(counts(points, (first, 6 - first)), 1)


def test_scrambling_is_nested_and_reaches_the_last_bit():
    seeds = jax.random.bits(jax.random.key(1), (2, 1), jnp.uint32)
    x = np.arange(2**12, dtype=np.uint32) << np.uint32(20)
    out = np.asarray(sobol.owen_scramble(jnp.asarray(x)[None], seeds))[0]
    for bits in range(1, 13):
        prefix = {}
        for before, after in zip((x >> (32 - bits)).tolist(), (out >> (32 - bits)).tolist(), strict=True):
            assert prefix.setdefault(before, after) == after
        assert len(set(prefix.values())) == 2**bits
    # The last 20 bits are not the shift alone.
    assert len(np.unique(out & np.uint32(0xFFFFF))) > 4000


def test_each_bit_of_a_scramble_is_fair_and_independent_of_the_others():
    keys = jax.random.split(jax.random.key(2), 4_000)
    first = np.asarray(jax.vmap(lambda k: Sobol(16).words(k, START, 16, 2))(keys))[:, :, (3, 4)]
    bits = (first[..., None] >> np.arange(32, dtype=np.uint32)) & 1
    flat = bits.reshape(4_000, -1).astype(float)
    assert np.abs(flat.mean(axis=0) - 0.5).max() < 4.5 * 0.5 / np.sqrt(4_000)
    # The flips of different dimensions of one point are independent.
    across = flat[:, :32] - 0.5, flat[:, 64:96] - 0.5
    assert np.abs(across[0].T @ across[1] / 4_000 * 4).max() < 4.8 / np.sqrt(4_000)


def test_stratified_boxes_hold_one_point_each():
    np.testing.assert_array_equal(counts(words(Stratified(64), dim=2), (3, 3)), 1)
    np.testing.assert_array_equal(counts(words(Stratified(128), dim=3), (3, 2, 2)), 1)
    np.testing.assert_array_equal(counts(words(Stratified(4), dim=3), (1, 1, 0)), 1)


def test_latin_hypercubes_have_one_point_in_every_slice():
    points = words(LatinHypercube(64), dim=5)
    for row in points:
        np.testing.assert_array_equal(counts(row[None], (6,)), 1)
    assert len({tuple((row >> np.uint64(26)).tolist()) for row in points}) == 5


def test_a_lattice_is_closed_under_differences_of_its_points():
    points = words(Lattice(64), dim=4)
    steps = (points - points[:, :1]) % 2**32 >> np.uint64(26)
    z = lattice.generating_vector()[:4].astype(np.uint64)
    np.testing.assert_array_equal(steps, np.arange(64, dtype=np.uint64)[None] * z[:, None] % 64)
    # Each coordinate by itself is evenly spaced: the vector's entries are odd.
    np.testing.assert_array_equal(np.sort(steps, axis=1), np.tile(np.arange(64), (4, 1)))


def test_the_published_vector_is_complete():
    z = lattice.generating_vector()
    assert z.shape == (250,)
    assert z.dtype == np.uint32
    assert np.all(z % 2 == 1)
    assert len(set(z.tolist())) == 250
    assert z.max() < 2**19


@pytest.mark.parametrize("points", UNITS, ids=repr)
def test_every_point_of_a_unit_is_uniform(points):
    keys = jax.random.split(jax.random.key(3), 2_000)
    some = np.asarray(jax.vmap(lambda k: points.words(k, START, points.size, 3))(keys))[:, :, (0, 1, 37)]
    u = (some.astype(float) + 0.5) / 2**32
    for dim in range(3):
        # One numbered point of a stratified unit stays in its box; only the unit as a whole is uniform.
        if isinstance(points, Stratified):
            continue
        for point in range(3):
            assert stats.kstest(u[:, dim, point], "uniform").pvalue > 1e-4
    fewer = jax.random.split(jax.random.key(4), 200)
    everything = np.asarray(jax.vmap(lambda k: points.words(k, START, points.size, 3))(fewer))
    for dim in range(3):
        assert stats.kstest((everything[:, dim].ravel() + 0.5) / 2**32, "uniform").pvalue > 1e-4


@pytest.mark.parametrize(("points", "dim"), [(Lattice(8), 251), (Sobol(8), 1025)])
def test_dimensions_have_a_limit(points, dim):
    with pytest.raises(ValueError, match="dimensions, fewer than"):
        words(points, dim=dim)
