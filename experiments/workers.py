"""Worker processes that stay alive, so that JAX starts once in each; if one dies, the others go on."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

Report = Callable[[Any], None]


class Message(NamedTuple):
    """About task number `task`: "report" (a value that its job reported), "done" (its result), "died" (exit code)."""

    kind: str
    task: int
    value: Any


@dataclass
class _Worker:
    process: Any
    connection: Connection
    task: int = -1


def run(job: Callable[[Any, Report], Any], tasks: list[Any], num_workers: int) -> Generator[Message, None, None]:
    """Run `job(task, report)` for each task, in the order of `tasks`; yields messages as they arrive.

    If a worker dies, its task is lost and another worker replaces it. `job` must be importable by name.
    """
    waiting = deque(enumerate(tasks))
    cores = _cores_of_workers(num_workers)
    workers = [_start(job, cores[number]) for number in range(min(num_workers, len(tasks)))]
    try:
        for worker in workers:
            _give(worker, waiting)
        while busy := [worker for worker in workers if worker.task >= 0]:
            ready = wait([worker.connection for worker in busy])
            for worker in [worker for worker in busy if worker.connection in ready]:
                try:
                    kind, value = worker.connection.recv()
                except EOFError:
                    worker.process.join()
                    yield Message("died", worker.task, worker.process.exitcode)
                    workers[workers.index(worker)] = worker = _start(job, cores[workers.index(worker)])
                    _give(worker, waiting)
                    continue
                yield Message(kind, worker.task, value)
                if kind == "done":
                    _give(worker, waiting)
    finally:
        for worker in workers:
            worker.process.terminate()
            worker.process.join()


def _start(job: Callable[[Any, Report], Any], cores: set[int]) -> _Worker:
    # Not fork: JAX's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(job, theirs, cores), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _give(worker: _Worker, waiting: deque) -> None:
    worker.task, task = waiting.popleft() if waiting else (-1, None)
    if worker.task >= 0:
        worker.connection.send(task)


def _serve(job: Callable[[Any, Report], Any], connection: Connection, cores: set[int]) -> None:
    # Ctrl-C reaches the whole process group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if cores:
        os.sched_setaffinity(0, cores)
    # Several workers may share one accelerator, so none may preallocate most of its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        while True:
            result = job(connection.recv(), lambda value: connection.send(("report", value)))
            connection.send(("done", result))
    except (EOFError, BrokenPipeError):
        # The parent was killed: no one reads further results.
        return


def num_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cores_of_workers(num_workers: int) -> list[set[int]]:
    """The cores of each worker, disjoint if there are enough; empty sets if the system cannot tell.

    JAX sizes its thread pools by the cores it may use, and workers that share all cores slow each other down.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [set()] * num_workers
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[number::num_workers]) for number in range(num_workers)]
