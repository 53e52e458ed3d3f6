"""Every method on every problem it fits, 400 replicates: honest intervals, or a status that says they are not.

A new problem, proposal or weighting joins by its YAML alone.
"""

import jax
import numpy as np
import pytest
from jax import tree

import mcengine as mc
from experiments.config import build, build_problem, compose, group_options
from tests.statistics import MIN_COVERED, covered, least_covered, normal_scores

RUNS = 400
NUM_SAMPLES = 4_096
WEIGHTINGS = group_options("weighting")
# A weighting that cannot hold the truth by construction is right only if it says so, which the test below asks.
CASES = [
    (problem, proposal, weighting)
    for problem in group_options("problem")
    for proposal in ["plain", *(name for name in group_options("proposal") if name.startswith(f"{problem}/"))]
    for weighting in (["raw"] if proposal == "plain" else WEIGHTINGS)
]
# Proposals that miss a part of the target where f is 0: right by raw weights, refused by self-normalised ones.
REFUSED = [("plane_light", "plane_light/lamp", "self_normalised")]


def measure(problem, proposal, weighting):
    cfg = compose([f"problem={problem}", f"proposal={proposal}", f"weighting={weighting}"])
    built, source = build_problem(cfg)
    keys = jax.random.split(jax.random.key(20261121), RUNS)
    runs = mc.replicate(keys, built, source, budget=mc.Samples(NUM_SAMPLES), weighting=build(cfg.weighting))
    return runs, built.exact


def select(leaf, index):
    return np.asarray(leaf, np.float64).reshape(RUNS, -1)[:, index]


@pytest.mark.battery
@pytest.mark.parametrize(("problem", "proposal", "weighting"), REFUSED)
def test_a_method_that_cannot_be_right_is_refused(problem, proposal, weighting):
    with pytest.raises(ValueError, match="a self-normalised estimate needs all of it"):
        measure(problem, proposal, weighting)


@pytest.mark.battery
@pytest.mark.parametrize(
    ("problem", "proposal", "weighting"),
    [case for case in CASES if case not in REFUSED],
    ids=[" ".join(case) for case in CASES if case not in REFUSED],
)
def test_intervals_are_honest_or_flagged(problem, proposal, weighting):
    runs, exact = measure(problem, proposal, weighting)
    low, high = runs.interval()
    trees = (exact, low, high, runs.value, runs.std_error, runs.status_codes)
    for truth, low_, high_, value, error, codes in zip(*map(tree.leaves, trees), strict=True):
        ok = np.asarray(codes).reshape(RUNS, -1) == mc.Status.OK
        for output, target in enumerate(np.broadcast_to(truth, np.shape(value)[1:]).reshape(-1)):
            sides = [select(leaf, output) for leaf in (low_, high_)]
            fine = ok[:, output]
            # No silent failure: runs called ok are hardly ever off by more than four standard errors.
            far = np.abs(select(value, output) - target) > 4 * select(error, output)
            assert np.sum(far & fine) <= 0.01 * RUNS, "runs with status ok are far off"
            # The intervals called ok cover, however few they are.
            found = covered(*(side[fine] for side in sides), target)
            assert found >= least_covered(int(fine.sum())), f"{found} cover of {fine.sum()} ok"
            if fine.mean() < 0.5:
                continue  # flagged, as it should be where the interval is not to be trusted
            assert covered(*sides, target) >= MIN_COVERED[RUNS], f"coverage with {fine.mean():.0%} ok"
            if not runs.recipe.binomial:
                scores = normal_scores(select(value, output), select(error, output), runs.num_units, target)
                assert 0.85 <= np.std(scores[np.isfinite(scores)]) <= 1.15
