import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcengine.summaries.merge import merge_all
from mcengine.summaries.merge_tree import MergeTree
from mcengine.summaries.reduce_block import Kept, summarise_block
from mcengine.summaries.summary import Summary


def row_of(log_w, values, **options) -> Summary:
    values = jnp.atleast_2d(jnp.asarray(values, jnp.float32))
    log_w = None if log_w is None else jnp.asarray(log_w, jnp.float32)
    count = options.pop("count", values.shape[1])
    row = summarise_block(log_w, values, jnp.asarray(count), Kept(tail_length=8, **options))
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), row)


def mean_and_m2(row: Summary):
    scale = np.exp(row.moments.log_scale)
    return scale * row.moments.mean, scale**2 * row.moments.m2


def sample(n=1_000, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(n), 3.0 + rng.standard_normal((2, n))


def test_moments_equal_numpy_in_float64():
    log_w, f = sample()
    mean, m2 = mean_and_m2(row_of(log_w, f))
    y = np.exp(log_w) * f
    np.testing.assert_allclose(mean, y.mean(axis=1), rtol=2e-6)
    np.testing.assert_allclose(m2, ((y - y.mean(axis=1, keepdims=True)) ** 2).sum(axis=1), rtol=1e-5)


def test_a_nearly_constant_product_keeps_its_variance_in_float32():
    f = 1.0 + 1e-5 * np.random.default_rng(1).standard_normal((1, 65_536))
    f = np.asarray(f, np.float32).astype(np.float64)
    _, m2 = mean_and_m2(row_of(np.zeros(65_536), f))
    assert m2[0] == pytest.approx(((f - f.mean()) ** 2).sum(), rel=0.02)


def test_what_is_padded_does_not_shift_the_sums():
    # Sums about a shift that padding drew towards 0 cancelled: the spread was off by 3 %, or gone.
    f = 100.0 + 1e-2 * np.random.default_rng(2).standard_normal((1, 1_024))
    f = np.asarray(f, np.float32).astype(np.float64)
    for options in ({"count": 16}, {"count": 1_024, "unit_size": 64}, {"count": 512, "unit_size": 64}):
        _, m2 = mean_and_m2(row_of(np.zeros(1_024), f, **options))
        units = f[0, : options["count"]].reshape(-1, options.get("unit_size", 1)).mean(axis=1)
        assert m2[0] == pytest.approx(((units - units.mean()) ** 2).sum(), rel=0.02)


def test_merging_equals_one_row_over_all_samples():
    log_w, f = sample(1_024)
    whole = row_of(log_w, f, with_denominator=True)
    parts = [row_of(log_w[i : i + 256], f[:, i : i + 256], with_denominator=True) for i in range(0, 1_024, 256)]
    tree = MergeTree()
    for part in parts:
        tree.append(jax.tree.map(lambda leaf: leaf[None], part))
    merged = tree.merged()
    for got, want in zip(mean_and_m2(merged), mean_and_m2(whole), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)

    def cross(row):
        scale = np.exp(row.moments.log_scale)
        return row.moments.cross * scale[:, None] * scale[None, -1:]

    np.testing.assert_allclose(cross(merged), cross(whole), rtol=1e-4)
    np.testing.assert_allclose(merged.stats.log_tail, whole.stats.log_tail, rtol=1e-6)
    np.testing.assert_array_equal(merged.stats.hits, whole.stats.hits)
    np.testing.assert_allclose(
        merged.stats.max_abs * np.exp(merged.stats.log_scale),
        whole.stats.max_abs * np.exp(whole.stats.log_scale),
        rtol=1e-6,
    )


@pytest.mark.parametrize("num_rows", [1, 2, 3, 5, 255, 256, 257, 700])
def test_the_tree_does_not_depend_on_how_rows_arrive(num_rows):
    rows = [row_of(*sample(8, seed)) for seed in range(7)]
    rows = [rows[i % 7] for i in range(num_rows)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
    want = merge_all(stacked)
    for group in (1, 4, 37, 1_000):
        tree = MergeTree()
        for start in range(0, num_rows, group):
            tree.append(jax.tree.map(lambda leaf, s=start, g=group: leaf[s : s + g], stacked))
        jax.tree.map(np.testing.assert_array_equal, tree.merged(), want)


def test_padding_counts_for_nothing():
    log_w, f = sample(64)
    log_w[40:], f[:, 40:] = np.nan, np.inf
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        row_of(log_w, f, count=40),
        row_of(log_w[:40], f[:, :40]),
    )


def test_each_output_has_its_own_scale():
    # 1e-7, 1e-89 and 1e-268 out of one float32 run.
    log_w = -np.asarray([16.0, 205.0, 617.0])
    mean, _ = mean_and_m2(row_of(log_w, np.eye(3)))
    np.testing.assert_allclose(np.log(mean), log_w - np.log(3.0), rtol=1e-6)


def test_non_finite_samples_are_counted_and_left_out():
    f = np.asarray([1.0, np.nan, 2.0, np.inf, 0.0, 5.0])
    log_w = np.asarray([0.0, 0.0, np.nan, 0.0, np.nan, -np.inf])
    row = row_of(log_w, f)
    # Where f = 0 or p = 0 the other factor does not matter, unless it is a density that is NaN.
    assert row.stats.num_nonfinite == 4
    assert row.stats.hits == 1
    np.testing.assert_allclose(mean_and_m2(row)[0], 1.0 / 6.0)


def test_units_are_means_over_consecutive_samples():
    _, f = sample(512)
    row = row_of(None, f, unit_size=4)
    units = f.reshape(2, 128, 4).mean(axis=-1)
    assert row.moments.count == 128
    mean, m2 = mean_and_m2(row)
    np.testing.assert_allclose(mean, units.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(m2, units.var(axis=1) * 128, rtol=1e-4)


def test_an_indicator_gives_the_same_row_as_the_general_form():
    log_w, f = sample()
    hits = (f[:1] > 3.0).astype(float)
    y = np.exp(log_w) * hits[0]
    special, general = row_of(log_w, hits, indicator=True), row_of(log_w, hits)
    np.testing.assert_allclose(mean_and_m2(special), mean_and_m2(general), rtol=1e-6)
    np.testing.assert_allclose(special.stats.log_tail, general.stats.log_tail, rtol=1e-6)
    for row in (special, general):
        scale = np.exp(row.stats.log_scale)
        sums = (scale * row.stats.sum_abs, scale**2 * row.stats.sum_squares, scale * row.stats.max_abs, row.stats.hits)
        np.testing.assert_allclose(np.ravel(sums), [y.sum(), (y**2).sum(), y.max(), (y > 0).sum()], rtol=2e-6)


@pytest.mark.parametrize("size", [1e-30, 1e-12, 3.7, 1e18, 1e30])
def test_the_integrands_scale_is_carried(size):
    log_w, f = sample()
    for scale in (-60.0, 0.0, 40.0):
        mean, m2 = (np.asarray(x) for x in mean_and_m2(row_of(log_w + scale, size * f)))
        factor = size * np.exp(np.float64(np.float32(scale)))
        y = np.exp(log_w) * f * factor
        np.testing.assert_allclose(mean, y.mean(axis=1), rtol=1e-5)
        np.testing.assert_allclose(m2, ((y - y.mean(axis=1, keepdims=True)) ** 2).sum(axis=1), rtol=3e-5)
