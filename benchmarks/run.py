"""Runs every benchmark and writes results/benchmarks/measured.md. `make benchmarks`."""

import datetime
import sys
from pathlib import Path

import jax
import numpy as np

from benchmarks import deep_tail, distributions, gaussian_tail, genz, memory, start_up
from benchmarks.timing import device

OUTPUT = Path(__file__).resolve().parent.parent / "results" / "benchmarks" / "measured.md"
SECTIONS = {
    "Start-up": start_up,
    "Gaussian tail, N(5, 1) proposal, 10^8 samples": gaussian_tail,
    "Draws": distributions,
    "Genz families, 16 scrambles of 1,024 Sobol points": genz,
    "Peak memory": memory,
    "Plain sampling deep in the tail, 2 x 10^9 draws": deep_tail,
}


def main() -> None:
    """Measure, print and write."""
    versions = f"Python {sys.version.split()[0]}, JAX {jax.__version__}, NumPy {np.__version__}"
    parts = [f"# Measured by `make benchmarks`\n\n{datetime.date.today()}, {device()}, {versions}."]
    for title, module in SECTIONS.items():
        print(f"{title} ...", flush=True)
        body = module.main()
        print(body + "\n", flush=True)
        command = f"`python -m benchmarks.{module.__name__.split('.')[-1]}`"
        parts.append(f"## {title}\n\n{command}\n\n{body}")
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
