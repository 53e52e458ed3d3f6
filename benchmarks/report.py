"""Runs many benchmarks, prints their tables and writes a report."""

import datetime
import sys
from pathlib import Path
from types import ModuleType

import jax
import numpy as np

from benchmarks.timing import device


def write_report(output: Path, command: str, sections: dict[str, ModuleType]) -> None:
    """Run each module's `main`, and write the returned table under its title with the command that makes it.

    The file is written after each module, so that a failure loses only its own section.
    """
    versions = f"Python {sys.version.split()[0]}, JAX {jax.__version__}, NumPy {np.__version__}"
    parts = [f"# Measured by `{command}`\n\n{datetime.date.today()}, {device()}, {versions}."]
    output.parent.mkdir(parents=True, exist_ok=True)
    for title, module in sections.items():
        print(f"{title} ...", flush=True)
        body = module.main()
        print(body + "\n", flush=True)
        name = Path(str(module.__file__)).stem
        parts.append(f"## {title}\n\n`python -m benchmarks.{name}`\n\n{body}")
        output.write_text("\n\n".join(parts) + "\n")
