"""Every rule of the status table, alone: what it finds, and what it leaves to the others."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcengine.inference.status import RULES, Findings, Status, status_codes

NONE, YES, NO = np.asarray([np.nan]), np.asarray([True]), np.asarray([False])
GOOD = Findings(
    value=np.asarray([1.0]), std_error=np.asarray([0.01]), hits=np.asarray([5_000.0]), num_samples=np.asarray([1e4]),
    num_units=np.asarray([1e4]), k_hat=np.asarray([0.1]), ess=np.asarray([4_000.0]), largest_share=np.asarray([0.001]),
    bias=np.asarray([0.0]), residual_k_hat=NONE, is_nonfinite=NO, is_tied=NO, is_undersampled=NO, lacks_weight=NO,
    is_denominator_weak=NO, epsilon=1e-7,
)  # fmt: skip
# What makes each rule apply, and no graver one.
CASES = [
    ("few hits", Status.FEW_HITS, {"hits": np.asarray([20.0])}),
    ("few misses of an indicator", Status.FEW_HITS, {"hits": np.asarray([1e4 - 20.0]), "is_indicator": True}),
    ("few hits of plain sampling", Status.FEW_HITS, {"hits": np.asarray([9.0]), "is_binomial": True}),
    ("few units", Status.FEW_UNITS, {"num_units": np.asarray([7.0])}),
    ("equal units", Status.FEW_UNITS, {"is_tied": YES}),
    ("a tolerance that was not reached", Status.BUDGET_SPENT, {"is_budget_spent": True}),
    ("a bias", Status.BIASED, {"bias": np.asarray([0.004])}),
    ("rounding", Status.ROUNDING, {"std_error": np.asarray([1e-7])}),
    ("a heavy tail", Status.HEAVY_TAIL, {"k_hat": np.asarray([0.6])}),
    ("a tail within one standard error of 1/2", Status.HEAVY_TAIL, {"k_hat": np.asarray([0.45])}),
    ("heavy residuals", Status.HEAVY_TAIL, {"residual_k_hat": np.asarray([0.9])}),
    ("missing weight", Status.HEAVY_TAIL, {"lacks_weight": YES}),
    ("one large sample", Status.DOMINATED, {"largest_share": np.asarray([0.3])}),
    ("a small ESS", Status.DOMINATED, {"ess": np.asarray([20.0])}),
    ("an undersampled component", Status.UNDERSAMPLED_COMPONENT, {"is_undersampled": YES}),
    ("a very heavy tail", Status.UNRELIABLE, {"k_hat": np.asarray([0.8])}),
    ("a denominator near 0", Status.WEAK_DENOMINATOR, {"is_denominator_weak": YES}),
    ("no hits", Status.NO_HITS, {"hits": np.asarray([0.0])}),
    ("values that are not finite", Status.NON_FINITE, {"is_nonfinite": YES}),
]
RULE_OF = {rule.status: rule for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.status.name)
def test_no_rule_applies_to_a_good_run(rule):
    assert not np.any(rule.applies(GOOD))


@pytest.mark.parametrize(("status", "changes"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_rule_applies_to_its_own_findings(status, changes):
    findings = dataclasses.replace(GOOD, **changes)
    assert np.all(RULE_OF[status].applies(findings))
    np.testing.assert_array_equal(status_codes(findings), [status])
    traced = {field.name: getattr(findings, field.name) for field in dataclasses.fields(findings)}
    traced = {name: jnp.asarray(x) if isinstance(x, np.ndarray) else x for name, x in traced.items()}
    arrays = {name: x for name, x in traced.items() if isinstance(x, jax.Array)}
    others = {name: x for name, x in traced.items() if name not in arrays}
    np.testing.assert_array_equal(jax.jit(lambda a: status_codes(Findings(**a, **others)))(arrays), [status])


def test_every_rule_has_a_case_and_rules_are_in_order_of_severity():
    assert {status for _, status, _ in CASES} == set(RULE_OF) == set(Status) - {Status.OK}
    assert [rule.status for rule in RULES] == sorted(RULE_OF)


def test_the_most_severe_rule_gives_the_status():
    both = dataclasses.replace(GOOD, hits=np.asarray([20.0]), ess=np.asarray([20.0]), k_hat=np.asarray([0.8]))
    np.testing.assert_array_equal(status_codes(both), [Status.UNRELIABLE])


def test_the_binomial_interval_needs_no_equal_weights_and_no_large_ess():
    plain = dataclasses.replace(GOOD, is_binomial=True, hits=np.asarray([15.0]), ess=np.asarray([15.0]))
    np.testing.assert_array_equal(status_codes(plain), [Status.OK])


def test_rounding_errors_of_controls_have_no_tail():
    exact = dataclasses.replace(GOOD, std_error=np.asarray([1e-8]), residual_k_hat=np.asarray([3.0]))
    np.testing.assert_array_equal(status_codes(exact), [Status.ROUNDING])


def test_the_old_name_of_a_status_still_works():
    assert Status.UNMET_COMPONENT is Status.UNDERSAMPLED_COMPONENT
    assert Status["UNMET_COMPONENT"] is Status.UNDERSAMPLED_COMPONENT
    assert [status for status in Status if status == 8] == [Status.UNDERSAMPLED_COMPONENT]
