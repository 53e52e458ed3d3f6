"""Problems with known gradients, for the short tests here and the long ones of the battery."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import mcengine as mc
from tests.statistics import assert_honest

STRIKE, RATE, YEARS = 105.0, 0.03, 0.75
SPOT, VOLATILITY = 100.0, 0.25


def square(p):
    return mc.Expectation(lambda x: x**2, mc.Normal(p["loc"], p["scale"]))


def beyond_four(p):
    return mc.Probability(lambda x: x, mc.Normal(p["loc"], p["scale"]), 4.0)


def lifetime(rate):
    return mc.Expectation(lambda x: x, mc.Exponential(rate))


def call(p):
    """A Black and Scholes call; the distribution of the price has all parameters but that of the discount."""
    spread = p["volatility"] * YEARS**0.5
    price = mc.LogNormal(jnp.log(p["spot"]) + (RATE - 0.5 * p["volatility"] ** 2) * YEARS, spread)
    return mc.Expectation(lambda s: float(np.exp(-RATE * YEARS)) * jnp.maximum(s - STRIKE, 0.0), price)


def gumbel(p):
    return mc.Expectation(lambda x: x, mc.Gumbel(p["loc"], p["scale"]))


def prize(logits):
    return mc.Expectation(lambda x: jnp.asarray([1.0, 4.0, -2.0])[x], mc.Categorical(logits=logits))


def greeks():
    spread = VOLATILITY * np.sqrt(YEARS)
    d1 = (np.log(SPOT / STRIKE) + (RATE + 0.5 * VOLATILITY**2) * YEARS) / spread
    price = SPOT * stats.norm.cdf(d1) - STRIKE * np.exp(-RATE * YEARS) * stats.norm.cdf(d1 - spread)
    return price, {"spot": stats.norm.cdf(d1), "volatility": SPOT * stats.norm.pdf(d1) * np.sqrt(YEARS)}


NORMAL, LOGITS = {"loc": 1.5, "scale": 0.7}, np.asarray([0.1, -0.6, 0.9])
TAIL, MARKET = {"loc": 0.5, "scale": 1.1}, {"spot": SPOT, "volatility": VOLATILITY}
P = np.exp(LOGITS) / np.exp(LOGITS).sum()
DENSITY = stats.norm.pdf(4.0, 0.5, 1.1)
SQUARE = (1.5**2 + 0.49, {"loc": 3.0, "scale": 1.4})
BEYOND = (stats.norm.sf(4.0, 0.5, 1.1), {"loc": DENSITY, "scale": DENSITY * 3.5 / 1.1})
GUMBEL = (0.3 + np.euler_gamma * 1.7, {"loc": 1.0, "scale": np.euler_gamma})
PRIZE = (P @ [1, 4, -2], P * (np.asarray([1, 4, -2]) - P @ [1, 4, -2]))
CASES = {
    "normal, score": (square, NORMAL, None, "score", SQUARE),
    "normal, pathwise": (square, NORMAL, None, "pathwise", SQUARE),
    "normal, moving proposal": (square, NORMAL, lambda p: mc.Normal(p["loc"] + 0.3, 1.2), "pathwise", SQUARE),
    "tail, frozen proposal": (beyond_four, TAIL, mc.Normal(4.2, 1.0), "score", BEYOND),
    "exponential, score": (lifetime, 2.5, None, "score", (0.4, -0.16)),
    "exponential, pathwise": (lifetime, 2.5, None, "pathwise", (0.4, -0.16)),
    "call, score": (call, MARKET, None, "score", greeks()),
    "call, pathwise": (call, MARKET, None, "pathwise", greeks()),
    "gumbel, score": (gumbel, {"loc": 0.3, "scale": 1.7}, None, "score", GUMBEL),
    "categorical, score": (prize, LOGITS, None, "score", PRIZE),
}


def assert_closed_form(key, name):
    """400 runs of a case: the intervals of every entry cover its closed form and are not too wide."""
    problem_of, parameters, proposal, form, exact = CASES[name]
    problem, source, _ = mc.gradient_problem(problem_of, parameters, proposal, form=form)
    runs = mc.replicate(jax.random.split(key, 400), problem, source, budget=mc.Samples(2_000))
    low, high = runs.interval()
    assert_each_honest(runs.value["value"], runs.std_error["value"], (low["value"], high["value"]), exact[0], runs)
    entries = zip(*map(jax.tree.leaves, (runs.value, runs.std_error, low, high)), strict=True)
    truths = [*jax.tree.leaves(exact[1]), exact[0]]
    for (value, error, lower, upper), truth in zip(entries, truths, strict=True):
        assert_each_honest(value, error, (lower, upper), truth, runs)


def assert_each_honest(value, error, interval, truth, runs):
    """`assert_honest` for every entry of an output that varies at all."""
    columns = [np.reshape(x, (len(runs.num_units), -1)) for x in (value, error, *interval)]
    for i, exact in enumerate(np.reshape(truth, -1)):
        mean, spread, low, high = (column[:, i] for column in columns)
        if np.all(spread < 1e-6):
            np.testing.assert_allclose(mean, exact, rtol=1e-5)
            continue
        one = SimpleNamespace(
            value=mean, std_error=spread, num_units=runs.num_units, interval=lambda level, ends=(low, high): ends
        )
        assert_honest(one, exact, widest_ratio=1.25)
