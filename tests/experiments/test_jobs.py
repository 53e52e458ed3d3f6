"""What a job is called, what it refuses, and what is said of many."""

from pathlib import Path

import pytest

from experiments import config, jobs, records, study, tables, workers
from experiments.jobs import Outcome


def described(*overrides):
    cfg = config.compose(list(overrides))
    return jobs.describe(cfg, list(overrides), dict(cfg.hydra.runtime.choices))


def test_two_defensive_methods_have_two_names():
    words = ["proposal=defensive", "proposal.share=0.3"]
    shifted, tilted = (
        described(*words, f"proposal@proposal.base=gaussian_tail/{base}") for base in ("shifted", "tilted")
    )
    assert shifted["method"] == "defensive, shifted, share 0.3"
    assert tilted["method"] == "defensive, tilted, share 0.3"
    assert shifted["overrides"]["proposal"] == "defensive"
    assert shifted["overrides"]["proposal@proposal.base"] == "gaussian_tail/shifted"
    assert shifted["choices"]["weighting"] == "raw"


def test_points_and_heuristics_are_part_of_a_methods_name_and_plain_is_not():
    assert described()["method"] == "plain"
    assert described("points=sobol")["method"] == "sobol"
    assert described("points=lattice_tent", "points.size=64")["method"] == "lattice tent, size 64"
    chosen = described("proposal=gaussian_tail/defensive", "points=sobol", "mis=power", "mis.beta=3")
    assert chosen["method"] == "defensive, sobol, power, beta 3"
    assert chosen["config"]["mis"] == {"_target_": "mcengine.mis.Power", "beta": 3}
    assert described("mis=balance")["method"] == "plain"
    assert described("mis=balance")["config"]["mis"] is None


def test_controls_are_part_of_a_methods_name_and_functionals_of_the_case():
    made = described("problem=plane_light", "controls=plane_light/light_visibility", "controls.pilot=512")
    assert (made["case"], made["method"]) == ("", "light visibility, pilot 512")
    made = described("problem=peaked_curve", "proposal=peaked_curve/wide_peak", "controls=components")
    assert made["method"] == "wide peak, components"
    made = described("problem=normal_loss", "problem.scale=3", "functional=tail_risk", "functional.levels=[0.9,0.99]")
    # Methods are compared for one functional, which plain sampling estimates too.
    assert (made["case"], made["method"]) == ("scale 3, tail risk, levels [0.9,0.99]", "plain")
    assert described("controls=none", "functional=mean")["config"]["controls"] is None
    assert described("controls=none", "functional=mean")["case"] == ""


def test_runs_to_a_tolerance_are_never_called_plain_alone():
    assert described("budget=tolerance")["method"] == "plain, to tolerance"
    assert described("budget=tolerance", "points=sobol")["method"] == "sobol, to tolerance"
    assert described("budget=brief")["method"] == "plain"


@pytest.mark.parametrize(
    ("words", "kind", "outputs", "rtols"),
    [(["budget=tolerance", "budget.rtols=[0.2]", "budget.replicates=4", "proposal=gaussian_tail/shifted"],
      "Probability", [""], [0.2]),
     (["functional=tail_risk", "functional.levels=[0.9]", "budget.max_samples=256", "budget.replicates=8"],
      "TailRisk", ["quantile[0]", "shortfall[0]"], [None, None]),
     (["controls=components", "proposal=gaussian_tail/defensive", "budget.max_samples=256", "budget.replicates=8"],
      "Probability", [""], [None])],
    ids=["tolerance", "tail risk", "controls"],
)  # fmt: skip
def test_a_job_of_every_kind_becomes_a_record_with_exact_values(tmp_path, words, kind, outputs, rtols):
    overrides = [f"folder={tmp_path}", *words]
    cfg, told = config.compose(overrides), []
    outcome = jobs.perform(cfg, overrides, dict(cfg.hydra.runtime.choices), told.append)
    assert outcome.state == "measured", outcome.reason
    record = records.read(Path(outcome.folder) / "record.json")
    assert record["kind"] == kind
    assert [row["output"] for row in record["rows"]] == outputs
    assert [row.get("rtol") for row in record["rows"]] == rtols
    assert all(row["exact"] is not None and row["covered"] is not None for row in record["rows"])
    assert told == ["rtol = 0.2 (1 of 1)" if rtols[0] else "N = 2^8 (1 of 1)"]
    assert tables.table([record])["misses_exact"].eq(False).all()


def test_tail_risk_to_a_tolerance_fails_with_the_engines_message(tmp_path):
    overrides = [f"folder={tmp_path}", "functional=tail_risk", "budget=tolerance"]
    cfg = config.compose(overrides)
    outcome = jobs.perform(cfg, overrides, dict(cfg.hydra.runtime.choices))
    assert outcome.state == "failed"
    assert "TailRisk needs all samples" in outcome.reason


def test_a_heuristic_without_a_mixture_fails_with_the_engines_message(tmp_path):
    overrides = [f"folder={tmp_path}", "proposal=gaussian_tail/shifted", "mis=power", "budget.max_samples=256"]
    cfg = config.compose(overrides)
    outcome = jobs.perform(cfg, overrides, dict(cfg.hydra.runtime.choices))
    assert outcome.state == "failed"
    assert "mis combines the components of a mixture, and Normal is not one" in outcome.reason
    assert len(list(tmp_path.rglob("failure.json"))) == 1


