"""Identity, and files that are whole or not there."""

import json
import multiprocessing

import pytest

from experiments import records

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
    data.write_text("2")
    assert records.identity(config, HERE) != before


def test_replicates_are_the_same_for_another_budget_and_independent_between_jobs():
    number = records.key_number(CONFIG)
    assert 0 <= number < 2**31
    assert number == records.key_number(CONFIG | {"budget": {"n": 2}})
    assert number != records.key_number(CONFIG | {"proposal": {"loc": 1.0}})


def test_json_is_strict_and_leaves_no_half_file(tmp_path):
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


def test_a_reader_never_sees_half_a_record(tmp_path):
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


def test_folders_are_legible_and_safe():
    folder = records.job_folder("runs", "index_fall", "fall 0.3", "../x y", job="ab12")
    assert folder.as_posix() == "runs/index_fall__fall_0.3__.._x_y__ab12"


def test_code_that_measures_is_part_of_the_versions():
    assert set(records.versions()) == {"jax", "jaxlib", "numpy", "mcengine", "python", "code"}
