"""From YAML to table in processes of their own, as a user starts them: resumed, failing and misspelt."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = ["budget.max_samples=1024", "budget.replicates=32"]


def command(folder, *words, module="experiments.run"):
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "120",
        "PYTHONWARNINGS": "error::DeprecationWarning:experiments",
    }
    return subprocess.run(
        [sys.executable, "-m", module, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )


def records(folder):
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("record.json")}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    words = ["-m", "name=levels", "problem=gaussian_tail", "problem.threshold=2,3", "problem.scale=1,-1", *TINY]
    return folder, words, command(folder, *words, "proposal=plain,gaussian_tail/shifted")


def test_a_failed_job_is_listed_with_its_reason_and_the_others_go_on(swept):
    folder, _, ran = swept
    assert ran.returncode == 1
    assert ran.stderr == ""
    assert "4 measured, 4 failed." in ran.stdout
    assert ran.stdout.count("scale must be positive, got -1.") == 1
    assert "\n  gaussian_tail, threshold 2, scale -1, plain (results/runs/levels/" in ran.stdout
    assert "Traceback" not in ran.stdout
    assert len(records(folder)) == 4
    failures = list(folder.rglob("failure.json"))
    assert len(failures) == 4
    assert "scale must be positive" in json.loads(failures[0].read_text())["reason"]


def test_a_sweep_that_is_started_again_measures_only_the_missing_jobs(swept):
    folder, words, _ = swept
    before = records(folder)
    lost = next(iter(before))
    lost.unlink()
    ran = command(folder, *words, "proposal=plain,gaussian_tail/shifted", "problem.scale=1")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 measured, 3 skipped." in ran.stdout
    after = records(folder)
    assert after.keys() == before.keys()
    assert {path for path in after if after[path] != before[path]} == {lost}


def test_records_become_a_table_with_figures(swept):
    folder, _, _ = swept
    ran = command(folder, "results/runs/levels", "-o", "table", module="experiments.collect")
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    frame = pd.read_csv(folder / "table" / "table.csv")
    assert len(frame) == len(pd.read_parquet(folder / "table" / "table.parquet")) == 8
    assert set(frame["problem.threshold"]) == {2, 3}
    shifted = frame[(frame["method"] == "shifted") & (frame["num_samples"] == 1024)]
    assert (shifted["variance_ratio"] > 2).all()
    assert (shifted["plain_variance_from"] == "p(1 - p)").all()
    assert (shifted["rmse"] < 0.2 * shifted["exact"]).all()
    assert "shifted" in (folder / "table" / "table.md").read_text()
    assert {path.name for path in (folder / "table" / "figures").iterdir()} == {
        "gaussian_tail.png",
        "gaussian_tail.svg",
    }
    assert "failed: gaussian_tail, threshold 2, scale -1, plain" in ran.stdout
    assert max(map(len, ran.stdout.partition("Written")[0].splitlines())) <= 120


def test_a_misspelt_command_is_answered_in_one_line_without_a_trace(tmp_path):
    ran = command(tmp_path, "-m", "problem.treshold=3,4")
    assert ran.returncode == 2
    assert ran.stderr.splitlines() == [
        "There is no setting 'problem.treshold'. Did you mean problem.threshold or problem.scale or problem.loc?"
    ]


def test_an_old_name_of_an_option_works_in_a_sweep_from_the_command_line(tmp_path):
    words = ["problem=tabular_mdp", "problem.horizon=2", "controls=none,tabular_mdp/luck", "budget.max_samples=256"]
    ran = command(tmp_path, "-m", *words, "budget.replicates=4")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "controls=tabular_mdp/luck is now controls=tabular_mdp/advantage_sums" in ran.stderr
    assert {json.loads(path.read_text())["method"] for path in records(tmp_path)} == {"plain", "advantage sums"}


def test_a_folder_that_cannot_be_written_is_named_without_a_trace(tmp_path):
    (tmp_path / "file").write_text("")
    ran = command(tmp_path, "folder=file/runs", *TINY)
    assert ran.returncode == 2
    assert ran.stderr.startswith("Cannot write below file/runs")
    assert len(ran.stderr.splitlines()) == 1


def test_collecting_nothing_is_an_error_with_a_message(tmp_path):
    ran = command(tmp_path, "nowhere", module="experiments.collect")
    assert ran.returncode == 1
    assert "no record.json below nowhere" in ran.stderr


def test_a_study_makes_its_folder_and_skips_what_is_done(tmp_path):
    experiment = ROOT / "conf" / "experiment" / "overview.yaml"
    assert experiment.is_file()
    script = (
        "import sys; from experiments import study; "
        "study.sweeps = lambda name, extra: ["
        "[['name=small', 'problem=gaussian_tail', 'problem.threshold=2', *extra]],"
        "[['name=small', 'problem=gaussian_tail', 'problem.scale=-1', *extra],"
        " ['name=small', 'problem=nothing', *extra]]];"
        "sys.exit(study.main())"
    )
    words = ["overview", *TINY, "--workers", "1", "-o", "out"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for said, now in (
        ("1 measured, 2 failed.", "It measured 1 jobs and reused 0."),
        ("1 skipped, 2 failed.", "It measured 0 jobs and reused 1."),
    ):
        ran = subprocess.run(
            [sys.executable, "-c", script, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert ran.returncode == 1
        assert ran.stderr == ""
        assert said in ran.stdout
        assert ran.stdout.count("There is no problem 'nothing'") == 1
        assert now in (tmp_path / "out" / "README.md").read_text()
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {"README.md", "table.csv", "table.parquet", "table.md", "figures"}
    made_by = "python -m experiments.study overview budget.max_samples=1024 budget.replicates=32 --workers 1 -o out"
    assert made_by in (tmp_path / "out" / "README.md").read_text()
