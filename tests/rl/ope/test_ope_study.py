"""The study's table and figure, from a few logs of one size."""

import pandas as pd
import pytest

from experiments.ope import study
from experiments.ope.repeats import digits_rows, open_bandit_rows, summary


def test_a_summary_counts_coverage_and_silent_failures():
    rows = pd.DataFrame(
        {
            "estimator": ["DR"] * 4, "value": [1.0, 1.2, 2.0, 2.0], "exact": 1.0, "std_error": [0.1, 0.1, 0.2, 0.2],
            "low": [0.8, 1.0, 1.6, 1.6], "high": [1.2, 1.4, 2.4, 2.4], "pareto_k": [0.1, 0.2, 0.3, 0.4],
            "status": ["ok", "ok", "ok", "dominated"],
        }
    )  # fmt: skip
    found = summary(rows).iloc[0]
    assert found.rmse == pytest.approx((2.04 / 4) ** 0.5)
    assert (found.coverage, found.coverage_ok, found.ok, found.silent) == (0.5, pytest.approx(2 / 3), 0.75, 0.25)


def test_a_study_writes_its_table_and_figure(tmp_path, monkeypatch):
    few = {
        "mdp": ([200], lambda logs, size: digits_rows(logs, size)),
        "digits": ([200], lambda logs, size: digits_rows(logs, size)),
        "open_bandit_men": ([200], lambda logs, size: open_bandit_rows(logs, size, "men")),
        "open_bandit_women": ([200], lambda logs, size: open_bandit_rows(logs, size, "women")),
    }
    monkeypatch.setattr(study, "STUDIES", few)
    assert study.main(["--logs", "2", "-o", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "table.csv")
    assert len(table) == 4 * 7
    assert (tmp_path / "README.md").read_text().count("\n| ") == 2 + 4 * 7
    assert all((tmp_path / f"rmse.{suffix}").stat().st_size > 10_000 for suffix in ("png", "svg"))
