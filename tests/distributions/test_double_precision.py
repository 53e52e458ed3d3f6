"""With the user's JAX in x64 everything is float64 and as exact as that; run in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import json, sys
import numpy as np, jax, jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
import mcengine.distributions as md
from mcengine import numerics
laws = {
    "normal": md.Normal(1.0, 2.0), "t": md.StudentT(3.5, 1.0, 2.0), "t-light": md.StudentT(1e6),
    "gamma": md.Gamma(0.3, 2.0), "gamma-large": md.Gamma(2e4), "beta": md.Beta(0.4, 30.0),
    "weibull": md.Weibull(0.7, 2.0), "gumbel": md.Gumbel(1.0, 2.0), "genpareto": md.GeneralisedPareto(0.3, 2.0, 1.0),
    "lognormal": md.LogNormal(0.3, 0.8), "poisson": md.Poisson(3.7), "box": md.Box(-np.inf, np.inf),
    "tail": md.Truncated(md.Normal(), 8.0, np.inf),
}
points = {"poisson": [0.0, 1.0, 2.0, 7.0], "tail": [8.1, 9.0, 20.0]}
log_probs = jax.jit(lambda law, x: jax.vmap(law.log_prob)(x))
out = {}
for name, law in laws.items():
    x = jnp.asarray(points.get(name, [0.02, 0.7, 0.97]))
    values = log_probs(law, x)
    assert values.dtype == jnp.float64, name
    assert md.event_struct(law).dtype == (jnp.int32 if name == "poisson" else jnp.float64), name
    out[name] = [np.asarray(x).tolist(), np.asarray(values).tolist()]
for name in ("t", "genpareto", "tail"):
    law = laws[name]
    v = jnp.asarray(np.linspace(-0.49, 0.48, 12).reshape(-1, law.num_uniforms))
    x, log_q = jax.jit(lambda law, v: jax.vmap(law.forward)(v))(law, v)
    assert x.dtype == log_q.dtype == jnp.float64
    np.testing.assert_allclose(log_q, log_probs(law, x), rtol=1e-10, atol=1e-10)
v = numerics.centred_uniform(jnp.asarray(WORDS, jnp.uint32)[:, :, None])
for name in ("gamma", "gamma-large", "beta", "poisson"):
    law = laws[name]
    x = jax.jit(lambda law, v: jax.vmap(lambda one: law.forward(one)[0])(v))(law, v)
    out[name + "-forward"] = [np.asarray(v)[:, 0].tolist(), np.asarray(x).tolist()]
for x in (-40.0, -2.0, 1.5, 300.0):
    student = laws["t"]
    out[f"t-tails {x}"] = [float(student.log_cdf(jnp.asarray(x))), float(student.log_sf(jnp.asarray(x)))]
print(json.dumps(out))
"""
WORDS = [[0, 5, 2**12, 2**25, 3 * 2**29, 2**31 - 1, 2**31 + 7, 2**32 - 2**20, 2**32 - 2, 2**32 - 1], [7, 2**30] * 5]
CODE = f"WORDS = {WORDS}" + CODE
LAWS = {
    "normal": stats.norm(1.0, 2.0),
    "t": stats.t(3.5, 1.0, 2.0),
    "t-light": stats.t(1e6),
    "gamma": stats.gamma(0.3, scale=0.5),
    "gamma-large": stats.gamma(2e4),
    "beta": stats.beta(0.4, 30.0),
    "weibull": stats.weibull_min(0.7, scale=2.0),
    "gumbel": stats.gumbel_r(1.0, 2.0),
    "genpareto": stats.genpareto(0.3, 1.0, 2.0),
    "lognormal": stats.lognorm(0.8, scale=np.exp(0.3)),
    "poisson": stats.poisson(3.7),
    "box": stats.t(2),
}


@pytest.fixture(scope="module")
def values():
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", LAWS)
def test_log_prob_to_eleven_digits(name, values):
    x, ours = (np.asarray(v) for v in values[name])
    law = LAWS[name]
    exact = law.logpmf(x) if name == "poisson" else law.logpdf(x)
    # The normaliser of t at df = 1e6, and of large gammas, is SciPy's own weak spot.
    np.testing.assert_allclose(ours, exact, rtol=1e-9 if name in ("t-light", "gamma-large") else 1e-11, atol=1e-11)


def test_a_truncated_tail_to_eleven_digits(values):
    x, ours = (np.asarray(v) for v in values["tail"])
    np.testing.assert_allclose(ours, stats.norm.logpdf(x) - stats.norm.logsf(8.0), rtol=1e-11)


@pytest.mark.parametrize("name", ["gamma", "gamma-large", "beta", "poisson"])
def test_the_inverse_to_ten_digits_with_two_words(name, values):
    v, x = (np.asarray(one) for one in values[f"{name}-forward"])
    law = LAWS[name]
    assert np.abs(v).min() < 2.0**-60
    smaller = np.where(v > 0, law.cdf(x), law.sf(x - (name == "poisson")))
    if name == "poisson":  # the first count at which the lower tail reaches u, or the upper one falls to 1 - u
        assert np.all(np.where(v > 0, smaller >= v, (smaller > -v) & (law.sf(x) <= -v)))
        assert np.all(np.where(v > 0, law.cdf(x - 1) < v, True))
    else:
        tail = np.abs(v)
        # d log x = d log p (p / x f): the quantile is wrong by that much where the tail is wrong by 1e-10.
        assert np.all(np.abs(smaller / tail - 1) * tail / (x * law.pdf(x)) < 1e-10)


@pytest.mark.parametrize("x", [-40.0, -2.0, 1.5, 300.0])
def test_tails_of_student_t_to_eleven_digits(x, values):
    law = LAWS["t"]
    np.testing.assert_allclose(values[f"t-tails {x}"], [law.logcdf(x), law.logsf(x)], rtol=1e-11)
