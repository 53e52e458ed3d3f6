"""Control variates: the remaining variance, and the coverage of small runs.

x_0 has correlation r with the control r x_0 + sqrt(1 - r^2) x_1; exp(x / 2) has r^2 = e^(1/4) / (4 (e^(1/2) - e^(1/4)))
with x. The remaining variance is that of the values of independent runs, including the noise of their pilots.
"""

import jax
import jax.numpy as jnp
import numpy as np

import mcengine as mc
from benchmarks.coverage import HEADER, RUNS, coverage_line, verdict
from benchmarks.timing import table

CORRELATIONS = (0.3, 0.5, 0.7, 0.9, 0.99)
MANY_RUNS, SAMPLES = 20_000, 1_024  # the ratio of two variances has an error of 1.4 %
NEAR = 0.1


def normal_pair(r: float) -> tuple[mc.Expectation, mc.Controls, float]:
    """(problem, its control, r)."""
    problem = mc.Expectation(lambda x: x[0], mc.Normal(np.zeros(2), 1.0))
    return problem, mc.Controls(lambda x: r * x[0] + np.sqrt(1.0 - r * r) * x[1], 0.0), r


def exponential() -> tuple[mc.Expectation, mc.Controls, float]:
    """(problem, its control, r) with a skewed integrand."""
    problem = mc.Expectation(lambda x: jnp.exp(0.5 * x), mc.Normal(0.0, 1.0))
    return problem, mc.Controls(lambda x: x, 0.0), float(0.5 * np.sqrt(np.exp(0.25) / (np.exp(0.5) - np.exp(0.25))))


def variance_line(number: int, name: str, case: tuple[mc.Expectation, mc.Controls, float]) -> list[str]:
    """The ratio of the variance with one control to the variance without."""
    problem, controls, r = case
    plain_keys, keys = jax.random.split(jax.random.key(number), (2, MANY_RUNS))
    budget = mc.Samples(SAMPLES)
    plain = mc.replicate(plain_keys, problem, budget=budget)
    left = np.var(mc.replicate(keys, problem, controls=controls, budget=budget).value) / np.var(plain.value)
    expected = 1.0 - r * r
    met = abs(left / expected - 1.0) <= NEAR
    required = f"1 - r^2 = {expected:.4f} within {NEAR:.0%}"
    return [f"{name}, r = {r:.3g}", required, f"{left:.4f} ({left / expected - 1.0:+.1%})", verdict(met)]


def covering_lines(number: int) -> list[list[str]]:
    """Coverage of small runs with four controls."""
    problem = mc.Expectation(lambda x: jnp.cos(x[0] + 0.5 * x[1]) + 0.2 * x[2] ** 2, mc.Normal(np.zeros(3), 1.0))
    exact = float(np.exp(-0.625)) + 0.2
    controls = mc.Controls(lambda x: {"first": x, "square": x[0] ** 2}, {"first": np.zeros(3), "square": 1.0})
    keys = jax.random.split(jax.random.key(number), RUNS)
    lines = []
    for name, points, count in (("200 samples", mc.points.IID(), 200), ("16 scrambles", mc.points.Sobol(64), 16 * 64)):
        runs = mc.replicate(keys, problem, points=points, controls=controls, budget=mc.Samples(count))
        low, high = runs.interval()
        lines.append(coverage_line(f"four controls, {name}", low, high, exact))
    return lines


def main() -> str:
    """The table."""
    cases = [("normal pair", normal_pair(r)) for r in CORRELATIONS] + [("exp(x / 2)", exponential())]
    variances = [variance_line(number, *case) for number, case in enumerate(cases)]
    return table(HEADER, variances + covering_lines(len(cases)))


if __name__ == "__main__":
    print(main())
