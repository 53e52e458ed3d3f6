"""`python -m experiments.study [EXPERIMENT] [OVERRIDE ...]`: the sweeps of conf/experiment/, then table and figures."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments import config, jobs, workers
from experiments.collect import collect


def sweeps(experiment: str, extra: Sequence[str] = ()) -> list[list[list[str]]]:
    """The experiment's jobs as lists of overrides, jobs that share compiled code together in a task.

    Each line of the experiment is a sweep in Hydra's own words, as after `python -m experiments.run -m`.

    **Raises:** `ValueError` for an unknown experiment, with the names that are near it.
    """
    known = config.group_options("experiment")
    if experiment not in known:
        raise ValueError(f"There is no experiment {experiment!r}. {config.suggest(experiment, known, 'There are')}")
    lines = OmegaConf.load(config.CONF / "experiment" / f"{experiment}.yaml").sweeps
    tasks: dict[tuple[str, ...], list[list[str]]] = {}
    for line in lines:
        for job in expand([*shlex.split(line), *extra]):
            # Numbers (dotted keys) change no structure; names of groups do.
            structure = tuple(override for override in job if "." not in override.partition("=")[0])
            tasks.setdefault(structure, []).append([f"name={experiment}", *job])
    return list(tasks.values())


def expand(overrides: list[str]) -> list[list[str]]:
    """All jobs of a Hydra sweep: `a=1,2 b=3` is [[a=1, b=3], [a=2, b=3]]."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    return BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]


def perform(task: list[list[str]], tell: Callable[[Any], None]) -> None:
    """The jobs of a task, one after the other, in a worker; tells of each sample count and each outcome."""
    for overrides in task:
        tell(_one(overrides, tell))


def _one(overrides: list[str], tell: Callable[[Any], None]) -> jobs.Outcome:
    try:
        cfg = config.compose(overrides)
        choices = dict(cfg.hydra.runtime.choices)
    except config.CONFIG_ERRORS as error:
        return jobs.Outcome(" ".join(overrides), "failed", "", reason=config.explain(error, overrides))
    return jobs.perform(cfg, overrides, choices, on_step=tell)


def work(tasks: list[list[list[str]]], num_workers: int, console: Console) -> list[jobs.Outcome]:
    """The outcomes in the order of the tasks, with progress on the console; a worker that dies fails its jobs."""
    outcomes: list[list[jobs.Outcome]] = [[] for _ in tasks]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        total = progress.add_task("jobs", total=sum(len(task) for task in tasks))
        for message in workers.run(perform, tasks, num_workers):
            task = tasks[message.task]
            if message.kind == "told" and isinstance(message.value, jobs.Outcome):
                finished = [message.value]
            elif message.kind == "died":
                lost = task[len(outcomes[message.task]) :]
                reason = f"the worker died (exit code {message.value})"
                finished = [jobs.Outcome(" ".join(overrides), "failed", "", reason=reason) for overrides in lost]
            else:
                continue
            outcomes[message.task].extend(finished)
            progress.advance(total, len(finished))
            for outcome in finished:
                if outcome.state != "skipped":
                    progress.console.print(jobs.line(outcome), markup=False, highlight=False)
    return [outcome for of_task in outcomes for outcome in of_task]


def readme(experiment: str, command: str, found: list[dict], seconds: float) -> str:
    """What the folder holds, and the command and versions that made it."""
    record = found[0]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    machine = f"{workers.num_cores()} cores ({record['device']}, {record['dtype']}; {versions})"
    return f"""# {experiment}

Made by `{command}` in {seconds:.0f} s on {machine}:
{len(found)} jobs, each with independent replicates at every sample count.

- `table.csv`, `table.parquet`: a row for each problem, method and sample count; columns: `experiments/tables.py`.
- `table.md`: the columns that people read.
- `figures/`: variance against sample count, one figure a problem, PNG and SVG.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run an experiment's sweeps over worker processes, then collect; 1 if any job failed, 2 for an unknown name."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.study", description="Sweeps, then their table and figures."
    )
    parser.add_argument("experiment", nargs="?", default="overview", help="a file of conf/experiment")
    parser.add_argument("overrides", nargs="*", help="for every job, as in budget.max_samples=65536")
    parser.add_argument("--workers", type=int, default=workers.num_cores(), help="processes, by default one a core")
    parser.add_argument("-o", "--output", type=Path, help="by default results/EXPERIMENT")
    options = parser.parse_args(arguments)
    if "=" in options.experiment:
        options.experiment, options.overrides = "overview", [options.experiment, *options.overrides]
    started = time.perf_counter()
    console = Console()
    try:
        tasks = sweeps(options.experiment, options.overrides)
    except (ValueError, *config.CONFIG_ERRORS) as error:
        print(error, file=sys.stderr)
        return 2
    outcomes = work(tasks, options.workers, console)
    done = [outcome for outcome in outcomes if outcome.state != "failed"]
    found = [json.loads((Path(outcome.folder) / "record.json").read_text()) for outcome in done]
    if found:
        output = options.output or Path("results") / options.experiment
        collect(found, output, console)
        command = shlex.join(["python", "-m", "experiments.study", options.experiment, *options.overrides])
        (output / "README.md").write_text(readme(options.experiment, command, found, time.perf_counter() - started))
    console.print(jobs.summary(outcomes), markup=False, highlight=False)
    console.print(f"{time.perf_counter() - started:.0f} s.")
    return 1 if len(done) < len(outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
