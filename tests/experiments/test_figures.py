"""Figures, as far as a machine can look at them."""

import numpy as np

from experiments import figures, tables
from tests.experiments.synthetic import record, stopping_record


def test_each_problem_has_its_figure_as_png_and_svg_with_all_text(tmp_path):
    toy = [record(), record("shifted", variance_at_one=0.01), record("bent", slope=-2.0)]
    cases = [record(problem="other", case=f"fall 0.{i}", config={"problem": i}, identity=str(i)) for i in range(1, 5)]
    paths = figures.draw(tables.table([*toy, *cases]), tmp_path)
    assert [path.name for path in paths] == ["toy.png", "toy.svg", "other.png", "other.svg"]
    assert all(path.stat().st_size > 1000 for path in paths)
    svg = (tmp_path / "toy.svg").read_text()
    for word in ("shifted", "bent", "slope -1", "samples N of one estimate", "variance of an estimate"):
        assert word in svg
    assert all(f"fall 0.{i}" in (tmp_path / "other.svg").read_text() for i in range(1, 5))


def test_methods_outside_of_the_axis_or_with_a_wrong_value_are_named(tmp_path):
    wrong, rare = record("wrong", variance_at_one=0.1), record("rare")
    for row in wrong["rows"]:
        row |= {"mse": 1e3 * row["variance"]}
    rare["rows"][1] |= {"variance": 0.0, "status": "no_hits"}
    wild = record("wild", variance_at_one=1e9)
    for row in wild["rows"]:
        row["ok_share"] = 0.0
    rounded = record("rounded", variance_at_one=1e-3)
    for row in rounded["rows"][2:]:
        row |= {"variance": 1e-30, "ok_share": 0.0}
    figures.draw(tables.table([record(), wrong, rare, wild, rounded]), tmp_path)
    svg = (tmp_path / "toy.svg").read_text()
    assert "misses the exact value: wrong" in svg
    assert "points above the axis: wild" in svg
    assert "points below the axis: rounded" in svg
    assert "plain, pooled over the ladder" in svg


def test_a_line_is_interrupted_at_counts_without_variance():
    rare = record("rare")
    rare["rows"][1]["variance"] = 0.0
    figure, axis = figures.plt.subplots()
    figures._line(axis, tables.table([rare]), "rare", ["rare"])
    drawn = axis.containers[0].lines[0].get_ydata()
    figures.plt.close(figure)
    assert list(np.isnan(drawn)) == [False, True, False, False]


def test_panels_beyond_the_sixth_are_counted(tmp_path):
    cases = [record(case=f"fall {i}", config={"problem": i}, identity=str(i)) for i in range(8)]
    figures.draw(tables.table(cases), tmp_path)
    assert "(+ 2 more in the table)" in (tmp_path / "toy.svg").read_text()


def test_the_same_table_gives_the_same_file(tmp_path):
    frame = tables.table([record(), record("shifted", variance_at_one=0.01)])
    once, twice = (figures.draw(frame, tmp_path / name)[1].read_bytes() for name in "ab")
    assert once == twice


def test_a_method_without_hits_does_not_break_the_figure(tmp_path):
    blind = record()
    for row in blind["rows"]:
        row["variance"] = 0.0
    assert figures.draw(tables.table([blind]), tmp_path)


def test_runs_to_a_tolerance_are_drawn_at_their_mean_counts(tmp_path):
    stopped = stopping_record("shifted, to tolerance", counts=((0.1, 8192), (0.01, 61_234)))
    figures.draw(tables.table([record(), stopped]), tmp_path)
    svg = (tmp_path / "toy.svg").read_text()
    assert "shifted, to tolerance" in svg
    assert "samples N of one estimate, or the mean N of runs to a tolerance" in svg
    figures.draw(tables.table([record()]), tmp_path)
    assert "tolerance" not in (tmp_path / "toy.svg").read_text()
    assert list(figures._powers_of_four(np.array([256.0, 61_234.0]))) == [4.0**k for k in range(4, 9)]
