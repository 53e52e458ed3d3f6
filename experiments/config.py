"""Builds the objects that conf/ describes, and answers a misspelt name with similar ones."""

import difflib
import functools
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import hydra
import jax
import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

import mcengine as mc
from experiments.renamed import current_overrides
from mcengine.numerics.deprecation import deprecated_names

CONF = Path(__file__).resolve().parent.parent / "conf"
CONFIG_ERRORS = (HydraException, OmegaConfBaseException)
NOT_A_JOB = "An experiment is many sweeps: python -m experiments.study {}"


def compose(overrides: list[str]) -> DictConfig:
    """The config of one job, with Hydra's own settings (`cfg.hydra`), outside of a Hydra program.

    Old names of renamed options work, with a `DeprecationWarning` (`experiments.renamed`).
    """
    overrides = current_overrides(overrides, stacklevel=3)
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return hydra.compose("config", overrides=overrides, return_hydra_config=True)


def build(node: Any) -> Any:
    """The object that a config describes; lists of numbers become arrays.

    **Raises:** `ValueError` with the constructor's message, the name of a value that must be given, or names similar to
    an unknown `_target_`.
    """
    try:
        return hydra.utils.instantiate(_with_arrays(_plain(node)), _convert_="all")
    except InstantiationException as error:
        raise ValueError(_reason(error)) from error
    except MissingMandatoryValue as error:
        raise ValueError(f"{node['_target_']}: {error.full_key} has no default and must be given.") from error


def build_problem(cfg: DictConfig) -> tuple[Any, Any]:
    """The problem and its proposal, None for plain Monte Carlo. A partial proposal is called with the problem."""
    problem, proposal = build(cfg.problem), build(cfg.proposal)
    return problem, _for_problem(proposal, problem)


def build_methods(cfg: DictConfig, problem: Any, groups: Iterable[str]) -> dict[str, Any]:
    """The object of each group. A partial object (controls of a problem, for example) is called with the problem."""
    return {group: _for_problem(build(cfg[group]), problem) for group in groups}


def defensive(problem: Any, base: Any, share: float) -> Any:
    """The proposal `base`, perhaps a partial one, mixed with `share` of plain Monte Carlo."""
    return mc.proposals.defensive(problem.plain, _for_problem(base, problem), share)


def chosen_weights(problem: Any, base: Any, *, pilot: int, floor: float, pilot_seed: int) -> Any:
    """The mixture `base`, perhaps a partial one, with mixture weights chosen by a pilot run.

    **Arguments:** `pilot`, samples of the pilot; `floor`, the least weight of a component as a fraction of 1/k.
    """
    # The pilot has its own key, so that no estimate repeats its samples, whatever its seed.
    key = jax.random.fold_in(jax.random.key(pilot_seed), 0x5A5E5)
    return mc.choose_mixture_weights(
        key, problem, _for_problem(base, problem), budget=mc.Samples(pilot), floor=float(floor)
    )


def _for_problem(made: Any, problem: Any) -> Any:
    """`made`, or its value at the problem if it is partial."""
    return made(problem=problem) if isinstance(made, functools.partial) else made


def explain(error: Exception, overrides: list[str]) -> str:
    """The error of wrong overrides in the user's terms, with names similar to one that does not exist."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        # Groups of Hydra have a slash in the name, ours in the option: proposal=gaussian_tail/shifted.
        hydras = error.missing_cfg_file.startswith("hydra/")
        file = error.missing_cfg_file
        group, _, option = file.rpartition("/") if hydras else file.partition("/")
        options = sorted(error.options or []) if hydras else group_options(group)
        return f"There is no {group} {option!r}. {suggest(option, options, f'{group} has')}"
    unknown = re.search(r"Could not (?:override|append to|delete from config\.) ?'([^']+)'", str(error))
    if unknown:
        key = unknown.group(1).split("=")[0]
        if key == "experiment":
            return NOT_A_JOB.format(" or ".join(group_options(key)))
        parent, _, _ = key.rpartition(".")
        known = _known_keys(overrides)
        siblings = [name for name in known if name.rpartition(".")[0] == parent]
        return f"There is no setting {key!r}. {suggest(key, known, (parent or 'The config') + ' has', siblings)}"
    return str(error)


def check_values(overrides: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Check that overrides of numbers are numbers; a text would fail far from its cause, or not at all.

    **Raises:** `ValueError` with the key and the value.
    """
    for key, value in overrides.items():
        if key == "experiment":
            raise ValueError(NOT_A_JOB.format(value))
        default = _default(key, choices)
        if isinstance(value, str) and isinstance(default, int | float) and not isinstance(default, bool):
            raise ValueError(f"{key} must be a number, as in {key}={default}; got {value!r}.")


