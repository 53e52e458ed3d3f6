"""Budgets and execution settings: what they take and what they refuse, by the name of the class."""

import numpy as np
import pytest

import mcengine as mc


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mc.Samples(True), "Samples: the number of samples must be a whole number, got True"),
        (lambda: mc.Samples(None), "Samples: .* got None"),
        (lambda: mc.Seconds("x"), "Seconds: the time must be a number of seconds, got 'x'"),
        (lambda: mc.Seconds(None), "Seconds: .* got None"),
        (lambda: mc.Seconds(True), "Seconds: .* got True"),
        (lambda: mc.Execution(block_size=1024.0), "Execution: block_size must be an int, got 1024.0"),
        (lambda: mc.Execution(blocks_per_call="32"), "Execution: blocks_per_call must be an int, got '32'"),
        (lambda: mc.Execution(threads=True), "Execution: threads must be an int, got True"),
    ],
)
def test_the_wrong_type_is_named(make, words):
    with pytest.raises(TypeError, match=words):
        make()


def test_numbers_as_people_and_numpy_write_them():
    assert mc.Samples(1e6) == mc.Samples(np.int64(10**6)) == mc.Samples(10**6)
    assert mc.Seconds(np.float32(0.5)) == mc.Seconds(0.5)
    assert mc.Execution(block_size=np.int64(1024)).block_size == 1024
