"""Identity, and files that are whole or not there."""

import json
import multiprocessing

import pytest

from experiments import records
from experiments.renamed import RENAMED
from tests.experiments.synthetic import record

CONFIG = {"problem": {"threshold": 5.0}, "proposal": None, "weighting": {}, "points": {}, "budget": {"n": 1}, "seed": 0}
HERE = {"device": "cpu", "dtype": "float32", "versions": {"jax": "1"}}


def test_identity_depends_on_config_versions_device_and_dtype_and_on_nothing_else():
    name = records.identity(CONFIG, HERE)
    assert name == records.identity(dict(reversed(CONFIG.items())), HERE)
    others = [
        (CONFIG | {"seed": 1}, HERE),
        (CONFIG | {"problem": {"threshold": 4.0}}, HERE),
        (CONFIG, HERE | {"dtype": "float64"}),
        (CONFIG, HERE | {"device": "gpu"}),
        (CONFIG, HERE | {"versions": {"jax": "2"}}),
    ]
    assert len({name, *(records.identity(*other) for other in others)}) == 6


def test_identity_sees_the_contents_of_a_data_file(tmp_path):
    data = tmp_path / "prices.csv"
    data.write_text("1")
    config = CONFIG | {"problem": {"csv": str(data)}}
    before = records.identity(config, HERE)
    same = tmp_path / "elsewhere.csv"
    same.write_text("1")
    # The samples follow the contents too, wherever the file lies.
    assert records.key_number(config) == records.key_number(CONFIG | {"problem": {"csv": str(same)}})
    number = records.key_number(config)
    data.write_text("2")
    assert records.identity(config, HERE) != before
    assert records.key_number(config) != number


def test_replicates_are_the_same_for_another_budget_and_independent_between_jobs():
    number = records.key_number(CONFIG)
    assert 0 <= number < 2**31
    assert number == records.key_number(CONFIG | {"budget": {"n": 2}})
    assert number != records.key_number(CONFIG | {"proposal": {"loc": 1.0}})
    # A job without a heuristic repeats the replicates that it had before there were heuristics.
    assert number == records.key_number(CONFIG | {"mis": None})
    assert number != records.key_number(CONFIG | {"mis": {"beta": 2.0}})
    # The same holds for a job without controls and functional.
    assert number == records.key_number(CONFIG | {"controls": None, "functional": None})
    others = [CONFIG | {name: {"_target_": "x"}} for name in ("controls", "functional")]
    assert len({number, *map(records.key_number, others)}) == 3


def test_a_renamed_option_draws_the_replicates_that_it_drew_under_its_old_name():
    for option in RENAMED:
        old, new = (CONFIG | {option.group: {"_target_": target}} for target in (option.old_target, option.new_target))
        assert records.key_number(old) == records.key_number(new)


def test_an_old_record_is_read_with_the_new_names_of_its_options(tmp_path):
    old = record(
        "chosen shares, share 0.3, luck",
        overrides={"proposal": "chosen_shares", "proposal@proposal.base": "index_fall/one_bad_day", "name": "luck"},
        choices={"controls": "tabular_mdp/luck"},
        config={"controls": {"_target_": "mcengine.rl.luck"}, "proposal": {"base": [{"_target_": "mcengine.rl.luck"}]}},
    )
    records.write_json(tmp_path / "record.json", old)
    assert records.read(tmp_path / "record.json") == old | {
        "method": "chosen weights, share 0.3, advantage sums",
        "overrides": {
            "proposal": "chosen_weights",
            "proposal@proposal.base": "index_fall/one_big_jump",
            "name": "luck",
        },
        "choices": {"controls": "tabular_mdp/advantage_sums"},
        "config": {
            "controls": {"_target_": "mcengine.rl.advantage_sums"},
            "proposal": {"base": [{"_target_": "mcengine.rl.advantage_sums"}]},
        },
    }


def test_a_later_choice_that_is_not_made_is_no_part_of_the_identity():
    assert records.identity(CONFIG, HERE) == records.identity(CONFIG | {"controls": None, "functional": None}, HERE)
    assert records.identity(CONFIG, HERE) != records.identity(CONFIG | {"functional": {"levels": [0.9]}}, HERE)
    # None is a choice of the proposal, which every record has.
    assert records.choices_made(CONFIG) == CONFIG


def test_json_is_strict_and_leaves_no_partial_file(tmp_path):
    path = tmp_path / "a" / "record.json"
    records.write_json(path, {"x": float("nan"), "y": [float("inf"), 1.0]})
    assert json.loads(path.read_text()) == {"x": None, "y": [None, 1.0]}
    with pytest.raises(TypeError):
        records.write_json(path, {"x": object()})
    assert json.loads(path.read_text()) == {"x": None, "y": [None, 1.0]}
    assert [p.name for p in path.parent.iterdir()] == ["record.json"]


def _write_often(path, letter):
    for _ in range(100):
        records.write_json(path, {"x": letter * 20_000})


def test_a_reader_never_sees_a_partial_record(tmp_path):
    path = tmp_path / "record.json"
    writers = [multiprocessing.get_context("spawn").Process(target=_write_often, args=(path, x)) for x in "ab"]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        if path.is_file():
            seen |= set(json.loads(path.read_text())["x"])
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen <= {"a", "b"}
    assert seen


def test_folders_have_readable_and_safe_names():
    folder = records.job_folder("runs", "index_fall", "fall 0.3", "../x y", job="ab12")
    assert folder.as_posix() == "runs/index_fall__fall_0.3__.._x_y__ab12"


def test_a_folder_of_long_labels_has_a_valid_name():
    folder = records.job_folder("runs", "genz_gaussian", "positions " + "0.123," * 90, "x" * 300, job="ab12")
    assert len(folder.name) < 255
    assert folder.name.endswith("__ab12")


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(records.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        records.write_json(tmp_path / "record.json", {})
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_a_record_is_skipped_and_named(tmp_path, capsys):
    records.write_json(tmp_path / "good" / "record.json", record())
    cut = (tmp_path / "good" / "record.json").read_text()[:100]
    garbage = {"cut": cut, "empty": "{}", "list": "[]", "rows": json.dumps(record(rows=[3])), "binary": "\x00"}
    for name, content in garbage.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text(content)
    (tmp_path / "failure.json").write_text("{")
    assert records.load([tmp_path]) == [record()]
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": not a record (")[0] for line in said] == [
        str(tmp_path / name / "record.json") for name in sorted(garbage)
    ]
    assert records.load([tmp_path], "failure.json") == []
    # A job with a partial record is measured again.
    assert records.is_record(tmp_path / "good" / "record.json")
    assert not any(records.is_record(tmp_path / name / "record.json") for name in ("cut", "never"))


def test_code_that_measures_is_part_of_the_versions():
    assert set(records.versions()) == {"jax", "jaxlib", "numpy", "mcengine", "python", "code"}
