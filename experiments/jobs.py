"""One job: from a config to a record on disk. A job with a record is skipped; a failed job leaves its reason."""

import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from experiments import config, records

# Settings that do not change what a job measures: its name and its folder.
NOT_IDENTITY = {"hydra", "name", "folder"}
# Options that are not part of a method's name.
USUAL = {"points": "iid", "mis": "balance", "weighting": "raw", "controls": "none"}
# The end of a method's name if its runs stop at a tolerance.
TO_TOLERANCE = "to tolerance"
STATES = ("measured", "skipped", "failed")
# The most jobs that a summary names per reason of failure.
MAX_NAMED = 10


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job; `state` is "measured", "skipped" or "failed"."""

    label: str
    state: str
    folder: str
    seconds: float = 0.0
    reason: str = ""


def perform(
    cfg: DictConfig,
    overrides: list[str],
    choices: dict[str, str],
    on_step: Callable[[str], None] = lambda step: None,
) -> Outcome:
    """Measure the pair that `cfg` names, unless its record exists. A failure writes a `failure.json`.

    `on_step` is called with each sample count when it begins, as in "N = 2^18 (6 of 7)".
    """
    started = time.perf_counter()
    try:
        description = describe(cfg, overrides, choices)
    except ValueError as error:
        return Outcome(" ".join(overrides), "failed", "", reason=str(error))
    seed = f"seed {cfg.seed}" if "seed" in description["overrides"] else ""
    label = ", ".join(x for x in (description["problem"], description["case"], description["method"], seed) if x)
    folder = Path(cfg.folder) / "failed"
    try:
        environment = prepare()
        job = records.identity(description["config"], environment)
        names = (description[part] for part in ("problem", "case", "method"))
        folder = records.job_folder(cfg.folder, *names, job=job)
        record_path, failure_path = folder / "record.json", folder / "failure.json"
        if records.is_record(record_path):
            return Outcome(label, "skipped", str(folder))
        found = description | environment | {"identity": job} | _measure(cfg, description["config"], on_step)
        seconds = time.perf_counter() - started
        finished = datetime.now(UTC).isoformat(timespec="microseconds")
        records.write_json(record_path, found | {"job_seconds": seconds, "finished": finished})
        failure_path.unlink(missing_ok=True)
        return Outcome(label, "measured", str(folder), seconds)
    except Exception as error:
        reason = _leave_failure(folder / "failure.json", description, error)
        return Outcome(label, "failed", str(folder), time.perf_counter() - started, reason)


def _leave_failure(path: Path, description: dict[str, Any], error: Exception) -> str:
    reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    try:
        records.write_json(path, description | {"reason": reason, "traceback": traceback.format_exc()})
    except OSError as no_file:
        # A disk that refuses the record usually refuses this file too; the sweep goes on.
        return f"{reason} (cannot write {path}: {no_file.strerror})"
    return reason


def describe(cfg: DictConfig, overrides: list[str], choices: dict[str, str]) -> dict[str, Any]:
    """The names in the tables (problem, case, method), the overrides by key, and the config that identifies the job.

    **Raises:** `ValueError` for an invalid override.
    """
    kept = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in NOT_IDENTITY])
    parsed = [o for o in OverridesParser.create().parse_overrides(list(overrides)) if not o.is_hydra_override()]
    # The key includes the package: proposal=defensive and proposal@proposal.base=... are two choices.
    by_key = {o.get_key_element().lstrip("+~"): o for o in parsed if not o.key_or_group.startswith("hydra")}
    config.check_values({key: override.value() for key, override in by_key.items()}, choices)
    if not isinstance(cfg.seed, int) or isinstance(cfg.seed, bool):
        raise ValueError(f"seed must be a whole number, got {cfg.seed!r}.")
    texts = {key: override.get_value_element_as_str() for key, override in by_key.items()}
    return {
        "problem": choices["problem"],
        "case": _case(texts, choices),
        "method": _method(texts, choices),
        "overrides": texts,
        "choices": {group: option for group, option in choices.items() if not group.startswith("hydra")},
        "config": OmegaConf.to_container(kept, resolve=True),
        "seed": cfg.seed,
    }


def _case(by_key: dict[str, str], choices: dict[str, str]) -> str:
    # A functional defines what is estimated, as the problem's numbers do: methods are compared within one of them.
    functional = "" if choices["functional"] == "mean" else _words(choices["functional"])
    parts = (_numbers(by_key, "problem."), functional, _numbers(by_key, "functional."))
    return ", ".join(part for part in parts if part)


def _numbers(by_key: dict[str, str], prefix: str) -> str:
    found = [(key.removeprefix(prefix), value) for key, value in by_key.items() if key.startswith(prefix)]
    return ", ".join(f"{key} {_file_name(value)}" for key, value in found)


def _file_name(value: str) -> str:
    path = Path(value.strip("'\""))
    return path.name if path.is_absolute() or len(path.parts) > 1 else value


def _method(by_key: dict[str, str], choices: dict[str, str]) -> str:
    # The proposal's name without its problem's folder, then every option that is not the default.
    parts = [] if choices["proposal"] == "plain" else [_words(choices["proposal"])]
    parts.extend(_words(value) for key, value in by_key.items() if key.startswith("proposal@"))
    parts.append(_numbers(by_key, "proposal."))
    for group, default in USUAL.items():
        if choices[group] != default:
            parts.append(_words(choices[group]))
        parts.append(_numbers(by_key, f"{group}."))
    # Plain sampling with other points or weights, or with controls, has only their names.
    name = ", ".join(part for part in parts if part) or _words(choices["proposal"])
    # Runs that stop at a tolerance are not comparable with runs of a given count, and not the reference of others.
    return f"{name}, {TO_TOLERANCE}" if choices["budget"] == "tolerance" else name


def _words(name: str) -> str:
    return name.rpartition("/")[2].replace("_", " ")


def prepare() -> dict[str, Any]:
    """Start JAX with the compilation cache; return the device, dtype and versions on which the numbers depend."""
    import jax

    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if cache is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(home) / "mcengine" / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    device = jax.devices()[0]
    return {
        "device": device.platform if device.platform == "cpu" else f"{device.platform}: {device.device_kind}",
        "dtype": str(jax.numpy.result_type(float)),
        "versions": records.versions(),
    }


def _measure(cfg: DictConfig, kept: dict[str, Any], on_step: Callable[[str], None]) -> dict[str, Any]:
    # Imported late, so that skipped jobs do not wait for JAX.
    import jax

    from experiments.measure import measure
    from experiments.stopping import Tolerances, measure_stopping

    problem, proposal = config.build_problem(cfg)
    key = jax.random.fold_in(jax.random.key(cfg.seed), records.key_number(kept))
    budget, methods = config.build(cfg.budget), config.build_methods(cfg, problem, [*USUAL, "functional"])
    measuring: Callable[..., Any] = measure_stopping if isinstance(budget, Tolerances) else measure
    rows = measuring(key, problem, proposal, budget, on_step=lambda *step: on_step(_step(*step)), **methods)
    # The variance of a probability follows from its value; that of another functional of it does not.
    estimated = problem if methods["functional"] is None else methods["functional"]
    return {"kind": type(estimated).__name__, "rows": rows}


def _step(step: str, number: int, of: int) -> str:
    return f"{step} ({number} of {of})"


def _draw_step(step: str) -> None:
    """Overwrite the terminal's last line with the step; do nothing if stderr is a file or a pipe."""
    if sys.stderr.isatty():
        print(f"\r\033[K{step}", end="", file=sys.stderr, flush=True)


