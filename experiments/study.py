"""`python -m experiments.study [EXPERIMENT] [OVERRIDE ...]`: the sweeps of conf/experiment/, then table and figures."""

import argparse
import contextlib
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
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from experiments import config, jobs, records, workers
from experiments.collect import collect, wide_console
from experiments.renamed import current_overrides

# Plain text: no markup in brackets, no colours, no line breaks.
PLAIN: Any = {"markup": False, "highlight": False, "soft_wrap": True}


def sweeps(experiment: str, extra: Sequence[str] = ()) -> list[list[list[str]]]:
    """The experiment's jobs as lists of overrides; one task contains the jobs that share compiled code.

    Each line of the experiment is a Hydra sweep, as after `python -m experiments.run -m`.

    **Raises:** `ValueError` for an unknown experiment, with similar names.
    """
    known = config.group_options("experiment")
    if experiment not in known:
        raise ValueError(f"There is no experiment {experiment!r}. {config.suggest(experiment, known, 'There are')}")
    lines = OmegaConf.load(config.CONF / "experiment" / f"{experiment}.yaml").sweeps
    tasks: dict[tuple[str, ...], list[list[str]]] = {}
    for line in lines:
        for job in expand([*shlex.split(line), *extra]):
            # Options of groups change the compiled code, numbers (dotted keys) do not.
            structure = tuple(override for override in job if "." not in override.partition("=")[0])
            tasks.setdefault(structure, []).append([f"name={experiment}", *job])
    return list(tasks.values())


def expand(overrides: list[str]) -> list[list[str]]:
    """All jobs of a Hydra sweep: `a=1,2 b=3` is [[a=1, b=3], [a=2, b=3]]."""
    parsed = OverridesParser.create().parse_overrides(current_overrides(overrides))
    return BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]


def perform(task: list[list[str]], report: Callable[[Any], None]) -> None:
    """Run the jobs of a task one after the other in a worker; report each sample count (text) and each outcome."""
    for overrides in task:
        report(_one(overrides, report))


def check(tasks: list[list[list[str]]]) -> None:
    """Compose each task's first job, so that an error in every job is reported once, before any work.

    **Raises:** `ValueError` with the reason.
    """
    for overrides in (task[0] for task in tasks):
        try:
            cfg = config.compose(overrides)
            jobs.describe(cfg, overrides, dict(cfg.hydra.runtime.choices))
        except config.CONFIG_ERRORS as error:
            raise ValueError(config.explain(error, overrides)) from error


def _one(overrides: list[str], report: Callable[[Any], None]) -> jobs.Outcome:
    try:
        cfg = config.compose(overrides)
        choices = dict(cfg.hydra.runtime.choices)
    except config.CONFIG_ERRORS as error:
        return jobs.Outcome(" ".join(overrides), "failed", "", reason=config.explain(error, overrides))
    return jobs.perform(cfg, overrides, choices, on_step=report)


def work(tasks: list[list[list[str]]], num_workers: int, console: Console) -> tuple[list[jobs.Outcome], bool]:
    """The outcomes in the order of the tasks, and whether they are complete (Ctrl-C ends the work early).

    Progress is shown on the console. If a worker dies, its jobs fail.
    """
    outcomes: list[list[jobs.Outcome]] = [[] for _ in tasks]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    complete = True
    with Progress(*columns, console=console, transient=True) as progress:
        board = _Board(progress, tasks)
        with contextlib.closing(workers.run(perform, tasks, num_workers)) as messages:
            try:
                for message in messages:
                    board.take(message, outcomes[message.task])
            except KeyboardInterrupt:
                complete = False
    return [outcome for of_task in outcomes for outcome in of_task], complete


