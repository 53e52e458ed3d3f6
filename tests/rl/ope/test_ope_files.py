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
    # In reverse order, because rows are found by their state.
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


@pytest.mark.parametrize(
    "names",
    [[2**60 + i for i in range(N)], [2**70 + i for i in range(N)], [f"{i:04x}-e{i}" for i in range(N)]],
    ids=["int64", "more than 64 bits", "words"],
)
def test_names_of_trajectories_stay_apart(table, log, names, tmp_path):
    named = table.assign(trajectory=[names[i] for i in table.trajectory])
    named.to_csv(tmp_path / "log.csv", index=False)
    for source in (named, tmp_path / "log.csv"):
        for columns in (ope.Columns(), ope.Columns(step="none")):
            assert_same(ope.read_log(source, columns=columns), log)


def test_names_are_not_numbers(tmp_path):
    (tmp_path / "log.csv").write_text("trajectory,reward,propensity,target\n007,1,.5,.5\n7,2,.5,.5\n007,3,.5,.5\n")
    assert ope.read_log(tmp_path / "log.csv").rewards.tolist() == [[1.0, 3.0], [2.0, 0.0]]


def test_large_states_stay_apart(table, policy, log):
    # In float64 these numbers equal their neighbours.
    renamed = table.assign(state=2**60 + table.state)
    by_state = policy.assign(state=2**60 + policy.state)
    found = ope.read_log(renamed.drop(columns=["target_0", "target_1"]), by_state, discount=DISCOUNT)
    np.testing.assert_array_equal(found.states, 2**60 + log.states)
    np.testing.assert_allclose(found.log_target, log.log_target, rtol=1e-12, atol=1e-12)


def test_steps_may_begin_anywhere_if_all_do(table, log):
    assert_same(ope.read_log(table.assign(step=table.step + 5), discount=DISCOUNT), log)


