"""Worker processes that live on, and may die."""

import os

from experiments import workers


def square(task, report):
    report(("pid", os.getpid()))
    if task == "die":
        os._exit(7)
    return task * task


def test_tasks_are_shared_by_few_processes_that_stay_alive():
    messages = list(workers.run(square, list(range(8)), 2))
    assert {m.task: m.value for m in messages if m.kind == "done"} == {i: i * i for i in range(8)}
    assert 1 <= len({m.value for m in messages if m.kind == "report"}) <= 2


def test_a_worker_that_dies_loses_only_its_own_task():
    messages = list(workers.run(square, [1, "die", 2, 3], 1))
    assert [(m.task, m.value) for m in messages if m.kind == "died"] == [(1, 7)]
    assert {m.task: m.value for m in messages if m.kind == "done"} == {0: 1, 2: 4, 3: 9}
    assert len({m.value for m in messages if m.kind == "report"}) == 2


def test_stopping_early_leaves_no_process_behind():
    running = workers.run(square, list(range(100)), 2)
    pid = next(m.value[1] for m in running if m.kind == "report")
    running.close()
    assert not os.path.exists(f"/proc/{pid}")
