"""Logs from CSV and Parquet files, with columns by name; errors name the column and the rows."""

import dataclasses
import numbers
from typing import Any, NamedTuple, SupportsInt

import numpy as np
from jaxtyping import Bool, Float, Int

from mcengine.rl.ope.file_table import Source, Table
from mcengine.rl.ope.logs import BanditLog, TrajectoryLog

UNIFORM = "uniform"
# The largest table of a uniform target, 2 GiB: actions that need more are probably not numbered 0 .. A-1.
MOST_PROBABILITIES = 2**28


@dataclasses.dataclass(frozen=True)
class Columns:
    """The names of a log's columns. Names that end in _ are prefixes of several columns: target_0, target_1, ...

    - `reward`.
    - `propensity`: the behaviour policy's probability of the logged action.
    - `action`, 0 .. A-1, and `state`, a whole number, or `state_`, features; needed for models.
    - `target`: the target policy's probability of the logged action; `target_`: its probabilities of all actions. If
      both are given they must agree. They are columns of the log or of a file of their own.
    - `trajectory`: a name (number or text); with this column the log is one of trajectories.
    - `step`: the order of a trajectory's rows, without gaps and starting from the same number in all trajectories; the
      order of the rows by default.
    - `terminated`: 1 in the last row of a trajectory that ended before the horizon, else 0; without this column all
      trajectories have ended.
    - `logger`, 0 .. L-1, with `propensity_`: the probabilities under each logger, instead of `propensity`.
    """

    reward: str = "reward"
    propensity: str = "propensity"
    propensity_: str = "propensity_"
    action: str = "action"
    state: str = "state"
    state_: str = "state_"
    target: str = "target"
    target_: str = "target_"
    trajectory: str = "trajectory"
    step: str = "step"
    terminated: str = "terminated"
    logger: str = "logger"


def read_log(
    log: Source,
    target: Source | None = None,
    *,
    columns: Columns = Columns(),
    discount: float = 1.0,
    horizon: SupportsInt | str | None = None,
) -> BanditLog | TrajectoryLog:
    """The log in a CSV or Parquet file (or a pandas table), with one row per round or step.

    **Arguments:**

    - `log`: a .csv, .csv.gz or .parquet file, or a pandas table.
    - `target`: a file or table with the target policy's probabilities, with one row per row of the log, or, if it has
      the column `state`, one per state; "uniform", equal probabilities of all actions up to the largest in the log;
      None if the log itself has them.
    - `columns`: the names of the columns.
    - `discount`, `horizon` (the number of steps of a trajectory that count): for logs of trajectories.

    **Raises:** `ValueError` naming the column and the rows (the first row of data is row 1) for entries that are
    missing, duplicate, not numbers or not probabilities, and as `BanditLog` and `TrajectoryLog`; naming the file for
    damaged contents; `OSError` for a file that cannot be opened.
    """
    table = Table(log, "log", names=(columns.trajectory,))
    arrays: dict[str, Any] = {"rewards": table.numbers(columns.reward), "actions": None, "states": None, "logger": None}
    if columns.action in table:
        arrays["actions"] = table.whole_numbers(columns.action)
    if columns.state in table:
        arrays["states"] = table.whole_numbers(columns.state)
    elif names := table.numbered(columns.state_):
        arrays["states"] = np.stack([table.finite(name) for name in names], axis=-1)
    if columns.logger in table:
        arrays["logger"] = table.whole_numbers(columns.logger)
        names = table.numbered(columns.propensity_)
        if not names:
            raise ValueError(
                f"{table.name}: with the column {columns.logger!r} there must be columns {columns.propensity_}0, "
                f"{columns.propensity_}1, ..., the probabilities of the logged action under each logger."
            )
        # Loggers are on the last axis here, as features are, so that rows stay on the first.
        arrays["log_behaviour"] = _logarithm(np.stack([table.probabilities(name) for name in names], axis=-1))
    else:
        arrays["log_behaviour"] = _logarithm(table.probabilities(columns.propensity))
    arrays |= _target(table, target, columns, arrays)
    if columns.trajectory in table:
        return _trajectories(table, columns, arrays, discount, horizon)
    if discount != 1.0 or horizon not in (None, 1):
        raise ValueError(
            f"{table.name}: a discount or horizon is for trajectories, and there is no column {columns.trajectory!r} "
            f"that says which rows are one; got discount {discount} and horizon {horizon}."
        )
    if arrays["logger"] is not None:
        arrays["log_behaviour"] = arrays["log_behaviour"].T
    return BanditLog(contexts=arrays.pop("states"), validator=table.validator(), **arrays)


