"""Every closed form of a gradient, in the score and the pathwise form, by 400 runs each."""

import jax
import pytest

from tests.gradients.cases import CASES, assert_closed_form


@pytest.mark.battery
@pytest.mark.parametrize("name", CASES)
def test_closed_forms_are_met_and_intervals_cover(name):
    assert_closed_form(jax.random.key(20261121), name)
