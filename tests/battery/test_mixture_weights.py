"""Chosen mixture weights in every field: the variance is never above that of equal weights, and mostly far below."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc
from experiments.config import build_problem, compose

# (problem and mixture, the largest allowed ratio of the variance to that with equal weights).
PROBLEMS = [
    (["problem=plane_light", "proposal=plane_light/cosine_and_lamp"], 0.1),
    (["problem=genz_gaussian", "proposal=genz_gaussian/peak_and_uniform"], 0.1),
    (["problem=peaked_curve", "proposal=peaked_curve/peak_and_uniform"], 0.01),
    (["problem=gaussian_tail", "proposal=gaussian_tail/defensive"], 0.7),
    (["problem=tabular_mdp", "proposal=tabular_mdp/mixed"], 0.6),
    (
        ["problem=index_fall", "problem.fall=0.1", "proposal=defensive", "proposal@proposal.base=index_fall/inflated"],
        1.05,
    ),
]


@pytest.mark.battery
@pytest.mark.parametrize(
    ("overrides", "most"), PROBLEMS, ids=lambda x: x[0].split("=")[1] if isinstance(x, list) else ""
)
def test_variances_fall_in_every_field(overrides, most):
    problem, mixture = build_problem(compose(overrides))
    equal = eqx.tree_at(lambda tree: getattr(tree, "mixture", tree).weights, mixture, jnp.asarray([0.5, 0.5]))
    first, second, third = jax.random.split(jax.random.key(20261121), 3)
    chosen = mc.choose_mixture_weights(first, problem, mixture)
    assert type(chosen) is type(mixture)
    after = mc.estimate(second, problem, chosen, budget=mc.Samples(2**16))
    before = mc.estimate(third, problem, equal, budget=mc.Samples(2**16))
    squares = [np.sum(run.std_error**2) for run in (after, before)]
    assert squares[0] <= most * squares[1]
    assert np.all(np.abs(after.value - before.value) < 5 * np.sqrt(after.std_error**2 + before.std_error**2))
