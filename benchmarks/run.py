"""`make benchmarks`: runs every benchmark of time and memory and writes results/benchmarks/measured.md."""

from pathlib import Path

from benchmarks import (
    deep_tail,
    device_speed_up,
    distributions,
    gaussian_tail,
    memory,
    mixture,
    objectives,
    outputs,
    problem_batch,
    start_up,
)
from benchmarks.report import write_report

OUTPUT = Path(__file__).resolve().parent.parent / "results" / "benchmarks" / "measured.md"
SECTIONS = {
    "Start-up": start_up,
    "Gaussian tail, N(5, 1) proposal, 10^8 samples": gaussian_tail,
    "A mixture in 10 dimensions, 4 x 10^6 samples": mixture,
    "Policy objectives, 10^6 log-ratios": objectives,
    "Two devices against one, 10^8 samples": device_speed_up,
    "Draws": distributions,
    "Many outputs": outputs,
    "Many problems of one structure": problem_batch,
    "Peak memory": memory,
    "Plain sampling deep in the tail, 2 x 10^9 draws": deep_tail,
}

if __name__ == "__main__":
    write_report(OUTPUT, "make benchmarks", SECTIONS)
