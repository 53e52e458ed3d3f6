"""A problem written by a user: a subclass of `mc.Problem` states what differs from the defaults."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc


class Call(mc.Problem):
    """E[max(exp(X) - strike, 0)], the example of the docstring of `mc.Problem`."""

    target: mc.Normal
    strike: jax.Array

    def integrand(self, x):
        return jnp.maximum(jnp.exp(x) - self.strike, 0.0)


class BoundedCall(Call):
    """The same, cut off at a bound, with the true value as a field."""

    value_bound: float = 1.0
    exact: float | None = None

    def integrand(self, x):
        return jnp.minimum(super().integrand(x), self.value_bound)


CALL = Call(mc.Normal(0.0, 1.0), jnp.asarray(1.0))


def test_a_problem_of_a_user_is_estimated_like_the_expectation_that_it_is(key):
    expectation = mc.Expectation(CALL.integrand, CALL.target)
    own, same = (mc.estimate(key, problem, budget=mc.Samples(4_096)) for problem in (CALL, expectation))
    assert own.value == same.value
    assert own.std_error == same.std_error


def test_fields_of_a_user_replace_the_defaults(key):
    bounded = BoundedCall(mc.Normal(0.0, 1.0), jnp.asarray(1.0), 2.0, exact=0.5)
    assert [field.name for field in dataclasses.fields(bounded)] == ["target", "strike", "value_bound", "exact"]
    assert (CALL.value_bound, CALL.exact, CALL.exact_law, CALL.is_indicator) == (None, None, None, False)
    assert (bounded.value_bound, bounded.exact) == (2.0, 0.5)
    assert bounded.without_answers().exact is None
    tolerance = mc.Tolerance(atol=0.2, rtol=0.0, max_samples=2**14, finite_sample="betting")
    assert np.isfinite(mc.estimate(key, bounded, budget=tolerance).value)


def test_a_problem_without_an_integrand_cannot_be_made():
    class Incomplete(mc.Problem):
        target: mc.Normal

    with pytest.raises(TypeError, match=r"Incomplete.*integrand"):
        Incomplete(mc.Normal(0.0, 1.0))
