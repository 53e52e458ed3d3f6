"""Figures, as far as a machine can look at them."""

from experiments import figures, tables
from tests.experiments.synthetic import record


def test_each_problem_has_its_figure_as_png_and_svg_with_all_words(tmp_path):
    toy = [record(), record("shifted", variance_at_one=0.01), record("bent", slope=-2.0)]
    cases = [record(problem="other", case=f"fall 0.{i}", config={"problem": i}, identity=str(i)) for i in range(1, 5)]
    paths = figures.draw(tables.table([*toy, *cases]), tmp_path)
    assert [path.name for path in paths] == ["toy.png", "toy.svg", "other.png", "other.svg"]
    assert all(path.stat().st_size > 1000 for path in paths)
    svg = (tmp_path / "toy.svg").read_text()
    for word in ("shifted", "bent", "slope -1", "samples N of one estimate", "variance of an estimate"):
        assert word in svg
    assert all(f"fall 0.{i}" in (tmp_path / "other.svg").read_text() for i in range(1, 5))


def test_the_same_table_gives_the_same_file(tmp_path):
    frame = tables.table([record(), record("shifted", variance_at_one=0.01)])
    once, twice = (figures.draw(frame, tmp_path / name)[1].read_bytes() for name in "ab")
    assert once == twice


def test_a_method_that_saw_nothing_does_not_break_the_figure(tmp_path):
    blind = record()
    for row in blind["rows"]:
        row["variance"] = 0.0
    assert figures.draw(tables.table([blind]), tmp_path)
