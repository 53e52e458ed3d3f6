"""Logs in files: the same log as from arrays, errors by column and row, and the command that reads them."""

import gzip
import re
import zipfile

import numpy as np
import pandas as pd
import pytest

from experiments.ope.__main__ import main
from mcengine.rl import ope
from tests.rl.ope.cases import DISCOUNT, drawn, log_of

N, HORIZON = 200, 4


@pytest.fixture(scope="module")
def log():
    return log_of(HORIZON, N, seed=6)


@pytest.fixture
def table(log):
    trajectory, step = np.indices(log.rewards.shape).reshape(2, -1)
    columns = {
        "trajectory": trajectory, "step": step, "state": log.states.ravel(), "action": log.actions.ravel(),
        "reward": log.rewards.ravel(), "propensity": np.exp(log.log_behaviour).ravel(),
    }  # fmt: skip
    probabilities = log.target_probabilities.reshape(-1, 2)
    return pd.DataFrame(columns | {"target_0": probabilities[:, 0], "target_1": probabilities[:, 1]})


@pytest.fixture
def policy():
    target = drawn(HORIZON, N, 6).logged.target
    # Not in order: rows are found by their state.
    return pd.DataFrame({"state": range(5), "target_0": target[:, 0], "target_1": target[:, 1]}).iloc[::-1]


