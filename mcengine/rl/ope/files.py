"""Logs from CSV and Parquet files: columns by name, and errors by row."""

import dataclasses
import numbers
from typing import Any, NamedTuple

import numpy as np

from mcengine.rl.ope.logs import BanditLog, TrajectoryLog
from mcengine.rl.ope.tables import Table

UNIFORM = "uniform"
# Of a uniform target's table: 2 GiB, and more than any log with actions numbered 0 .. A-1 is likely to need.
MOST_PROBABILITIES = 2**28


@dataclasses.dataclass(frozen=True)
class Columns:
    """The names of a log's columns. Those that end in _ are the beginnings of several: target_0, target_1, ...

    - `reward`; `propensity`, the behaviour policy's probability of the logged action.
    - `action`, 0 .. A-1; `state`, a whole number, or `state_`, features: what models need besides.
    - `target`, the target policy's probability of the logged action, or `target_`, those of all actions, or both, which
      must then agree; in the log or in a file of their own.
    - `trajectory`, a name (number or text), which makes it a log of trajectories; `step`, their order (else that of the
      rows), from the same number on in all and without gaps; `terminated`, 1 in the last row of a trajectory that ended
      before the horizon, else 0 (without it all are taken to have ended).
    - `logger`, 0 .. L-1, with `propensity_`, the probabilities under each logger, in place of `propensity`.
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
    log: Any, target: Any = None, *, columns: Columns = Columns(), discount: float = 1.0, horizon: Any = None
) -> BanditLog | TrajectoryLog:
    """The log in a CSV or Parquet file (or a pandas table), a row for each round or step.

    **Arguments:** `target`, a file or table with the target policy's probabilities: a row for each row of the log, or,
    where it has the column `state`, one for each state; "uniform", equal probabilities of all actions up to the largest
    in the log; None where the log itself has them. `discount` and `horizon` (how many steps of a trajectory count) are
    for logs of trajectories.

    **Raises:** `ValueError` naming the column and the rows (the first row of data is row 1): what is missing, comes
    twice, is no number or no probability, or what `BanditLog` and `TrajectoryLog` refuse; naming the file where its
    contents are damaged or no text in UTF-8; `OSError` for one that cannot be opened.
    """
    table = Table(log, "log", names=(columns.trajectory,))
    arrays: dict[str, Any] = {"rewards": table.numbers(columns.reward), "actions": None, "states": None, "logger": None}
    if columns.action in table:
        arrays["actions"] = table.whole(columns.action)
    if columns.state in table:
        arrays["states"] = table.whole(columns.state)
    elif names := table.numbered(columns.state_):
        arrays["states"] = np.stack([table.finite(name) for name in names], axis=-1)
    if columns.logger in table:
        arrays["logger"] = table.whole(columns.logger)
        names = table.numbered(columns.propensity_)
        if not names:
            raise ValueError(
                f"{table.name}: with the column {columns.logger!r} there must be columns {columns.propensity_}0, "
                f"{columns.propensity_}1, ..., the probabilities of the logged action under each logger."
            )
        # Loggers on the last axis for now, as features are.
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
    return BanditLog(contexts=arrays.pop("states"), voice=table.voice(), **arrays)


def _target(table: Table, target: Any, columns: Columns, arrays: dict[str, Any]) -> dict[str, Any]:
    """`target_probabilities`, `log_target` or both, row by row of the log."""
    if isinstance(target, str) and target == UNIFORM:
        if arrays["actions"] is None:
            raise ValueError(f"{table.name}: a uniform target needs the column {columns.action!r}.")
        table.voice().refuse(arrays["actions"] < 0, f"{columns.action} must not be negative", arrays["actions"])
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
        source.voice().check_probabilities(f"{columns.target_}0, ...", probabilities, np.ones(len(source), bool))
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


def _rows_of_states(table: Table, policy: Table, columns: Columns, states: Any) -> Any:
    """The policy's row for each row of the log."""
    if states is None or states.ndim != 1:
        raise ValueError(f"{table.name}: {policy.name} is by state, and the log has no column {columns.state!r}.")
    known = policy.whole(columns.state)
    order = np.argsort(known, kind="stable")
    twice = np.isin(known, known[order][1:][np.diff(known[order]) == 0])
    policy.voice().refuse(twice, f"a {columns.state} comes twice", known)
    where = np.minimum(np.searchsorted(known[order], states), len(known) - 1)
    table.voice().refuse(known[order][where] != states, f"{policy.name} has no row for the {columns.state}", states)
    return order[where]