def _target(table: Table, target: Source | None, columns: Columns, arrays: dict[str, Any]) -> dict[str, Any]:
    """`target_probabilities`, `log_target` or both, row by row of the log."""
    if isinstance(target, str) and target == UNIFORM:
        if arrays["actions"] is None:
            raise ValueError(f"{table.name}: a uniform target needs the column {columns.action!r}.")
        table.validator().raise_where(
            arrays["actions"] < 0, f"{columns.action} must not be negative", arrays["actions"]
        )
        num_actions = int(arrays["actions"].max()) + 1
        if num_actions * len(table) > MOST_PROBABILITIES:
            raise ValueError(
                f"{table.name}: a uniform target over the actions up to the largest {columns.action}, "
                f"{num_actions - 1:,}, does not fit into memory; number the actions 0, 1, 2, ... without gaps."
            )
        return {"target_probabilities": np.full((len(table), num_actions), 1.0 / num_actions)}
    source = table if target is None else Table(target, "target")
    names, found = source.numbered(columns.target_), {}
    if names:
        probabilities = np.stack([source.probabilities(name) for name in names], axis=-1)
        source.validator().check_probabilities(f"{columns.target_}0, ...", probabilities, np.ones(len(source), bool))
        found["target_probabilities"] = probabilities
    if columns.target in source:
        found["log_target"] = _logarithm(source.probabilities(columns.target))
    if not found:
        raise ValueError(
            f"{source.name}: there are no probabilities of the target policy: a column {columns.target!r} (of the "
            f"logged action) or columns {columns.target_}0, {columns.target_}1, ... (of all actions)."
        )
    if source is table:
        return found
    if columns.state in source and names:
        rows = _rows_of_states(table, source, columns, arrays["states"])
        return {name: array[rows] for name, array in found.items()}
    if len(source) != len(table):
        raise ValueError(
            f"{source.name}: there are {len(source):,} rows for the {len(table):,} of {table.name}; a target has a row "
            f"for each, or the column {columns.state!r} and a row for each state."
        )
    return found


def _rows_of_states(
    table: Table, policy: Table, columns: Columns, states: np.ndarray | None
) -> Int[np.ndarray, " rows"]:
    """The policy's row for each row of the log."""
    if states is None or states.ndim != 1:
        raise ValueError(f"{table.name}: {policy.name} is by state, and the log has no column {columns.state!r}.")
    known = policy.whole_numbers(columns.state)
    order = np.argsort(known, kind="stable")
    twice = np.isin(known, known[order][1:][np.diff(known[order]) == 0])
    policy.validator().raise_where(twice, f"a {columns.state} occurs twice", known)
    where = np.minimum(np.searchsorted(known[order], states), len(known) - 1)
    table.validator().raise_where(
        known[order][where] != states, f"{policy.name} has no row for the {columns.state}", states
    )
    return order[where]


def _trajectories(
    table: Table,
    columns: Columns,
    arrays: dict[str, Any],
    discount: float,
    horizon: SupportsInt | str | None,
) -> TrajectoryLog:
    """Rows laid out as [n, T], trajectories in the order of their first rows."""
    layout = _layout(table, columns)
    length = int(layout.step.max()) + 1 if horizon is None else horizon
    if not (isinstance(length, numbers.Integral) and length >= 1):
        raise ValueError(f"{table.name}: horizon must be a whole number from 1 on, got {horizon}.")
    kept = layout.step < length
    rows = np.full((layout.number.max() + 1, length), -1)
    rows[layout.number[kept], layout.step[kept]] = np.flatnonzero(kept)
    mask = rows >= 0
    # Padding takes the entries of the trajectory's first row, which are valid and masked.
    rows = np.where(mask, rows, rows[:, :1])
    padded: dict[str, Any] = {name: None if array is None else array[rows] for name, array in arrays.items()}
    validator = table.validator(rows)
    if (logger := padded["logger"]) is not None:
        validator.raise_where(logger != logger[:, :1], f"{columns.logger} changes within its {columns.trajectory}")
        padded |= {"log_behaviour": np.moveaxis(np.asarray(padded["log_behaviour"]), -1, 0), "logger": logger[:, 0]}
    ended = None
    if columns.terminated in table:
        ended = np.zeros(len(rows), bool)
        ended[layout.number[_terminated(table, columns, layout)]] = True
    return TrajectoryLog(mask=mask, terminated=ended, discount=discount, validator=validator, **padded)


class _Layout(NamedTuple):
    """For every row: the number of its trajectory, its step from 0, and whether it is the last of its trajectory."""

    number: Int[np.ndarray, " rows"]
    step: Int[np.ndarray, " rows"]
    last: Bool[np.ndarray, " rows"]


def _layout(table: Table, columns: Columns) -> _Layout:
    """The trajectory and step of every row, by the columns `trajectory` and `step`."""
    validator, count = table.validator(), len(table)
    number = table.groups(columns.trajectory)
    given = table.whole_numbers(columns.step) if columns.step in table else np.arange(count)
    order = np.lexsort((given, number))
    begins = np.diff(number[order], prepend=-1) > 0
    start = np.maximum.accumulate(np.where(begins, np.arange(count), 0))
    step, last = np.empty(count, int), np.empty(count, bool)
    step[order], last[order] = np.arange(count) - start, np.append(begins[1:], True)
    if columns.step in table:
        smallest = np.empty(count, int)
        smallest[order] = given[order][start]
        reason = f"{columns.step} leaves out a number or occurs twice within its {columns.trajectory}"
        validator.raise_where(given - smallest != step, reason, given)
        # All trajectories must start from the same number: otherwise the first rows of one may be missing.
        least = given.min()
        reason = f"{columns.step} must begin at {least}, as that of another {columns.trajectory} does"
        validator.raise_where((step == 0) & (given > least), reason, given)
    return _Layout(number, step, last)


def _terminated(table: Table, columns: Columns, layout: _Layout) -> Bool[np.ndarray, " rows"]:
    """The rows with `terminated` 1."""
    flags, validator = table.numbers(columns.terminated), table.validator()
    validator.raise_where(~np.isin(flags, (0, 1)), f"{columns.terminated} must be 0 or 1", flags)
    early = (flags == 1) & ~layout.last
    validator.raise_where(early, f"{columns.terminated} is 1 before the last row of its {columns.trajectory}")
    return flags == 1


def _logarithm(probabilities: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """log p, -inf for 0 without a warning."""
    with np.errstate(divide="ignore"):
        return np.log(probabilities)