def assert_same(found, log):
    for name in ("rewards", "log_behaviour", "log_target", "states", "actions", "mask"):
        np.testing.assert_allclose(getattr(found, name), getattr(log, name), rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_files_are_the_arrays_in_them(table, log, policy, tmp_path, ending):
    shuffled = table.sample(frac=1.0, random_state=0).sort_values("trajectory", kind="stable")
    path = tmp_path / f"log.{ending}"
    if ending == "parquet":
        shuffled.to_parquet(path, index=False)
    else:
        shuffled.to_csv(path, index=False)
    assert_same(ope.read_log(path, discount=DISCOUNT), log)
    bare = shuffled.drop(columns=["target_0", "target_1"])
    assert_same(ope.read_log(bare, policy, discount=DISCOUNT), log)
    assert_same(ope.read_log(bare, shuffled[["target_0", "target_1"]], discount=DISCOUNT), log)


def test_a_horizon_and_early_ends(table, log):
    assert_same(ope.read_log(table, horizon=2), ope.TrajectoryLog(
        log.rewards[:, :2], log.log_behaviour[:, :2], actions=log.actions[:, :2], states=log.states[:, :2],
        target_probabilities=log.target_probabilities[:, :2],
    ))  # fmt: skip
    early = table[(table.trajectory != 3) | (table.step < 2)]
    found = ope.read_log(early)
    assert found.mask[3].tolist() == [True, True, False, False]
    assert np.all(found.rewards[3, 2:] == 0)
    with pytest.raises(ValueError, match="not terminated, so the rewards after the cut are unknown: row 13"):
        ope.read_log(early.assign(terminated=0))
    marked = early.assign(terminated=((early.trajectory == 3) & (early.step == 1)).astype(int))
    assert_same(ope.read_log(marked), found)


def test_a_bandit_with_a_column_for_the_logged_action(table, log):
    rounds = table.drop(columns=["trajectory", "step", "target_1", "state", "action"])
    rounds = rounds.rename(columns={"target_0": "target", "reward": "click"})
    found = ope.read_log(rounds, columns=ope.Columns(reward="click"))
    assert isinstance(found, ope.BanditLog)
    by_hand = np.mean(rounds.target / rounds.propensity * rounds.click)
    assert ope.importance_sampling(found).value == pytest.approx(by_hand, rel=1e-12)


def test_loggers_in_a_file(table):
    two = table.rename(columns={"propensity": "propensity_0"}).assign(propensity_1=0.5, logger=table.trajectory % 2)
    found = ope.read_log(two)
    prefixes = [np.cumprod(two[f"propensity_{i}"].to_numpy().reshape(N, HORIZON), axis=1) for i in range(2)]
    np.testing.assert_allclose(
        np.exp(np.cumsum(found.log_behaviour, axis=1)), (prefixes[0] + prefixes[1]) / 2, rtol=1e-12
    )
    with pytest.raises(ValueError, match="logger changes within its trajectory: row 2"):
        ope.read_log(two.assign(logger=two.step % 2))


BAD = {
    "a missing column": (lambda t: t.rename(columns={"reward": "rewards"}), "no column 'reward'. Did you mean rewards"),
    "a word": (lambda t: t.astype({"reward": object}).replace({"reward": {t.reward[4]: "x"}}), "number in row 5: 'x'"),
    "a propensity above 1": (lambda t: t.assign(propensity=np.where(t.index == 6, 1.5, 0.5)), r"row 7 \(1.5\)"),
    "a propensity of 0": (
        lambda t: t.assign(propensity=np.where(t.index == 6, 0.0, 0.5)),
        "behaviour probability of the logged action is 0: row 7",
    ),
    "an empty propensity": (
        lambda t: t.assign(propensity=np.where(t.index == 6, np.nan, 0.5)), "propensity is empty or NaN: row 7"
    ),
    "an empty reward": (
        lambda t: t.assign(reward=np.where(t.index == 6, np.nan, 0.5)), "rewards are NaN or infinite: row 7"
    ),
    "target probabilities": (lambda t: t.assign(target_0=0.9), "target_0, ... must sum to 1 over the actions: row 1"),
    "a step twice": (lambda t: t.assign(step=t.step.replace(2, 1)), "comes twice within its trajectory: row"),
    "an end in the middle": (lambda t: t.assign(terminated=1), "terminated is 1 before the last row of its trajectory"),
    "no rows": (lambda t: t.iloc[:0], "there are no rows"),
    "a gap of columns": (lambda t: t.rename(columns={"target_1": "target_2"}), r"have a gap: \[0, 2\]"),
    "no target": (lambda t: t.drop(columns=["target_0", "target_1"]), "no probabilities of the target policy"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_errors_name_columns_and_rows(table, name):
    change, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        ope.read_log(change(table))


def test_targets_that_do_not_fit(table, policy):
    with pytest.raises(ValueError, match="target is by state, and the log has no column 'state'"):
        ope.read_log(table.drop(columns="state"), policy)
    with pytest.raises(ValueError, match="target has no row for the state: row"):
        ope.read_log(table, policy[policy.state != 2])
    with pytest.raises(ValueError, match=r"a state comes twice: row 1 \(0\)"):
        ope.read_log(table, policy.assign(state=0))
    with pytest.raises(ValueError, match=r"there are 3 rows for the 800 of log"):
        ope.read_log(table, table[["target_0", "target_1"]].iloc[:3])


def test_the_command_prints_every_estimator_and_a_reason(table, policy, tmp_path, capsys):
    table.drop(columns=["target_0", "target_1"]).to_csv(tmp_path / "log.csv", index=False)
    policy.to_csv(tmp_path / "target.csv", index=False)
    files = [f"log={tmp_path / 'log.csv'}", f"target={tmp_path / 'target.csv'}"]
    assert main([*files, "discount=0.98", f"output={tmp_path / 'table.csv'}"]) == 0
    printed = capsys.readouterr().out
    names = ["IS", "WIS", "PDIS", "WPDIS", "DR", "WDR", "MAGIC", "DM", "MIS"]
    assert re.findall(r"^([A-Z]+) ", printed, re.MULTILINE) == names
    assert re.search(r"^Use \w+: its status is ok|^Use none: every estimator is flagged", printed, re.MULTILINE)
    assert pd.read_csv(tmp_path / "table.csv").estimator.tolist() == names


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([], "Give the log"),
        (["log=nothing.csv"], "nothing.csv: No such file"),
        (["lgo=a.csv"], "There is no setting 'lgo'. Did you mean log"),
        (["log=a.txt"], r"a log is a .csv, .csv.gz or .parquet file"),
        (["log=a.whl", "campaign=women", "target=x.csv"], "target is the uniform policy"),
        (["log=a.whl", "campaign=cats"], "campaign must be one of all, men, women; got 'cats'"),
    ],
)
def test_commands_that_make_no_sense(command, message, capsys):
    assert main(command) == 2
    assert re.search(message, capsys.readouterr().err)


def open_bandit_rows(n, seed):
    rng = np.random.default_rng(seed)
    columns = {"item_id": rng.integers(0, 34, n), "position": rng.integers(1, 4, n), "click": rng.integers(0, 2, n)}
    return pd.DataFrame(columns | {"propensity_score": rng.uniform(0.01, 0.1, n)})


def test_open_bandit_from_a_wheel_and_from_a_folder(tmp_path):
    tables = {policy: open_bandit_rows(50, seed) for seed, policy in enumerate(("bts", "random"))}
    with zipfile.ZipFile(tmp_path / "obp.whl", "w") as wheel:
        for policy, rows in tables.items():
            wheel.writestr(f"obp/dataset/obd/{policy}/men/men.csv", rows.to_csv())
            (tmp_path / policy / "men").mkdir(parents=True)
            with gzip.open(tmp_path / policy / "men" / "men.csv.gz", "wt") as file:
                rows.to_csv(file)
    for source in (tmp_path / "obp.whl", tmp_path):
        log, clicks = ope.read_open_bandit(source, "men")
        by_hand = np.mean(tables["bts"].click / 34 / tables["bts"].propensity_score)
        assert ope.importance_sampling(log).value == pytest.approx(by_hand, rel=1e-12)
        assert clicks.mean() == tables["random"].click.mean()
        with pytest.raises(ValueError, match=r"women/women\.csv"):
            ope.read_open_bandit(source, "women")
    with pytest.raises(ValueError, match="neither a folder nor a wheel"):
        ope.read_open_bandit(tmp_path / "bts" / "men" / "men.csv.gz", "men")
