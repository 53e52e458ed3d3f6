"""A few worker processes that stay alive, so that JAX starts once in each, and that may die without taking the rest."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

Tell = Callable[[Any], None]


class Message(NamedTuple):
    """About task number `task`: "told" (with what its job told), "done" (its result) or "died" (the exit code)."""

    kind: str
    task: int
    value: Any


@dataclass
class _Worker:
    process: Any
    connection: Connection
    task: int = -1


def run(job: Callable[[Any, Tell], Any], tasks: list[Any], num_workers: int) -> Generator[Message, None, None]:
    """`job(task, tell)` for each task, in the order of `tasks` as workers come free; yields messages as they arrive.

    A worker that dies costs its own task and is replaced. `job` must be importable by name.
    """
    waiting = deque(enumerate(tasks))
    cores = _shares_of_cores(num_workers)
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


def _start(job: Callable[[Any, Tell], Any], cores: set[int]) -> _Worker:
    # Not fork: JAX's threads do not survive it.
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


def _serve(job: Callable[[Any, Tell], Any], connection: Connection, cores: set[int]) -> None:
    # Ctrl-C reaches the whole process group; what becomes of us is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if cores:
        os.sched_setaffinity(0, cores)
    # Several of us on one accelerator: nobody takes three quarters of its memory at the start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        while True:
            result = job(connection.recv(), lambda value: connection.send(("told", value)))
            connection.send(("done", result))
    except (EOFError, BrokenPipeError):
        # The parent was killed: nobody waits for the rest.
        return


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shares_of_cores(num_workers: int) -> list[set[int]]:
    """The cores of each worker, disjoint where there are enough; empty sets where the system cannot say.

    JAX sizes its thread pools by the cores it may use, and workers that all use all of them get in each other's way.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [set()] * num_workers
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[number::num_workers]) for number in range(num_workers)]