def _trajectories(
    table: Table, columns: Columns, arrays: dict[str, Any], discount: float, horizon: Any
) -> TrajectoryLog:
    """Rows laid out as [n, T], trajectories in the order in which they come first."""
    layout = _layout(table, columns)
    length = int(layout.step.max()) + 1 if horizon is None else horizon
    if not (isinstance(length, numbers.Integral) and length >= 1):
        raise ValueError(f"{table.name}: horizon must be a whole number from 1 on, got {horizon}.")
    kept = layout.step < length
    rows = np.full((layout.number.max() + 1, length), -1)
    rows[layout.number[kept], layout.step[kept]] = np.flatnonzero(kept)
    mask = rows >= 0
    # The padding's numbers are masked; the first row has some that are sound.
    rows = np.where(mask, rows, rows[:, :1])
    padded: dict[str, Any] = {name: None if array is None else array[rows] for name, array in arrays.items()}
    voice = table.voice(rows)
    if (logger := padded["logger"]) is not None:
        voice.refuse(logger != logger[:, :1], f"{columns.logger} changes within its {columns.trajectory}")
        padded |= {"log_behaviour": np.moveaxis(np.asarray(padded["log_behaviour"]), -1, 0), "logger": logger[:, 0]}
    ended = None
    if columns.terminated in table:
        ended = np.zeros(len(rows), bool)
        ended[layout.number[_terminated(table, columns, layout)]] = True
    return TrajectoryLog(mask=mask, terminated=ended, discount=discount, voice=voice, **padded)


class _Layout(NamedTuple):
    """Of every row: the number of its trajectory, its step from 0, and whether it is the trajectory's last."""

    number: Any
    step: Any
    last: Any


def _layout(table: Table, columns: Columns) -> _Layout:
    voice, count = table.voice(), len(table)
    number = table.groups(columns.trajectory)
    given = table.whole(columns.step) if columns.step in table else np.arange(count)
    order = np.lexsort((given, number))
    begins = np.diff(number[order], prepend=-1) > 0
    start = np.maximum.accumulate(np.where(begins, np.arange(count), 0))
    step, last = np.empty(count, int), np.empty(count, bool)
    step[order], last[order] = np.arange(count) - start, np.append(begins[1:], True)
    if columns.step in table:
        smallest = np.empty(count, int)
        smallest[order] = given[order][start]
        reason = f"{columns.step} leaves out a number or comes twice within its {columns.trajectory}"
        voice.refuse(given - smallest != step, reason, given)
        # All count from 0 or all from 1; what happened before a later beginning would be taken not to have.
        least = given.min()
        reason = f"{columns.step} must begin at {least}, as that of another {columns.trajectory} does"
        voice.refuse((step == 0) & (given > least), reason, given)
    return _Layout(number, step, last)


def _terminated(table: Table, columns: Columns, layout: _Layout) -> Any:
    """Rows in which a trajectory ends for good."""
    flags, voice = table.numbers(columns.terminated), table.voice()
    voice.refuse(~np.isin(flags, (0, 1)), f"{columns.terminated} must be 0 or 1", flags)
    early = (flags == 1) & ~layout.last
    voice.refuse(early, f"{columns.terminated} is 1 before the last row of its {columns.trajectory}")
    return flags == 1


def _logarithm(probabilities: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.log(probabilities)
