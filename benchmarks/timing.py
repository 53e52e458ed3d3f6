"""Timing of the benchmarks: interleaved in one process, medians, after compilation."""

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax

CPU_INFO = Path("/proc/cpuinfo")


def interleaved(runs: dict[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Median seconds of each function after one warm-up call, in turns, so that a busy minute affects all of them.

    The order alternates, since a function's predecessor determines the contents of the caches: with a fixed order two
    runs of one kernel differed by a tenth.
    """
    for run in runs.values():
        jax.block_until_ready(run())
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats):
        for name, run in list(runs.items())[:: 1 - 2 * (turn % 2)]:
            start = time.perf_counter()
            jax.block_until_ready(run())
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def device() -> str:
    """The name of JAX's device, and of the processor if the system reports it."""
    kind = jax.devices()[0].device_kind
    names = [line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    return f"{kind} ({names[0]}, {len(names)} cores)" if names and kind == "cpu" else kind


def _cpu_lines() -> list[str]:
    return CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else [f"model name: {platform.processor()}"]


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
