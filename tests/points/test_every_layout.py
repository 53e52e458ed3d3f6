"""What every layout must do, by the list in layouts.py."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from scipy import stats

import mcengine as mc
from mcengine.points.units import SizedUnits
from tests.points.layouts import LAYOUTS

NORMAL = mc.Normal(jnp.asarray([0.3, -1.0, 2.0]), 1.5)
SIZED = [layout for layout in LAYOUTS if isinstance(layout, SizedUnits)]
FAMILIES = list(dict.fromkeys(type(layout) for layout in SIZED))
# Units of 64 points where the size can be chosen, so that several fit into one small block.
SMALL = [dataclasses.replace(layout, size=64) if isinstance(layout, SizedUnits) else layout for layout in LAYOUTS]


def draw(layout, seed=0, index=0, size=256, distribution=NORMAL):
    return layout.draw(jax.random.key(seed), jnp.asarray(index, jnp.int32), size, distribution)


def test_every_exported_layout_is_in_the_list_and_has_a_yaml():
    exported = {value for value in vars(mc.points).values() if isinstance(value, type)}
    # `Allocated` belongs to a proposal with fixed counts, which tests/proposals/test_multi_sample.py draws from.
    wanted = exported - {mc.points.Points, mc.points.Allocated}
    assert {type(layout) for layout in LAYOUTS} == wanted
    conf = Path(__file__).parents[2] / "conf" / "points"
    targets = {yaml.safe_load(path.read_text())["_target_"].split(".")[-1] for path in conf.glob("*.yaml")}
    assert targets == {layout.__name__ for layout in wanted}


@pytest.mark.parametrize("layout", SMALL, ids=repr)
def test_samples_lie_along_the_last_axis_and_keep_to_their_density(layout):
    x, log_q = draw(layout)
    assert x.shape == (3, 256)
    if log_q is not None:
        np.testing.assert_allclose(log_q, jax.vmap(NORMAL.log_prob, in_axes=-1)(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", SMALL, ids=repr)
def test_blocks_and_keys_have_samples_of_their_own_and_one_block_always_the_same(layout):
    first = np.asarray(draw(layout)[0])
    np.testing.assert_array_equal(draw(layout)[0], first)
    for other in (draw(layout, seed=1)[0], draw(layout, index=1)[0]):
        assert len(np.intersect1d(first, other)) < 5


@pytest.mark.parametrize("layout", SMALL, ids=repr)
def test_each_coordinate_is_uniform_over_a_unit(layout):
    cube = mc.Uniform(jnp.zeros(3), jnp.ones(3))
    units = [np.asarray(draw(layout, index=index, distribution=cube)[0]) for index in range(50)]
    for coordinate in np.concatenate(units, axis=1):
        assert stats.kstest(coordinate, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("layout", LAYOUTS, ids=repr)
def test_budgets_settle_the_units_once(layout):
    for num_samples in (256, 1_000, 60_000, None):
        settled = layout.for_budget(num_samples)
        assert type(settled) is type(layout)
        assert settled.for_budget(10**6) == settled
        assert num_samples is None or settled.unit_size * 16 <= num_samples


@pytest.mark.parametrize("layout", LAYOUTS, ids=repr)
def test_only_units_of_one_sample_are_independent_samples(layout):
    assert layout.has_dependent_samples == (layout.unit_size > 1)
    assert layout.needs_transport == (not isinstance(layout, mc.points.IID))


@pytest.mark.parametrize("layout", SIZED, ids=repr)
def test_budgets_make_16_to_31_units(layout):
    for num_samples in (256, 1_000, 2**14, 60_000):
        assert 16 <= num_samples // layout.for_budget(num_samples).size <= 31
    assert layout.for_budget(None).size == 1024
    assert dataclasses.replace(layout, size=8).for_budget(10**6).size == 8


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [0, 1, 3, 1000, True, -8])
def test_sizes_are_powers_of_two(family, size):
    with pytest.raises(ValueError, match="size must be a power of two of at least 2"):
        family(size)


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_have_a_limit(family):
    assert family(family.max_size).unit_size == family.max_size
    with pytest.raises(ValueError, match="size must be at most"):
        family(2 * family.max_size)
