"""`estimate` inside `jit`, `vmap` and `grad`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine as mc

STANDARD = mc.Normal(0.0, 1.0)
COUNT = mc.Samples(20_000)


@pytest.mark.parametrize("execution", [mc.Execution(), mc.Execution(block_size=1_024)])
def test_in_jit_agrees_with_the_host_loop(key, execution):
    def run(key, loc):
        problem = mc.Expectation(lambda x: jnp.maximum(x, 0.0) ** 2, STANDARD)
        return mc.estimate(key, problem, mc.Normal(loc, 1.3), budget=COUNT, execution=execution)

    host, traced = run(key, 0.4), jax.jit(run)(key, 0.4)
    for name in ("value", "std_error", "ess", "max_weight_share", "num_hits", "num_samples"):
        np.testing.assert_allclose(getattr(traced, name), getattr(host, name), rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(traced.pareto_k, host.pareto_k, atol=2e-3)
    assert int(traced.status_code) == host.status_code


def test_vmap_over_64_parameter_sets(key):
    def run(key, loc, threshold):
        return mc.estimate(
            key, mc.Probability(lambda x: x, STANDARD, threshold), mc.Normal(loc, 1.0), budget=mc.Samples(2_000)
        )

    locs, thresholds = jnp.linspace(2.0, 4.0, 64), jnp.linspace(4.0, 2.0, 64)
    keys = jax.random.split(key, 64)
    batch = jax.jit(jax.vmap(run))(keys, locs, thresholds)
    assert batch.value.shape == batch.status_code.shape == batch.interval()[0].shape == (64,)
    for i in (0, 31, 63):
        alone = run(keys[i], float(locs[i]), float(thresholds[i]))
        np.testing.assert_allclose(batch.value[i], alone.value, rtol=1e-6)
        np.testing.assert_allclose(batch.interval()[1][i], alone.interval()[1], rtol=1e-5)


def test_pathwise_gradient_without_a_proposal(key):
    def value(loc):
        return mc.estimate(key, mc.Expectation(lambda x: x**2, mc.Normal(loc, 1.0)), budget=COUNT).value

    # d/dm E(x^2) = 2 m, with standard deviation 2 a sample.
    for gradient in (jax.grad(value), jax.jit(jax.grad(value))):
        assert float(gradient(1.5)) == pytest.approx(3.0, abs=4 * 2 / np.sqrt(20_000))


def test_score_gradient_with_a_frozen_target_as_proposal(key):
    def value(loc):
        target = mc.Normal(loc, 1.0)
        problem = mc.Probability(lambda x: x, target, 2.0)
        return mc.estimate(key, problem, jax.lax.stop_gradient(target), budget=COUNT).value

    exact = np.exp(-0.125) / np.sqrt(2 * np.pi)
    assert float(jax.grad(value)(1.5)) == pytest.approx(exact, abs=4 * 1.0 / np.sqrt(20_000))


def test_gradient_through_the_proposal_is_that_of_the_weighted_sum(key):
    def value(loc, execution=mc.Execution(block_size=4_096)):
        problem = mc.Expectation(lambda x: x**2, STANDARD)
        return mc.estimate(key, problem, mc.Normal(loc, 1.3), budget=COUNT, execution=execution).value

    gradient = float(jax.grad(value)(0.5))
    step = 0.02
    assert gradient == pytest.approx(
        (float(value(0.5 + step)) - float(value(0.5 - step))) / (2 * step), rel=2e-2, abs=2e-3
    )


def test_gradient_by_a_closure_over_a_traced_number(key):
    def value(scale):
        return mc.estimate(key, mc.Expectation(lambda x: scale * x**2, STANDARD), budget=COUNT).value

    assert float(jax.grad(value)(3.0)) == pytest.approx(float(value(1.0)), rel=1e-5)


class Scaled:
    """A callable with a traced attribute, in nobody's pytree."""

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, x):
        return self.scale * x**2


@pytest.mark.parametrize(
    "hide", [lambda s: lambda x: (lambda y: s * y**2)(x), lambda s: partial(lambda a, x: a * x**2, s), Scaled]
)
def test_a_traced_number_is_found_wherever_a_function_holds_it(key, hide):
    def value(scale):
        return mc.estimate(key, mc.Expectation(hide(scale), STANDARD), budget=COUNT).value

    assert float(jax.grad(value)(3.0)) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("wrt", ["target", "threshold"])
def test_a_pathwise_gradient_of_an_indicator_raises(key, wrt):
    def value(number):
        target = mc.Normal(number if wrt == "target" else 1.0, 1.0)
        threshold = number if wrt == "threshold" else 2.0
        return mc.estimate(key, mc.Probability(lambda x: x, target, threshold), budget=mc.Samples(100)).value

    with pytest.raises(ValueError, match="pathwise gradient of a Probability would silently be 0"):
        jax.grad(value)(1.0)


def test_a_time_budget_in_a_trace_raises(key):
    problem = mc.Expectation(lambda x: x, STANDARD)
    with pytest.raises(ValueError, match=r"only a budget of mc.Samples\(n\) can be kept inside jit"):
        jax.jit(lambda k: mc.estimate(k, problem, budget=mc.Seconds(1.0)).value)(key)


def test_the_status_of_a_batch_asks_for_its_code(key):
    batch = jax.vmap(lambda k: mc.estimate(k, mc.Expectation(lambda x: x, STANDARD), budget=COUNT))(
        jax.random.split(key, 2)
    )
    with pytest.raises(ValueError, match="use status_code"):
        _ = batch.status
