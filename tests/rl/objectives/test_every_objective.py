"""Every objective of `cases.OBJECTIVES`: its formula in float64, padding, extreme ratios, half precision, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.rl.objectives.cases import LOG_MU, LOG_PI, MASK, OBJECTIVES, SHAPE, advantages_of

PADDED = np.where(MASK, LOG_PI, np.nan)
OFF_POLICY = [name for name, case in OBJECTIVES.items() if not case.is_on_policy]
every_objective = pytest.mark.parametrize("name", OBJECTIVES)
every_off_policy_objective = pytest.mark.parametrize("name", OFF_POLICY)


def numeric_gradient(loss, at):
    gradient, step = np.zeros_like(at), 1e-6
    for index in np.ndindex(*at.shape):
        if MASK[index]:
            moved = [at.copy(), at.copy()]
            moved[0][index] += step
            moved[1][index] -= step
            gradient[index] = (loss(moved[0]) - loss(moved[1])) / (2 * step)
    return gradient


@every_objective
def test_value_and_gradient_are_those_of_the_formula_whatever_the_padding_holds(name):
    case = OBJECTIVES[name]
    objective = jax.jit(jax.value_and_grad(lambda p: case.objective(p, LOG_MU, advantages_of(case), mask=MASK)))
    value, gradient = objective(jnp.asarray(PADDED))
    assert value == pytest.approx(case.formula(LOG_PI), rel=1e-5)
    np.testing.assert_allclose(gradient, numeric_gradient(case.formula, LOG_PI), rtol=2e-5, atol=1e-6)


@every_objective
def test_extreme_ratios_give_finite_values_and_gradients(name):
    case = OBJECTIVES[name]
    log_pi, log_mu = jnp.asarray([[-1.0, -200.0]]), jnp.asarray([[-200.0, -1.0]])
    step = jax.jit(jax.value_and_grad(case.objective))
    for sign in (1.0, -1.0):
        value, gradient = step(log_pi, log_mu, sign * advantages_of(case, (1, 2)))
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@every_off_policy_objective
def test_an_action_of_behaviour_probability_0_gives_nan_inside_a_trace(name):
    # Many steps, because XLA's vectorised minimum may drop a NaN; the value alone, and with its gradient.
    case, ones = OBJECTIVES[name], jnp.ones((4, 256))
    a, everywhere = advantages_of(case, ones.shape), ones > 0
    log_mu = (-ones).at[3, 5].set(-jnp.inf)
    value_alone, step = jax.jit(case.objective), jax.jit(jax.value_and_grad(case.objective))
    for log_pi in (-1.0, -jnp.inf):
        log_pi = (-ones).at[3, 5].set(log_pi)
        assert np.isnan(value_alone(log_pi, log_mu, a, mask=everywhere))
        assert np.isnan(step(log_pi, log_mu, a, mask=everywhere)[0])
        value, gradient = step(log_pi, log_mu, a, mask=everywhere.at[3, 5].set(False))
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@every_objective
def test_half_precision_gives_a_float32_loss_and_a_finite_gradient(name):
    case = OBJECTIVES[name]
    log_pi = jnp.full((2, 3), -1.0, jnp.float16)
    a = advantages_of(case, (2, 3)).astype(jnp.float16)
    value, gradient = jax.jit(jax.value_and_grad(case.objective))(log_pi, log_pi, a)
    assert value.dtype == jnp.float32
    assert gradient.dtype == jnp.float16
    assert np.isfinite(gradient.astype(jnp.float32)).all()


@every_objective
def test_bad_arguments_are_named(name):
    case = OBJECTIVES[name]
    a = advantages_of(case)
    bad = {
        r"(advantages|signal) has shape": (LOG_PI, LOG_MU, a[:2]),
        r"log_pi must be a number below infinity, got nan": (LOG_PI * np.nan, LOG_MU, a),
        r"(advantages|signal) must be finite": (LOG_PI, LOG_MU, a * np.nan),
        r"there are no steps in arrays of shape \(5, 0\)": (LOG_PI[:, :0], LOG_MU[:, :0], a[:, :0]),
    }
    if not case.is_on_policy:
        bad["log_mu has shape|log_sampler has shape"] = (LOG_PI, LOG_MU[:, :3], a)
    for message, arguments in bad.items():
        with pytest.raises(ValueError, match=message):
            case.objective(*arguments)
    with pytest.raises(ValueError, match="the mask excludes all 35 steps"):
        case.objective(LOG_PI, LOG_MU, a, mask=np.zeros(SHAPE, bool))
    with pytest.raises(ValueError, match="mask has shape"):
        case.objective(LOG_PI, LOG_MU, a, mask=MASK[0])
