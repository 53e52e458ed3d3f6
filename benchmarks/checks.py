"""`make checks`: runs every statistical check and writes results/checks.md (23 processor minutes, `devices` takes 17).

Each table has the required and the measured values, including misses. Seeds are fixed, and nothing was tuned on them.
"""

from pathlib import Path

from benchmarks import controls, devices, genz, keister, mis_weights, peeking, tail_index, tail_risk
from benchmarks.report import write_report

OUTPUT = Path(__file__).resolve().parent.parent / "results" / "checks.md"
SECTIONS = {
    "Keister's integral at relative tolerance 1e-3": keister,
    "Runs that stop at 10 %": peeking,
    "Tail index of weights, 10,000 samples": tail_index,
    "Value at risk and expected shortfall at 99.9 %": tail_risk,
    "Control variates": controls,
    "Multiple importance sampling: sum of the weights": mis_weights,
    "Genz families, 16 scrambles of 1,024 Sobol points": genz,
    "The same bits on any number of devices": devices,
}

if __name__ == "__main__":
    write_report(OUTPUT, "make checks", SECTIONS)
