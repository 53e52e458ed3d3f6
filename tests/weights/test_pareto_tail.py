"""The generalised Pareto fit: k-hat of known tails, and agreement with ArviZ."""

import jax.numpy as jnp
import numpy as np
import pytest

from mcengine.weights import pareto_tail


def tail_of(values):
    log_values = np.sort(np.log(values))[::-1]
    return log_values[: int(pareto_tail.tail_size(values.size)) + 1]


@pytest.mark.parametrize("k", [-0.3, 0.2, 0.5, 0.9])
def test_k_hat_of_generalised_pareto_values_is_their_shape(k):
    rng = np.random.default_rng(7)
    runs = [
        pareto_tail.k_hat(tail_of(1.0 + pareto_tail.quantile(rng.random(20_000), k, 1.0)), 20_000) for _ in range(50)
    ]
    # The prior of weight 10 at 1/2 against a tail of 424 moves k by at most 2.3 % of the way.
    expected = k + (0.5 - k) * 10 / 434
    assert np.mean(runs) == pytest.approx(expected, abs=0.05)


def test_k_hat_agrees_with_arviz():
    base = pytest.importorskip("arviz_stats.base", reason="the oracle for k-hat is not installed")
    rng = np.random.default_rng(3)
    for n in (40, 225, 226, 1_000, 50_000):
        log_w = rng.standard_normal(n) * rng.uniform(0.2, 2.5)
        theirs = float(base.array_stats.psislw(-log_w)[1])
        assert pareto_tail.k_hat(tail_of(np.exp(log_w)), n) == pytest.approx(theirs, abs=1e-6)


def test_numpy_and_jax_forms_agree():
    log_tail = tail_of(np.exp(np.random.default_rng(5).standard_normal(5_000)))
    single = pareto_tail.k_hat(jnp.asarray(log_tail, jnp.float32), jnp.asarray(5_000))
    assert float(single) == pytest.approx(float(pareto_tail.k_hat(log_tail, 5_000)), abs=1e-3)


def test_a_stack_of_tails_is_fitted_as_each_tail_alone():
    rng = np.random.default_rng(11)
    tails = np.stack([tail_of(np.exp(rng.standard_normal(2_000) * s)) for s in (0.5, 1.0, 2.0)])
    counts = np.asarray([2_000, 2_000, 100])
    together = pareto_tail.k_hat(tails, counts)
    np.testing.assert_allclose(
        together, [pareto_tail.k_hat(t, c) for t, c in zip(tails, counts, strict=True)], rtol=1e-12
    )


@pytest.mark.parametrize("num_values", [0, 1, 20])
def test_too_few_values_have_no_tail(num_values):
    log_tail = np.full(50, -np.inf)
    log_tail[:num_values] = -np.arange(num_values, dtype=float)
    with np.errstate(all="ignore"):
        assert np.isnan(pareto_tail.k_hat(log_tail, num_values))


def test_a_bounded_tail_with_float32_ties_still_has_an_index():
    # The largest weights of a good proposal for a tail lie just below a bound, where the grid of float32 is coarse.
    values = np.float32(1.0) - np.float32(1e-2) * np.random.default_rng(2).random(100_000).astype(np.float32)
    assert pareto_tail.k_hat(tail_of(values.astype(np.float64)), values.size) < 0.0


def test_quantile_is_continuous_at_zero_shape():
    p = np.asarray([0.1, 0.5, 0.99])
    np.testing.assert_allclose(pareto_tail.quantile(p, 1e-5, 2.0), pareto_tail.quantile(p, 0.0, 2.0), rtol=1e-4)
