"""Shapes are traced once for each structure, whatever the numbers."""

import jax
import jax.numpy as jnp
import numpy as np

import mcengine as mc
from mcengine.distributions import event_struct
from mcengine.numerics.partition import shapes_of


def counted():
    calls = []

    def function(scale, x):
        calls.append(None)
        return {"y": scale * x, "total": jnp.sum(x)}

    return function, calls


def test_one_trace_for_one_structure():
    function, calls = counted()
    for scale, x in ((2.0, np.ones(3)), (3.0, jnp.zeros(3)), (4.5, jax.ShapeDtypeStruct((3,), jnp.float32))):
        found = shapes_of(function, scale, x)
        assert (found["y"].shape, found["total"].shape) == ((3,), ())
    assert len(calls) == 1
    assert shapes_of(function, 2.0, np.ones(4))["y"].shape == (4,)
    assert len(calls) == 2


def test_static_arguments_are_compared_by_value():
    def function(x, power):
        return jnp.zeros(power) + x

    assert shapes_of(function, 1.0, 2).shape == (2,)
    assert shapes_of(function, 1.0, 3).shape == (3,)


def test_the_precision_is_part_of_the_structure():
    normal = mc.Normal(0.0, 1.0)
    assert event_struct(normal).dtype == jnp.float32
    with jax.enable_x64(True):
        assert event_struct(mc.Normal(0.0, 1.0)).dtype == jnp.float64
    assert event_struct(normal).dtype == jnp.float32


def test_closures_over_a_tracer_are_not_cached():
    function, calls = counted()

    @jax.jit
    def run(x):
        inside = lambda scale: function(scale, x)  # noqa: E731
        assert shapes_of(inside, 2.0)["y"].shape == (3,)
        return x

    run(jnp.ones(3))
    assert len(calls) == 1