def test_both_forms_of_a_target(table, log):
    assert_same(ope.read_log(table.assign(target=np.exp(log.log_target).ravel()), discount=DISCOUNT), log)
    no_actions = table.drop(columns="action").assign(target=np.exp(log.log_target).ravel())
    np.testing.assert_allclose(ope.read_log(no_actions).log_target, log.log_target, rtol=1e-12)


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
    "a step twice": (lambda t: t.assign(step=t.step.replace(2, 1)), "occurs twice within its trajectory: row"),
    "an end in the middle": (lambda t: t.assign(terminated=1), "terminated is 1 before the last row of its trajectory"),
    "no rows": (lambda t: t.iloc[:0], "there are no rows"),
    "a gap of columns": (lambda t: t.rename(columns={"target_1": "target_2"}), r"have a gap: \[0, 2\]"),
    "two targets": (
        lambda t: t.assign(target=np.where(t.index == 6, 0.3, t.target_0.where(t.action == 0, t.target_1))),
        "log_target disagrees with target_probabilities and actions: row 7",
    ),
    "the first step missing": (
        lambda t: t.drop(index=[4, 12]), r"step must begin at 0, as that of another.* does: row 5 \(1\); row 12"
    ),
    "an empty name": (lambda t: t.assign(trajectory=t.trajectory.where(t.index != 6)), "is empty or NaN: row 7"),
    "names that floats do not distinguish": (
        lambda t: t.assign(trajectory=2.0**60 + t.trajectory), "trajectory is a float of 2.53 or more"
    ),
    "a column twice": (lambda t: t.assign(**{"reward.1": 1.0}), "the column 'reward' occurs twice"),
    "a column twice in pandas": (
        lambda t: pd.concat([t, t.reward], axis=1), "the column 'reward' occurs twice"
    ),
    "an empty feature": (
        lambda t: t.rename(columns={"state": "state_0"}).assign(state_1=np.where(t.index == 6, np.nan, 1.0)),
        "state_1 is empty, NaN or infinite: row 7",
    ),
    "a logger without propensities": (lambda t: t.assign(logger=0), "there must be columns propensity_0, propensity_1"),
    "no target": (lambda t: t.drop(columns=["target_0", "target_1"]), "no probabilities of the target policy"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_errors_name_columns_and_rows(table, name):
    change, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        ope.read_log(change(table))


BAD_ROUNDS = {
    "a propensity of 0": ("1,0,.5", "behaviour probability of the logged action is 0: row 2"),
    "a propensity above 1": ("1,1.5,.5", r"propensity is not a probability: row 2 \(1.5\)"),
    "an empty reward": (",.5,.5", "rewards are NaN or infinite: row 2"),
    "no reward": ("NA,.5,.5", "rewards are NaN or infinite: row 2"),
    "an infinite reward": ("inf,.5,.5", r"rewards are NaN or infinite: row 2 \(inf\)"),
    "a reward beyond floats": ("1e400,.5,.5", r"rewards are NaN or infinite: row 2 \(inf\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ROUNDS)
def test_errors_of_bandits_name_rows(name, tmp_path, capsys):
    line, message = BAD_ROUNDS[name]
    path = tmp_path / "log.csv"
    path.write_text(f"reward,propensity,target\n1,.5,.5\n{line}\n")
    with pytest.raises(ValueError, match=message):
        ope.read_log(path)
    assert main([f"log={path}"]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_errors_of_bandits_in_pandas_name_rows():
    rounds = pd.DataFrame({"reward": [1, 2], "propensity": 0.5, "target": 0.5})
    with pytest.raises(ValueError, match="rewards are NaN or infinite: row 2"):
        ope.read_log(rounds.assign(reward=pd.array([1, None], dtype="Int64")))
    loggers = rounds.assign(logger=[0, 1], propensity_0=0.5, propensity_1=[0.5, 0.0])
    with pytest.raises(ValueError, match="the logged action has probability 0 under its own logger: row 2"):
        ope.read_log(loggers)


def test_bandits_have_no_discount_and_no_horizon(table):
    for options in ({"discount": 2.0}, {"discount": 0.9}, {"horizon": 4}):
        with pytest.raises(ValueError, match="is for trajectories, and there is no column 'trajectory'"):
            ope.read_log(table.drop(columns="trajectory"), **options)
    for horizon in (1.5, 0, "2"):
        with pytest.raises(ValueError, match=f"horizon must be a whole number from 1 on, got {horizon}"):
            ope.read_log(table, horizon=horizon)


def test_a_uniform_target_with_bad_actions(table):
    bare = table.drop(columns=["target_0", "target_1"])
    np.testing.assert_allclose(ope.read_log(bare, "uniform").log_target, np.log(0.5))
    with pytest.raises(ValueError, match=r"action must not be negative: row 7 \(-1\)"):
        ope.read_log(bare.assign(action=np.where(bare.index == 6, -1, bare.action)), "uniform")
    with pytest.raises(ValueError, match="up to the largest action, 1,000,000,000,000, does not fit into memory"):
        ope.read_log(bare.assign(action=np.where(bare.index == 6, 10**12, bare.action)), "uniform")


def damaged(table, name):
    """The bytes of a file that is not what its name says."""
    text = table.to_csv(index=False)
    if name == "sixteen.csv":
        return text.encode("utf-16")
    if name == "latin.csv":
        return f"{text}\u00e9".encode("latin-1")
    if name == "cut.csv.gz":
        return gzip.compress(text.encode())[:-20]
    if name == "cut.parquet":
        return table.to_parquet()[100:]
    return text.encode()


@pytest.mark.parametrize(
    "name", ["sixteen.csv", "latin.csv", "plain.csv.gz", "cut.csv.gz", "cut.parquet", "csv.parquet"]
)
def test_damaged_files_are_named(table, name, tmp_path, capsys):
    (tmp_path / name).write_bytes(damaged(table, name))
    message = rf"^{re.escape(name)}: (it is not text in UTF-8|\w+)"
    with pytest.raises(ValueError, match=message):
        ope.read_log(tmp_path / name)
    assert main([f"log={tmp_path / name}"]) == 2
    assert re.match(message, capsys.readouterr().err)


def test_targets_that_do_not_fit(table, policy):
    with pytest.raises(ValueError, match="target is by state, and the log has no column 'state'"):
        ope.read_log(table.drop(columns="state"), policy)
    with pytest.raises(ValueError, match="target has no row for the state: row"):
        ope.read_log(table, policy[policy.state != 2])
    with pytest.raises(ValueError, match=r"a state occurs twice: row 1 \(0\)"):
        ope.read_log(table, policy.assign(state=0))
    with pytest.raises(ValueError, match=r"there are 3 rows for the 800 of log"):
        ope.read_log(table, table[["target_0", "target_1"]].iloc[:3])


def test_the_command_prints_every_estimator_and_a_reason(table, policy, tmp_path, capsys):
    table.drop(columns=["target_0", "target_1"]).to_csv(tmp_path / "log.csv", index=False)
    policy.to_csv(tmp_path / "target.csv", index=False)
    files = [f"log={tmp_path / 'log.csv'}", f"target={tmp_path / 'target.csv'}"]
    assert main([*files, "discount=0.98", f"output={tmp_path / 'table.csv'}"]) == 0
    printed = capsys.readouterr().out
    names = ["IS", "WIS", "PDIS", "WPDIS", "DR", "WDR", "MAGIC", "DM", "MARG"]
    assert re.findall(r"^([A-Z]+) ", printed, re.MULTILINE) == names
    assert re.search(r"^Use \w+: its status is ok|^Use none: every estimator is flagged", printed, re.MULTILINE)
    assert pd.read_csv(tmp_path / "table.csv").estimator.tolist() == names


def test_the_command_prints_a_table_of_one_trajectory(table, tmp_path, capsys):
    table[table.trajectory == 0].to_csv(tmp_path / "log.csv", index=False)
    assert main([f"log={tmp_path / 'log.csv'}", "discount=1"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^IS .* dominated$", printed, re.MULTILINE)
    assert re.search(r"^Use none: ", printed, re.MULTILINE)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([], "Give the log"),
        (["log=nothing.csv"], "nothing.csv: No such file"),
        (["lgo=a.csv"], "There is no setting 'lgo'. Did you mean log"),
        (["log=a.txt"], r"a log is a .csv, .csv.gz or .parquet file"),
        (["log=a.whl", "campaign=women", "target=x.csv"], "target is the uniform policy"),
        (["log=a.whl", "campaign=women", "discount=0.9"], "leave out discount and horizon, or campaign"),
        (["log=a.csv", "discount=abc"], "discount must be a number, got abc"),
        (["log=a.csv", "horizon=1.5"], "horizon must be a whole number, got 1.5"),
        (["log=a.csv", "folds=2.5"], "folds must be a whole number, got 2.5"),
        (["log=a.csv", "ridge=null"], "ridge must be a number, got None"),
        (["log=a.whl", "campaign=cats"], "campaign must be one of all, men, women; got 'cats'"),
    ],
)
def test_errors_of_commands(command, message, capsys):
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
    (tmp_path / "bts" / "men" / "men.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match="bts/men: Not a gzipped file"):
        ope.read_open_bandit(tmp_path, "men")
    with pytest.raises(ValueError, match="neither a folder nor a wheel"):
        ope.read_open_bandit(tmp_path / "bts" / "men" / "men.csv.gz", "men")
