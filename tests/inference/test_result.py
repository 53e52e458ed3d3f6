"""What all results share: interval, status, dict and text; and the old names of an estimate's fields."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc
from mcengine.inference.result import Result

STANDARD, BUDGET = mc.Normal(0.0, 1.0), mc.Samples(1_000)
PAIR = mc.Expectation(lambda x: jnp.stack([x, jnp.where(x > 9.0, 1.0, 0.0)]), STANDARD)
LOSS = mc.Expectation(jnp.exp, STANDARD)
KEY = jax.random.key(3)


def estimate():
    return mc.estimate(KEY, PAIR, budget=BUDGET, covariance="full")


def risk():
    return mc.estimate(KEY, LOSS, budget=BUDGET, functional=mc.TailRisk([0.9, 0.99]))


RESULTS = {
    "estimate": estimate,
    "combination": lambda: estimate().combination([1.0, 2.0]),
    "function": lambda: estimate().function_of(lambda v: {"sum": v[0] + v[1], "difference": v[0] - v[1]}),
    "risk": risk,
}


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_has_an_interval_a_status_a_dict_and_a_text(name):
    result = RESULTS[name]()
    assert isinstance(result, Result)
    low, high = result.interval(0.9)
    assert jax.tree.structure(low) == jax.tree.structure(result.value)
    jax.tree.map(lambda a, b: np.testing.assert_array_less(a, b), low, high)
    for level in (0.0, 1.0, np.nan):
        with pytest.raises(ValueError, match="level must lie strictly between 0 and 1"):
            result.interval(level)
    assert result.status == result.status_code
    assert result.ok == (result.status == mc.Status.OK)
    entries = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert entries["status"] == str(result.status)
    assert entries["sentence"] == result.status.sentence
    assert str(result).splitlines()[-1] == f"status: {result.status.sentence}"
    assert repr(result) == str(result)


def test_a_combination_has_the_status_of_the_outputs_that_it_depends_on():
    result = estimate()
    assert result.status == mc.Status.NO_HITS
    assert result.combination([1.0, 0.0]).ok
    assert result.combination([1.0, 2.0]).status == mc.Status.NO_HITS


def test_batches_have_codes_and_no_single_status():
    keys = jax.random.split(KEY, 3)
    runs = mc.replicate(keys, PAIR, budget=BUDGET, covariance="full")
    risks = mc.replicate(keys, LOSS, budget=BUDGET, functional=mc.TailRisk([0.9, 0.99]))
    for batch in (runs, runs.combination([1.0, 2.0]), risks):
        assert batch.status_code.shape == (3,)
        assert str(batch).startswith(f"{type(batch).__name__} of (3,) replicates")
        with pytest.raises(ValueError, match="use status_code"):
            batch.status  # noqa: B018


def test_old_names_of_fields_still_work():
    result = estimate()
    with pytest.warns(DeprecationWarning, match=r"Estimate.row is now Estimate.summary"):
        assert result.row is result.summary
    with pytest.warns(DeprecationWarning, match=r"Estimate.recipe is now Estimate.spec"):
        assert result.recipe is result.spec