class _Board:
    """A progress bar for all jobs, and below it a line for each running job."""

    def __init__(self, progress: Progress, tasks: list[list[list[str]]]):
        self.progress, self.tasks = progress, tasks
        self.total = progress.add_task("jobs", total=sum(len(task) for task in tasks))
        self.running: dict[int, TaskID] = {}

    def take(self, message: workers.Message, outcomes: list[jobs.Outcome]) -> None:
        """Add the message's outcomes to those of its task, and show the message."""
        rest = self.tasks[message.task][len(outcomes) :]
        if message.kind == "died":
            reason = f"the worker died (exit code {message.value})"
            for overrides in rest:
                self._finish(message.task, jobs.Outcome(" ".join(overrides), "failed", "", reason=reason), outcomes)
        elif message.kind == "report" and isinstance(message.value, jobs.Outcome):
            self._finish(message.task, message.value, outcomes)
        elif message.kind == "report":
            # The first override is the run's name.
            words = f"  {message.value}  {' '.join(rest[0][1:])}"
            if message.task not in self.running:
                self.running[message.task] = self.progress.add_task(words, total=None)
            self.progress.update(self.running[message.task], description=words)

    def _finish(self, task: int, outcome: jobs.Outcome, outcomes: list[jobs.Outcome]) -> None:
        outcomes.append(outcome)
        self.progress.advance(self.total)
        if task in self.running:
            self.progress.remove_task(self.running.pop(task))
        if outcome.state != "skipped":
            self.progress.console.print(jobs.line(outcome, with_reason=False), **PLAIN)


def readme(
    experiment: str,
    command: str,
    found: list[dict],
    outcomes: list[jobs.Outcome],
    *,
    seconds: float,
    num_workers: int,
) -> str:
    """The README of the study's folder: its files, and the command and versions that made them."""
    record = found[0]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    machine = f"{workers.num_cores()} cores ({record['device']}, {record['dtype']}; {versions})"
    job_seconds = sum(record.get("job_seconds") or 0.0 for record in found)
    now = sum(outcome.state == "measured" for outcome in outcomes)
    return f"""# {experiment}

Made by `{command}` on {machine}:
{len(found)} jobs with independent replicates at every sample count, {job_seconds:.0f} s of computing time in total.
The last run took {seconds:.0f} s with {num_workers} workers. It measured {now} jobs and reused {len(found) - now}.

- `table.csv`, `table.parquet`: one row per problem, method and sample count; columns: `experiments/tables.py`.
- `table.md`: the main columns.
- `figures/`: variance against sample count, one figure per problem, PNG and SVG.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run an experiment's sweeps over worker processes, then collect.

    Returns 1 if any job failed, 2 for an invalid command, 130 after Ctrl-C.
    """
    given = sys.argv[1:] if arguments is None else arguments
    options = _options(given)
    console = wide_console()
    try:
        tasks = sweeps(options.experiment, options.overrides)
        check(tasks)
        return _study(options, tasks, shlex.join(["python", "-m", "experiments.study", *given]), console)
    except (ValueError, *config.CONFIG_ERRORS) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Cannot write {error.filename}: {error.strerror}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(jobs.interrupted([]), file=sys.stderr)
        return 130


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.study", description="Run sweeps, then make their table and figures."
    )
    parser.add_argument("experiment", nargs="?", default="overview", help="a file of conf/experiment")
    parser.add_argument("overrides", nargs="*", help="for every job, for example budget.max_samples=65536")
    parser.add_argument("--workers", type=int, default=workers.num_cores(), help="processes, by default one per core")
    parser.add_argument("-o", "--output", type=Path, help="by default results/EXPERIMENT")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error(f"--workers must be at least 1, got {options.workers}")
    if "=" in options.experiment:
        options.experiment, options.overrides = "overview", [options.experiment, *options.overrides]
    return options


def _study(options: argparse.Namespace, tasks: list[list[list[str]]], command: str, console: Console) -> int:
    started = time.perf_counter()
    outcomes, complete = work(tasks, options.workers, console)
    if not complete:
        console.print(jobs.interrupted(outcomes), **PLAIN)
        return 130
    done = [outcome for outcome in outcomes if outcome.state != "failed"]
    found = [records.read(Path(outcome.folder) / "record.json") for outcome in done]
    seconds = time.perf_counter() - started
    if found:
        output = options.output or Path("results") / options.experiment
        collect(found, output, console)
        text = readme(options.experiment, command, found, outcomes, seconds=seconds, num_workers=options.workers)
        (output / "README.md").write_text(text)
    console.print(jobs.summary(outcomes) if outcomes else "There are no jobs.", **PLAIN)
    console.print(f"{seconds:.0f} s.")
    return 0 if done and len(done) == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
