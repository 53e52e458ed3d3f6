"""Directions: samples against log_prob, by chi-square on the sphere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mcengine import numerics
from mcengine.distributions import sample_many
from mcengine.rendering import CosineHemisphere, Rectangle, TowardsLamp, UniformHemisphere

TILTED = Rectangle(centre=[0.5, -0.2, 1.1], half_u=[0.6, 0.0, 0.3], half_v=[0.0, -0.8, 0.0])
DISTRIBUTIONS = {
    "uniform": UniformHemisphere(),
    "cosine": CosineHemisphere(),
    "lamp": TowardsLamp(point=[-0.1, 0.3, 0.0], lamp=TILTED),
}
HEIGHTS, TURNS, FINE = 12, 16, 48  # cells in z and in the angle, and midpoints a cell in each of the two


def cells_of(directions):
    """Cells of equal solid angle over the whole sphere, below the plane too."""
    row = np.clip((directions[:, 2] + 1) / 2 * 2 * HEIGHTS, 0, 2 * HEIGHTS - 1).astype(int)
    turn = np.arctan2(directions[:, 1], directions[:, 0]) / (2 * np.pi) % 1.0
    return row * TURNS + np.minimum((turn * TURNS).astype(int), TURNS - 1)


def masses(distribution):
    """The integral of the density over each cell, by midpoints."""
    z = (np.arange(2 * HEIGHTS * FINE) + 0.5) / (HEIGHTS * FINE) - 1
    angle = 2 * np.pi * (np.arange(TURNS * FINE) + 0.5) / (TURNS * FINE)
    z, angle = (grid.ravel() for grid in np.meshgrid(z, angle, indexing="ij"))
    sine = np.sqrt(1 - z * z)
    directions = np.stack([sine * np.cos(angle), sine * np.sin(angle), z], axis=1)
    density = np.exp(np.asarray(jax.jit(jax.vmap(distribution.log_prob))(jnp.asarray(directions, float))))
    return np.bincount(cells_of(directions), density, 2 * HEIGHTS * TURNS) * 4 * np.pi / len(z)


def draw(distribution, seed, num):
    return np.asarray(jax.jit(lambda key: sample_many(distribution, key, num))(jax.random.key(seed)))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_samples_follow_log_prob(name):
    distribution, num = DISTRIBUTIONS[name], 40_000
    expected = masses(distribution)
    assert expected.sum() == pytest.approx(1.0, abs=2e-3)
    observed = np.bincount(cells_of(draw(distribution, 1, num)), minlength=len(expected))
    often = num * expected > 10
    expected = np.append(num * expected[often], max(num * expected[~often].sum(), 1e-9))
    observed = np.append(observed[often], observed[~often].sum())
    if expected[-1] < 10:  # too few for a cell in the chi-square test
        assert observed[-1] < 40
        expected, observed = expected[:-1], observed[:-1]
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_forward_gives_unit_vectors_and_their_log_prob(name):
    distribution = DISTRIBUTIONS[name]
    v = numerics.centred_uniform(numerics.random_words(jax.random.key(2), (1, 20_000, 2)))
    directions, log_q = jax.jit(jax.vmap(distribution.forward))(v)
    again = np.asarray(jax.jit(jax.vmap(distribution.log_prob))(directions))
    np.testing.assert_allclose(np.linalg.norm(np.asarray(directions), axis=1), 1.0, atol=1e-6)
    drawn = np.isfinite(again)
    assert np.mean(~drawn) < 1e-4  # rounding at the very edge of the lamp
    np.testing.assert_allclose(np.asarray(log_q)[drawn], again[drawn], atol=2e-5)


@pytest.mark.parametrize("word", [0x00000000, 0x00000001, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_extreme_uniforms_give_finite_directions_above_the_plane(name, word):
    v = numerics.centred_uniform(jnp.full((1, 2), word, jnp.uint32))
    direction, log_q = DISTRIBUTIONS[name].forward(v)
    assert np.all(np.isfinite(direction))
    assert np.isfinite(log_q)
    assert direction[2] > 0


def test_grazing_cosine_directions_keep_their_density():
    direction, log_q = CosineHemisphere().forward(jnp.asarray([2.0**-33, 0.2], jnp.float32))
    assert direction[2] == pytest.approx(2.0**-16.5, rel=1e-6)
    assert log_q == pytest.approx(np.log(2.0**-16.5 / np.pi), rel=1e-6)


def test_directions_that_miss_the_lamp_have_no_density():
    lamp = Rectangle(centre=[0.0, 0.0, 1.0], half_u=[0.1, 0.0, 0.0], half_v=[0.0, -0.2, 0.0])
    towards = TowardsLamp([0.0, 0.0, 0.0], lamp)
    for miss in ([0.11, 0.0, 1.0], [0.0, 0.21, 1.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]):
        assert towards.log_prob(jnp.asarray(miss, float) / np.linalg.norm(miss)) == -jnp.inf
    for hit in ([0.09, 0.0, 1.0], [0.0, 0.19, 1.0]):
        assert towards.log_prob(jnp.asarray(hit, float) / np.linalg.norm(hit)) > 0
    # Straight up: distance 1, cosine 1, area 0.08.
    assert towards.log_prob(jnp.asarray([0.0, 0.0, 1.0])) == pytest.approx(-np.log(0.08), rel=1e-6)


def test_a_lamp_seen_from_behind_is_not_hit():
    back = Rectangle(centre=TILTED.centre, half_u=TILTED.half_v, half_v=TILTED.half_u)
    assert bool(TILTED.hit(jnp.zeros(3), _towards(TILTED.centre)).inside)
    assert not bool(back.hit(jnp.zeros(3), _towards(TILTED.centre)).inside)
    with pytest.raises(ValueError, match="only the back or the edge"):
        TowardsLamp([0.0, 0.0, 0.0], back)


def _towards(point):
    return point / jnp.linalg.norm(point)


def test_gradients_are_finite_where_the_lamp_is_missed():
    def log_prob(height):
        lamp = Rectangle(jnp.stack([0.0, 0.0, height]), [0.1, 0.0, 0.0], [0.0, -0.1, 0.0])
        return TowardsLamp([0.0, 0.0, 0.0], lamp).log_prob(jnp.asarray([0.6, 0.0, 0.8]))

    assert np.isfinite(jax.grad(lambda h: jnp.where(jnp.isfinite(log_prob(h)), log_prob(h), 0.0))(1.0))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (([1.0, 0, 0], [1.0, 1.0, 0]), "perpendicular"),
        (([0.0, 0, 0], [1.0, 1.0, 0]), "must not be zero"),
        (([1.0, 0], [0.0, 1.0, 0]), r"half_u must have shape \(3,\), got \(2,\)"),
    ],
)
def test_bad_rectangles_are_refused(edges, message):
    with pytest.raises(ValueError, match=message):
        Rectangle([0.0, 0.0, 1.0], *edges)
