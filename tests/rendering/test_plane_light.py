"""Light on a plane under a square lamp, against the closed form."""

import csv
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc
from mcengine.rendering import CosineHemisphere, cosine_and_lamp, plane_light, towards_lamp
from mcengine.rendering.plane_light import form_factor
from tests.statistics import assert_honest

TABLE = list(
    csv.DictReader((Path(__file__).parents[1] / "data" / "plane_light.csv").read_text(encoding="utf-8").splitlines())
)
PROPOSALS = {
    "plain": lambda problem: None,
    "cosine": lambda problem: CosineHemisphere(),
    "lamp": towards_lamp,
    "cosine_and_lamp": cosine_and_lamp,
}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"({row['x']},{row['y']})")
def test_the_closed_form_gives_the_published_table(row):
    x, y = float(row["x"]), float(row["y"])
    assert form_factor(x, y, 1.0, 0.1) == pytest.approx(float(row["form_factor"]), abs=6e-10)
    assert float(plane_light(x, y).exact) == pytest.approx(float(row["radiance"]), abs=6e-8)


@pytest.mark.parametrize(("x", "y", "height", "half"), [(0.3, -0.7, 0.6, 0.25), (0.0, 0.1, 2.0, 1.5)])
def test_the_closed_form_is_the_integral_over_the_lamp(x, y, height, half):
    # cos cos' / (pi d^2) over the lamp, by Gauss-Legendre.
    node, weight = np.polynomial.legendre.leggauss(40)
    a, b = np.meshgrid(half * node - x, half * node - y)
    squared = a * a + b * b + height**2
    by_area = np.sum(half**2 * np.outer(weight, weight) * height**2 / (np.pi * squared**2))
    assert form_factor(x, y, height, half) == pytest.approx(by_area, rel=1e-9)


@partial(jax.jit, static_argnames="num")
def repeats(seed, problem, proposal, num):
    """400 independent estimates."""
    keys = jax.random.split(jax.random.key(seed), 400)
    return jax.vmap(lambda key: mc.estimate(key, problem, proposal, budget=mc.Samples(num)))(keys)


def moments(problem, proposal, num, seed):
    """Mean and variance of w f from samples, in float64."""
    estimate = mc.estimate(jax.random.key(seed), problem, proposal, budget=mc.Samples(num))
    return float(estimate.value), float(estimate.std_error) ** 2 * num


@pytest.mark.parametrize("method", PROPOSALS)
@pytest.mark.parametrize(("x", "y"), [(1.0, -0.4), pytest.param(0.0, 0.0, marks=pytest.mark.battery)])
def test_estimates_are_unbiased_and_their_intervals_cover(method, x, y):
    # A large lamp, so that plain sampling hits it often enough for the mean to be nearly normal.
    problem = plane_light(x, y, lamp_half_size=0.5)
    proposal, num = PROPOSALS[method](problem), 2048

    estimates = repeats(21, problem, proposal, num)
    assert_honest(estimates, float(problem.exact), widest_ratio=1.2)
    assert np.std(estimates.value) * np.sqrt(num / 1000) < 0.15 * float(problem.exact)


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (1.0, 1.0)])
def test_directions_to_the_lamp_give_four_digits(x, y):
    problem = plane_light(x, y)
    value, variance = moments(problem, towards_lamp(problem), 2**20, 22)
    assert abs(value - float(problem.exact)) < 4 * np.sqrt(variance / 2**20)
    assert np.sqrt(variance / 2**20) < 2e-4 * float(problem.exact)


def test_lamp_directions_beat_cosine_directions_and_these_beat_plain_sampling():
    problem = plane_light(0.5, 0.0)
    plain, cosine, mixed, lamp = (
        moments(problem, PROPOSALS[name](problem), 200_000, 23)[1]
        for name in ("plain", "cosine", "cosine_and_lamp", "lamp")
    )
    assert plain > 1.2 * cosine
    assert cosine > 50 * mixed
    assert mixed > 10 * lamp
    # A hit or a miss under cosine sampling: variance (albedo radiance)^2 F (1 - F).
    factor = form_factor(0.5, 0.0, 1.0, 0.1)
    assert cosine == pytest.approx(50**2 * factor * (1 - factor), rel=0.15)


def test_heights_can_be_swept_by_vmap():
    def value(height):
        problem = plane_light(0.2, 0.0, lamp_height=height)
        return mc.estimate(jax.random.key(24), problem, towards_lamp(problem), budget=mc.Samples(4096)).value

    swept = jax.jit(jax.vmap(value))(jnp.asarray([0.5, 1.0, 2.0]))
    exact = [float(plane_light(0.2, 0.0, lamp_height=height).exact) for height in (0.5, 1.0, 2.0)]
    np.testing.assert_allclose(swept, exact, rtol=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lamp_height": 0.0}, "lamp_height must be positive, got 0.0"),
        ({"lamp_half_size": -1}, "lamp_half_size must be positive"),
        ({"albedo": 1.5}, r"albedo must lie in \[0, 1.0\], got 1.5"),
        ({"radiance": -1.0}, "radiance must lie in"),
    ],
)
def test_impossible_scenes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        plane_light(**changes)
