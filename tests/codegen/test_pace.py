"""The seconds of a table's rows are those of the kernels, not of their compilation."""

import jax

import mcengine as mc
from experiments.measure import Ladder, measure


def test_the_pace_is_without_the_compilers_seconds():
    # A function of its own, so that nothing of this structure was compiled before.
    problem = mc.Expectation(lambda x: x * x, mc.Normal(1.0, 1.0), exact=2.0)
    ladder = Ladder(min_samples=256, max_samples=1024, replicates=400)
    rows = measure(jax.random.key(7), problem, None, ladder, points=mc.points.Sobol())
    assert 400 * rows[1]["seconds"] < 0.5 * rows[1]["compile_seconds"]
