"""The studies of policies: their tables agree with known results."""

import numpy as np
import pytest

from experiments.policies import __main__ as program
from experiments.policies import batch_reuse, critics, divergence_and_distance, token_and_sequence, variance_ladder


def test_each_signal_has_less_variance_than_the_one_before(monkeypatch):
    monkeypatch.setattr(variance_ladder, "BATCHES", 300)
    frame = variance_ladder.run()
    assert list(frame["signal"]) == list(variance_ladder.SIGNALS)
    assert np.all(np.diff(frame["variance"]) < 0)
    assert frame["largest z of the bias"].max() < 4


def test_sequence_and_prefix_ratios_are_exact_and_token_ratios_are_not(monkeypatch):
    monkeypatch.setattr(token_and_sequence, "LENGTHS", (1, 3))
    bias = token_and_sequence.run().set_index(["ratios", "length"])["bias / gradient"]
    assert bias.loc[["prefix", "sequence"]].max() < 1e-6
    assert bias["token", 1] < 1e-6 < 0.01 < bias["token", 3]
    assert bias["length mean", 3] > 0.1


def test_bootstrapping_has_less_variance_and_an_early_critic_is_biased(monkeypatch):
    monkeypatch.setattr(critics, "EPISODES", (30,))
    frame = critics.run().set_index("critic")
    assert frame.loc["TD, batch", "deviation"] < frame.loc["Monte Carlo", "deviation"]
    online = frame.iloc[-1]
    assert online["bias"] > 5 * online["deviation"]


def test_divergence_is_quadratic_for_small_distances():
    frame = divergence_and_distance.run()
    np.testing.assert_allclose(frame["KL"][:3], frame["quadratic model"][:3], rtol=0.02)
    assert frame["KL"].iloc[-1] < 0.9 * frame["quadratic model"].iloc[-1]


@pytest.mark.battery  # slow
def test_a_reused_batch_overestimates_the_return_and_the_weights_show_it():
    frame = batch_reuse.run()
    last = frame.loc[frame["objective"] == "unclipped"].iloc[-1]
    assert last["by the batch"] > last["exact return"] + 1
    assert last["ESS share"] < 0.05
    assert last["k-hat"] > 0.7
    first = frame.iloc[0]
    assert first["ESS share"] == pytest.approx(1.0, abs=1e-5)


def test_a_study_writes_its_table_and_its_figure(tmp_path):
    text = program.page("divergence_and_distance", tmp_path)
    assert "| 0.01 |" in text
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".svg", ".png"}
