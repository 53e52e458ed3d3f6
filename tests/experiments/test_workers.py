"""Worker processes that live on, and may die."""

import os

from experiments import workers


def square(task, tell):
    tell(("pid", os.getpid()))
    if task == "die":
        os._exit(7)
    return task * task


def test_tasks_are_shared_by_few_processes_that_live_on():
    messages = list(workers.run(square, list(range(8)), 2))
    assert {m.task: m.value for m in messages if m.kind == "done"} == {i: i * i for i in range(8)}
    assert 1 <= len({m.value for m in messages if m.kind == "told"}) <= 2


def test_a_worker_that_dies_costs_its_own_task_only():
    messages = list(workers.run(square, [1, "die", 2, 3], 1))
    assert [(m.task, m.value) for m in messages if m.kind == "died"] == [(1, 7)]
    assert {m.task: m.value for m in messages if m.kind == "done"} == {0: 1, 2: 4, 3: 9}
    assert len({m.value for m in messages if m.kind == "told"}) == 2


def test_stopping_early_leaves_no_process_behind():
    running = workers.run(square, list(range(100)), 2)
    pid = next(m.value[1] for m in running if m.kind == "told")
    running.close()
    assert not os.path.exists(f"/proc/{pid}")
