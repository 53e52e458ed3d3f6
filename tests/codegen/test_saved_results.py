"""Every method's numbers are what they were, to the bit where the last bits mean the same: see `saved_results.py`."""

import json

import numpy as np
import pytest

from tests.codegen import saved_results

# One or two of the families whose cases take seconds, and of what takes none; the others are in the battery.
FAST = {
    "points_lattice", "weighting_raw_tail", "weighting_no_hits", "proposal_tilted", "mis_random_power",
    "controls_functions", "functional_tail_risk", "budget_tolerance_weighted", "gradient_pathwise", "from_unweighted",
    "from_betting", "from_betting_weighted", "from_bernstein", "law_normal", "law_uniform", "law_exponential",
    "law_lognormal", "law_pushforward", "finance_by_hand", "teaching_policy_kl", "rl_loss_policy_gradient",
    "rl_loss_off_policy_gradient", "rl_loss_ppo_clip", "rl_loss_dual_clip", "rl_loss_cispo", "rl_loss_grpo",
    "rl_loss_gspo", "rl_surrogate_sequence_score_truncate", "rl_surrogate_step_weight_drop_outside",
    "rl_advantages_of_groups", "rl_weights_of_replay", "rl_kl_exact", "ope_model", "ope_truncated",
    "ope_doubly_robust_return",
}  # fmt: skip
# On other processors; the second in parts of the largest number of the array, for those that cancel.
RTOL, ATOL = 1e-4, 1e-6


@pytest.fixture(scope="module")
def saved():
    with np.load(saved_results.FILE, allow_pickle=False) as file:
        return dict(file)


def marked(name):
    return name if name in FAST else pytest.param(name, marks=pytest.mark.battery)


def split(flat, layout):
    """The arrays of a case, which are saved in a row."""
    ends = np.cumsum([int(np.prod(shape)) for _, shape in layout])
    return [np.reshape(part, shape) for part, (_, shape) in zip(np.split(flat, ends), layout, strict=False)]


@pytest.mark.parametrize("name", [marked(name) for name in saved_results.CASES])
def test_the_numbers_are_what_they_were(name, saved):
    about = json.loads(str(saved["about"]))
    layout, found = about["layout"][name], saved_results.leaves(name)
    assert [[str(leaf.dtype), list(leaf.shape)] for _, leaf in found] == layout
    same_machine = about["surroundings"] == saved_results.surroundings()
    for (place, leaf), wanted in zip(found, split(saved[name], layout), strict=True):
        if same_machine or not np.issubdtype(leaf.dtype, np.inexact):
            np.testing.assert_array_equal(leaf, wanted, err_msg=place)
        else:  # other processors and other compilers round otherwise
            largest = np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted))
            np.testing.assert_allclose(leaf, wanted, rtol=RTOL, atol=ATOL * largest, err_msg=place)


def test_every_case_is_saved():
    with np.load(saved_results.FILE, allow_pickle=False) as file:
        assert set(file) == {"about", *saved_results.CASES}
    assert set(saved_results.CASES) >= FAST
