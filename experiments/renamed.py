"""Options of conf/ that have a new name: the old one works for one release, and old records are read as if renamed."""

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Renamed(NamedTuple):
    """An option's group, its old and new name, and the old and new `_target_` in its YAML."""

    group: str
    old: str
    new: str
    old_target: str
    new_target: str


RENAMED = (
    Renamed("controls", "index_fall/bad_days", "index_fall/exceedance_counts",
            "mcengine.finance.bad_days", "mcengine.finance.exceedance_counts"),
    Renamed("controls", "plane_light/lamp_in_sight", "plane_light/light_visibility",
            "mcengine.rendering.lamp_in_sight", "mcengine.rendering.light_visibility"),
    Renamed("controls", "tabular_mdp/luck", "tabular_mdp/advantage_sums",
            "mcengine.rl.luck", "mcengine.rl.advantage_sums"),
    Renamed("proposal", "index_fall/one_bad_day", "index_fall/one_big_jump",
            "mcengine.finance.one_bad_day", "mcengine.finance.one_big_jump"),
    Renamed("proposal", "chosen_shares", "chosen_weights",
            "experiments.config.chosen_shares", "experiments.config.chosen_weights"),
)  # fmt: skip


def current_overrides(overrides: Iterable[str], stacklevel: int = 2) -> list[str]:
    """The overrides with the new names of renamed options, also inside a sweep (`controls=none,tabular_mdp/luck`).

    Other words of a command line are returned as they are. Each old name gives a `DeprecationWarning`, for the line
    that `stacklevel` names as in `warnings.warn`.
    """
    found = []
    for override in overrides:
        key, equals, value = override.partition("=")
        # The key may name a place too: proposal@proposal.base=chosen_shares.
        group = key.lstrip("+~").partition("@")[0]
        for option in RENAMED:
            if option.group != group:
                continue
            value, count = re.subn(rf"(?<![\w/.-]){re.escape(option.old)}(?![\w/.-])", option.new, value)
            if count:
                warnings.warn(
                    f"{group}={option.old} is now {group}={option.new}; the old name goes away with the next release.",
                    DeprecationWarning,
                    stacklevel=stacklevel,
                )
        found.append(key + equals + value)
    return found


def current_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record or failure with today's names in its method, overrides, choices and config."""
    renamed = dict(record)
    for option in RENAMED:
        old, new = _label(option.old), _label(option.new)
        renamed["method"] = ", ".join(new if word == old else word for word in renamed["method"].split(", "))
        for part in {"overrides", "choices"} & renamed.keys():
            renamed[part] = {
                key: option.new if (key.partition("@")[0], value) == (option.group, option.old) else value
                for key, value in renamed[part].items()
            }
    return renamed | {"config": _with_targets(record["config"], {o.old_target: o.new_target for o in RENAMED})}


def first_targets(config: Any) -> Any:
    """A config with the `_target_`s that its options had when they were first measured.

    Keys of random numbers are made from these, so that an option draws the same replicates under its new name.
    """
    return _with_targets(config, {option.new_target: option.old_target for option in RENAMED})


def _with_targets(node: Any, renamed: Mapping[str, str]) -> Any:
    if isinstance(node, list):
        return [_with_targets(value, renamed) for value in node]
    if not isinstance(node, dict):
        return node
    return {
        key: renamed.get(value, value) if key == "_target_" else _with_targets(value, renamed)
        for key, value in node.items()
    }


def _label(option: str) -> str:
    return option.rpartition("/")[2].replace("_", " ")
