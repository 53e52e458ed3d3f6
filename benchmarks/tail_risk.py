"""Value at risk and expected shortfall of a standard normal loss at 99.9 %: coverage under three ways of sampling."""

import jax
import numpy as np
from scipy.stats import norm

import mcengine as mc
from benchmarks.coverage import HEADER, RUNS, coverage_line
from benchmarks.timing import table

LEVEL, SAMPLES = 0.999, 4_096
LOSS = mc.Expectation(lambda x: x, mc.Normal(0.0, 1.0))
QUANTILE = float(norm.ppf(LEVEL))
EXACT = {"quantile": QUANTILE, "shortfall": float(norm.pdf(QUANTILE)) / (1.0 - LEVEL)}
# A ratio also needs bounded weights at the centre, so its proposal is wider.
SAMPLING = {
    "proposal N(3, 1)": (mc.Normal(3.0, 1.0), {}),
    "proposal N(2, 1.5^2), self-normalised": (mc.Normal(2.0, 1.5), {"weighting": mc.weighting.SelfNormalised()}),
    "proposal N(3, 1), Sobol points": (mc.Normal(3.0, 1.0), {"points": mc.points.Sobol()}),
}


def lines(number: int, name: str) -> list[list[str]]:
    """The rows of quantile and shortfall under one way of sampling."""
    proposal, options = SAMPLING[name]
    keys = jax.random.split(jax.random.key(number), RUNS)
    functional, budget = mc.TailRisk([LEVEL]), mc.Samples(SAMPLES)
    low, high = mc.replicate(keys, LOSS, proposal, budget=budget, functional=functional, **options).interval()
    return [
        coverage_line(f"{figure}, {name}", np.squeeze(low[figure]), np.squeeze(high[figure]), exact)
        for figure, exact in EXACT.items()
    ]


def main() -> str:
    """The table."""
    return table(HEADER, [line for number, name in enumerate(SAMPLING) for line in lines(number, name)])


if __name__ == "__main__":
    print(main())
