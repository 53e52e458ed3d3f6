"""The backward recurrence against a loop in NumPy, its gradient, and its errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcengine.rl.critics.recurrence import backward


def written_out(b, a, last):
    b, a = np.asarray(b, np.float64), np.asarray(a, np.float64)
    y, after = np.zeros(b.shape), np.broadcast_to(np.asarray(last, np.float64), b.shape[:-1])
    for t in reversed(range(b.shape[-1])):
        after = y[..., t] = b[..., t] + a[..., t] * after
    return y


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 7), (2, 3, 50)])
@pytest.mark.parametrize("last", ["one number", "a row"])
def test_it_equals_the_loop(key, shape, last):
    keys = jax.random.split(key, 3)
    b, a = (jax.random.normal(k, shape) for k in keys[:2])
    last = 0.7 if last == "one number" else jax.random.normal(keys[2], shape[:-1])
    np.testing.assert_allclose(backward(b, a, last), written_out(b, a, last), rtol=3e-5, atol=3e-5)
    with jax.enable_x64(True):
        b, a, last = (jnp.asarray(np.asarray(x), jnp.float64) for x in (b, a, last))
        found = backward(b, a, last)
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found, written_out(b, a, last), rtol=1e-12, atol=1e-12)


def test_the_last_entry_is_b_plus_a_times_the_last_value():
    b, a = jnp.asarray([1.0, 2.0]), jnp.asarray([0.5, 0.25])
    np.testing.assert_array_equal(backward(b, a), [2.0, 2.0])
    np.testing.assert_array_equal(backward(b, a, 8.0), [3.0, 4.0])


def test_its_gradient_is_that_of_the_sum_of_products():
    a = jnp.asarray([0.5, 0.25, 0.125])
    gradient = jax.grad(lambda b: backward(b, a)[0])(jnp.ones(3))
    np.testing.assert_allclose(gradient, [1.0, 0.5, 0.125])


def test_shapes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"same shape \[\.\.\., steps\], got \(3,\) and \(2,\)"):
        backward(jnp.ones(3), jnp.ones(2))
    with pytest.raises(ValueError, match=r"last must be one number or have shape \(4,\), got \(3,\)"):
        backward(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones(3))