def run(cfg: DictConfig) -> None:
    """The job as Hydra calls it, in the process that its launcher chose; writes an outcome to the job's folder."""
    hydra_cfg = HydraConfig.get()
    outcome = perform(cfg, list(hydra_cfg.overrides.task), dict(hydra_cfg.runtime.choices), _draw_step)
    _draw_step("")
    records.write_json(Path(hydra_cfg.runtime.output_dir) / "outcome.json", asdict(outcome))
    print(line(outcome, with_reason=hydra_cfg.mode == RunMode.RUN), flush=True)


def line(outcome: Outcome, with_reason: bool) -> str:
    """The outcome in one line, and with `with_reason` the reason in a second one."""
    took = f"{outcome.seconds:6.1f} s" if outcome.state == "measured" else " " * 8
    reason = f"\n         {outcome.reason}" if with_reason and outcome.reason else ""
    return f"{outcome.state:>8} {took}  {outcome.label}{reason}"


def summary(outcomes: list[Outcome]) -> str:
    """The number of jobs by state, and the failed jobs by reason."""
    by_reason: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.state == "failed":
            name = f"{outcome.label} ({outcome.folder})" if outcome.folder else outcome.label
            by_reason.setdefault(outcome.reason, []).append(name)
    lines = [count(outcomes) + "."]
    for reason, names in by_reason.items():
        lines.extend([f"failed: {reason}", *(f"  {name}" for name in names[:MAX_NAMED])])
        if len(names) > MAX_NAMED:
            lines.append(f"  and {len(names) - MAX_NAMED} more")
    return "\n".join(lines)


def count(outcomes: list[Outcome]) -> str:
    """The number of jobs by state, as in "3 measured, 1 failed"."""
    counts = Counter(outcome.state for outcome in outcomes)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) or "0 measured"


def interrupted(outcomes: list[Outcome]) -> str:
    """The message after Ctrl-C."""
    return f"Interrupted: {count(outcomes)}; the same command measures the rest."


class Folder(Callback):
    """Hydra's callback: keeps the output folder of the run that the user started."""

    path: ClassVar[Path | None] = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        Folder.path = Path(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        Folder.path = Path(config.hydra.sweep.dir)


def gather(folder: Path | None, ended: bool = True) -> list[Outcome]:
    """The outcomes of a run's jobs. If all have ended, a job that started and has no outcome has failed."""
    if folder is None:
        return []
    outcomes = []
    for started in sorted(folder.rglob(".hydra/overrides.yaml"), key=lambda path: path.parts[-3].zfill(6)):
        left = started.parent.parent / "outcome.json"
        if left.is_file():
            outcomes.append(Outcome(**json.loads(left.read_text())))
        elif ended:
            label = " ".join(map(str, OmegaConf.load(started))) or "the default job"
            outcomes.append(Outcome(label, "failed", str(left.parent), reason="its process ended without a message"))
    return outcomes