def test_a_data_file_is_called_by_its_name():
    assert described("problem=index_fall", "problem.csv=/data/of/mine/prices.csv")["case"] == "csv prices.csv"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("problem.threshold=abc", r"problem.threshold must be a number, as in problem.threshold=5.0; got 'abc'"),
        ("budget.max_samples=abc", "budget.max_samples must be a number.*'abc'"),
        ("seed=abc", "seed must be a whole number, got 'abc'"),
        ("seed=1.5", "seed must be a whole number, got 1.5"),
        ("+experiment=overview", "python -m experiments.study overview"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_key_and_value(override, words):
    with pytest.raises(ValueError, match=words):
        described(override)
    cfg = config.compose([override])
    outcome = jobs.perform(cfg, [override], dict(cfg.hydra.runtime.choices))
    assert outcome.state == "failed"
    assert outcome.label == override


def test_an_unknown_argument_of_a_problem_is_answered_with_its_arguments():
    with pytest.raises(ValueError, match=r"gaussian_tail has no 'foo'\. gaussian_tail has: threshold, loc, scale"):
        config.build(config.compose(["+problem.foo=3"]).problem)


def test_an_unknown_launcher_is_answered_with_the_known_ones():
    with pytest.raises(config.CONFIG_ERRORS) as caught:
        config.compose(["hydra/launcher=nope"])
    said = config.explain(caught.value, [])
    assert said.startswith("There is no hydra/launcher 'nope'. hydra/launcher has: basic, ")


def test_the_help_offers_no_experiment_to_a_job():
    assert "overview" not in config.groups_and_options()
    assert "weighting: clipped, " in config.groups_and_options()
    assert "controls: components, index_fall/exceedance_counts, " in config.groups_and_options()
    functionals = "covariance, histogram, mean, probability_of_exceeding, ratio, tail_risk, variance"
    assert f"functional: {functionals}" in config.groups_and_options()
    assert "budget: brief, ladder, long_run, three_counts, tolerance" in config.groups_and_options()


def test_a_folder_that_cannot_be_written_fails_the_job_with_a_message(tmp_path):
    (tmp_path / "file").write_text("")
    overrides = [f"folder={tmp_path}/file/runs", "problem.scale=-1"]
    cfg = config.compose(overrides)
    outcome = jobs.perform(cfg, overrides, dict(cfg.hydra.runtime.choices))
    assert outcome.state == "failed"
    assert "scale must be positive" in outcome.reason
    assert "cannot write" in outcome.reason


def test_a_summary_says_each_reason_once_and_names_ten_jobs():
    many = [Outcome(f"job {i}", "failed", "", reason="too hot") for i in range(12)]
    said = jobs.summary([Outcome("a", "measured", "f"), Outcome("b", "failed", "where", reason="too cold"), *many])
    assert said.splitlines()[:4] == ["1 measured, 13 failed.", "failed: too cold", "  b (where)", "failed: too hot"]
    assert said.count("too hot") == 1
    assert said.endswith("  job 9\n  and 2 more")
    assert jobs.interrupted([Outcome("a", "measured", "f")] * 3) == (
        "Interrupted: 3 measured; the same command measures the rest."
    )


def test_an_interrupted_job_has_not_failed(tmp_path):
    (tmp_path / "0" / ".hydra").mkdir(parents=True)
    (tmp_path / "0" / ".hydra" / "overrides.yaml").write_text("[seed=1]")
    assert jobs.gather(tmp_path, ended=False) == []
    assert [outcome.state for outcome in jobs.gather(tmp_path)] == ["failed"]


def interrupted_run(perform, tasks, num_workers):
    yield workers.Message("report", 0, "N = 2^8 (1 of 7)")
    yield workers.Message("report", 0, Outcome("a", "measured", "f"))
    raise KeyboardInterrupt


def test_ctrl_c_ends_a_study_with_a_message(monkeypatch, capsys):
    monkeypatch.setattr(study.workers, "run", interrupted_run)
    monkeypatch.setattr(study, "sweeps", lambda name, extra: [[["name=x"]], [["name=x", "seed=1"]]])
    assert study.main([]) == 130
    assert capsys.readouterr().out.endswith("Interrupted: 1 measured; the same command measures the rest.\n")


@pytest.mark.parametrize(("word", "said"), [("budget.max_sampls=1024", "max_samples"), ("seed=abc", "whole number")])
def test_an_error_of_a_whole_study_is_printed_once(word, said, capsys):
    assert study.main([word]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert len(printed.splitlines()) == 1


def test_a_study_without_workers_is_refused_and_one_without_jobs_returns_1(monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        study.main(["--workers", "0"])
    assert caught.value.code == 2
    assert "at least 1" in capsys.readouterr().err
    monkeypatch.setattr(study, "sweeps", lambda name, extra: [])
    assert study.main([]) == 1
    assert "There are no jobs." in capsys.readouterr().out
