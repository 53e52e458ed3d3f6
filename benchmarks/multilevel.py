"""Multilevel compared with plain Monte Carlo: a European call by Euler and Milstein steps at decreasing tolerances.

`python -m benchmarks.multilevel` prints the table and writes results/benchmarks/multilevel.md. Cost is in steps of
paths. Plain sampling uses the finest level of the multilevel run and reaches the same standard error, from its measured
variance.
"""

from pathlib import Path

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

import mcengine as mc
from benchmarks.timing import device, table
from mcengine.finance import OptionLevels, black_scholes_call, path_option

OUTPUT = Path(__file__).resolve().parent.parent / "results" / "benchmarks" / "multilevel.md"
TOLERANCES = {"milstein": (0.2, 0.1, 0.05, 0.02, 0.01), "euler": (0.4, 0.2, 0.1, 0.05)}
RUNS = 10
HEADER = [
    "scheme", "half-width eps", "finest level", "within eps", "rms error / eps", "cost", "cost eps^2", "pilot / cost",
    "plain cost", "gain", "weak order", "strong order", "seconds",
]  # fmt: skip


def plain_cost(key: PRNGKeyArray, run: mc.MultilevelEstimate, scheme: str) -> float:
    """Steps of plain sampling at the run's finest level for the same standard error."""
    steps = 2 ** (len(run.levels) - 1)
    pilot = mc.estimate(key, path_option(steps, scheme=scheme), budget=mc.Samples(2**14))
    return float(pilot.std_error**2 * 2**14 / run.std_error**2 * steps)


def row(scheme: str, atol: float) -> list[str]:
    """A row of the table."""
    levels, exact = OptionLevels(scheme=scheme), black_scholes_call()
    first, *keys = jax.random.split(jax.random.key(round(1e4 * atol)), RUNS + 1)
    budget = mc.Tolerance(atol=atol)
    mc.multilevel(first, levels, budget=budget, weak_order=1.0)  # compiles
    runs = [mc.multilevel(key, levels, budget=budget, weak_order=1.0) for key in keys]
    errors = np.asarray([run.value - exact for run in runs])
    cost = float(np.mean([run.cost for run in runs]))
    plain = float(np.mean([plain_cost(jax.random.fold_in(first, i), run, scheme) for i, run in enumerate(runs[:3])]))
    finest = [len(run.levels) - 1 for run in runs]
    return [
        scheme, f"{atol:g}", f"{min(finest)} to {max(finest)}", f"{np.sum(np.abs(errors) <= atol)} of {RUNS}",
        f"{np.sqrt(np.mean(errors**2)) / atol:.2f}", f"{cost:.2e}", f"{cost * atol**2:,.0f}",
        f"{np.mean([run.pilot_cost for run in runs]) / cost:.2f}", f"{plain:.2e}", f"{plain / cost:.1f}",
        f"{np.median([run.weak_order for run in runs]):.2f}", f"{np.median([run.strong_order for run in runs]):.2f}",
        f"{np.median([run.seconds for run in runs]):.2f}",
    ]  # fmt: skip


def main() -> str:
    """The table of costs and gains."""
    return table(HEADER, [row(scheme, atol) for scheme, all_atol in TOLERANCES.items() for atol in all_atol])


if __name__ == "__main__":
    body = main()
    print(body)
    OUTPUT.write_text(
        "# Multilevel Monte Carlo\n\nEuropean call, spot = strike = 100, rate .05, volatility .2, one year; Black and "
        f"Scholes: 10.4506. Means over {RUNS} runs, `weak_order=1`; {device()}.\n\n{body}\n\n"
        "`python -m benchmarks.multilevel`. eps is the required half-width of the 95 % interval, bias included. The "
        "plain cost does not include the search for the finest level.\n"
    )