def _default(key: str, choices: Mapping[str, str]) -> Any:
    """The value of a key in the YAML of its chosen option; None if there is none."""
    for group, option in choices.items():
        folder, _, package = group.partition("@")
        inside = key.removeprefix(f"{package or folder}.")
        if inside != key and (CONF / folder / f"{option}.yaml").is_file():
            node = OmegaConf.select(OmegaConf.load(CONF / folder / f"{option}.yaml"), inside)
            if node is not None:
                return node
    return None


def group_options(group: str) -> list[str]:
    """The names that `group=NAME` accepts, each with its folder."""
    folder = CONF / group
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def suggest(name: str, known: list[str], listing: str, listed: list[str] | None = None) -> str:
    """A sentence with the known names similar to `name`; if there is none, `listing` and all of `listed`."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if near:
        return "Did you mean " + " or ".join(near) + "?"
    listed = known if listed is None else listed
    return f"{listing}: {', '.join(listed)}." if listed else f"{listing} no settings."


def _known_keys(overrides: list[str]) -> list[str]:
    # Only existing options of whole groups (problem=NAME) are chosen: any other override may be the wrong one.
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    chosen = []
    for override in parsed:
        name = override.key_or_group
        value = next(override.sweep_string_iterator()) if override.is_sweep_override() else override.value()
        if name in groups() and str(value) in group_options(name):
            chosen.append(f"{name}={value}")
    cfg = compose(chosen)
    keys = groups()
    for name in cfg:
        if name != "hydra":
            keys.extend(_dotted(str(name), cfg._get_node(name)))
    return sorted(set(keys))


def groups() -> list[str]:
    """The groups of conf/ from which a job chooses."""
    return sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "experiment")


def groups_and_options() -> str:
    """One line per group with its options."""
    return "\n".join(f"{group}: {', '.join(group_options(group))}" for group in groups())


def _dotted(name: str, node: Any) -> list[str]:
    if not isinstance(node, DictConfig) or node._is_none():
        return [name]
    return [name, *(key for child in node if child != "_target_" for key in _dotted(f"{name}.{child}", node[child]))]


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _with_arrays(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _with_arrays(value) for key, value in node.items()}
    if isinstance(node, list):
        if node and _is_numeric(node):
            return {"_target_": "experiments.config.array", "_args_": [node]}
        return [_with_arrays(value) for value in node]
    return node


def _is_numeric(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_numeric(entry) for entry in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def array(values: list) -> np.ndarray:
    """An array from a config's list of numbers; rows of different lengths are an error."""
    return np.asarray(values)


def _reason(error: InstantiationException) -> str:
    cause = error.__cause__
    missing = re.search(r"Error locating target '([\w.]+)'", str(error))
    if missing:
        return _unknown_target(missing.group(1))
    called = re.search(r"Error in call to target '[\w.]*?(\w+)'", str(error))
    if not called or not cause:
        return str(error)
    name = called.group(1)
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
    # From sys.modules: Hydra names a function by its module, and the package may have a function of the module's name.
    module = sys.modules.get(called.group(0).split("'")[1].rpartition(".")[0])
    if unexpected and hasattr(module, name):
        known = list(inspect.signature(getattr(module, name)).parameters)
        return f"{name} has no {unexpected.group(1)!r}. {suggest(unexpected.group(1), known, f'{name} has')}"
    return str(cause) if name in str(cause) else f"{name}: {cause}"


def _unknown_target(target: str) -> str:
    module_name, _, name = target.rpartition(".")
    try:
        known = [entry for entry in dir(importlib.import_module(module_name)) if not entry.startswith("_")]
    except ImportError as error:
        return f"_target_ {target!r} cannot be imported: {error}."
    return f"{module_name} has no {name!r}. {suggest(name, known, module_name + ' has')}"


__getattr__ = deprecated_names(__name__, {"chosen_shares": "chosen_weights"})
