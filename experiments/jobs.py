"""One job: a config in, a record on disk out. Done already, it is skipped; failed, it says why."""

import json
import os
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
from omegaconf import DictConfig, OmegaConf

from experiments import config, records

# What a job is called and where it lies, not what it measures.
NOT_IDENTITY = {"hydra", "name", "folder"}


@dataclass(frozen=True)
class Outcome:
    """What became of a job; `state` is "measured", "skipped" or "failed"."""

    label: str
    state: str
    folder: str
    seconds: float = 0.0
    reason: str = ""


def perform(
    cfg: DictConfig, overrides: list[str], choices: dict[str, str], on_step: Callable[[int], None] = lambda n: None
) -> Outcome:
    """Measure the pair that `cfg` names, unless its record exists. A failure becomes a `failure.json`."""
    started = time.perf_counter()
    description = describe(cfg, overrides, choices)
    label = ", ".join(x for x in (description["problem"], description["case"], description["method"]) if x)
    folder = Path(cfg.folder) / "failed"
    try:
        environment = prepare()
        job = records.identity(description["config"], environment)
        names = (description[part] for part in ("problem", "case", "method"))
        folder = records.job_folder(cfg.folder, *names, job=job)
        record_path, failure_path = folder / "record.json", folder / "failure.json"
        if record_path.is_file():
            return Outcome(label, "skipped", str(folder))
        found = description | environment | {"identity": job} | _measure(cfg, description["config"], on_step)
        seconds = time.perf_counter() - started
        finished = datetime.now(UTC).isoformat(timespec="microseconds")
        records.write_json(record_path, found | {"job_seconds": seconds, "finished": finished})
        failure_path.unlink(missing_ok=True)
        return Outcome(label, "measured", str(folder), seconds)
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        records.write_json(
            folder / "failure.json", description | {"reason": reason, "traceback": traceback.format_exc()}
        )
        return Outcome(label, "failed", str(folder), time.perf_counter() - started, reason)


def describe(cfg: DictConfig, overrides: list[str], choices: dict[str, str]) -> dict[str, Any]:
    """Names for people (problem, case, method), the overrides by key, and the config that makes the job what it is."""
    kept = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in NOT_IDENTITY])
    parsed = [o for o in OverridesParser.create().parse_overrides(list(overrides)) if not o.is_hydra_override()]
    by_key = {o.key_or_group: o.get_value_element_as_str() for o in parsed if not o.key_or_group.startswith("hydra")}
    return {
        "problem": choices["problem"],
        "case": _numbers(by_key, "problem."),
        "method": _method(by_key, choices),
        "overrides": by_key,
        "config": OmegaConf.to_container(kept, resolve=True),
        "seed": cfg.seed,
    }


def _numbers(by_key: dict[str, str], prefix: str) -> str:
    return ", ".join(f"{key.removeprefix(prefix)} {value}" for key, value in by_key.items() if key.startswith(prefix))


def _method(by_key: dict[str, str], choices: dict[str, str]) -> str:
    # The proposal's own name without its problem's folder, then whatever else is not the default.
    parts = [_words(choices["proposal"])]
    parts.extend(_words(value) for key, value in by_key.items() if key.startswith("proposal@"))
    parts.append(_numbers(by_key, "proposal."))
    for group, default in (("weighting", "raw"), ("points", "iid")):
        if choices[group] != default:
            parts.append(_words(choices[group]))
        parts.append(_numbers(by_key, f"{group}."))
    return ", ".join(part for part in parts if part)


def _words(name: str) -> str:
    return name.rpartition("/")[2].replace("_", " ")


def prepare() -> dict[str, Any]:
    """Start JAX with the compilation cache on; the device, dtype and versions that a number depends on."""
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


def _measure(cfg: DictConfig, kept: dict[str, Any], on_step: Callable[[int], None]) -> dict[str, Any]:
    # Imported late: skipping a job must not wait for JAX's first compilation, nor collecting for JAX at all.
    import jax

    from experiments.measure import measure

    problem, proposal = config.build_problem(cfg)
    key = jax.random.fold_in(jax.random.key(cfg.seed), records.key_number(kept))
    points, weighting, ladder = (config.build(cfg[group]) for group in ("points", "weighting", "budget"))
    return {
        "kind": type(problem).__name__,
        "rows": measure(key, problem, proposal, points, weighting, ladder, on_step),
    }


def run(cfg: DictConfig) -> None:
    """The job as Hydra calls it, in whatever process its launcher chose; leaves an outcome in the job's own folder."""
    hydra_cfg = HydraConfig.get()
    outcome = perform(cfg, list(hydra_cfg.overrides.task), dict(hydra_cfg.runtime.choices))
    records.write_json(Path(hydra_cfg.runtime.output_dir) / "outcome.json", asdict(outcome))
    print(line(outcome), flush=True)


def line(outcome: Outcome) -> str:
    """The outcome in one line of text."""
    took = f"{outcome.seconds:6.1f} s" if outcome.state == "measured" else " " * 8
    return f"{outcome.state:>8} {took}  {outcome.label}" + (f"\n         {outcome.reason}" if outcome.reason else "")


def summary(outcomes: list[Outcome]) -> str:
    """How many jobs did what, and the failed ones with their reasons."""
    counts = Counter(outcome.state for outcome in outcomes)
    parts = [f"{counts[state]} {state}" for state in ("measured", "skipped", "failed") if counts[state]]
    lines = [", ".join(parts) + "."]
    lines.extend(f"failed: {o.label}: {o.reason} ({o.folder})" for o in outcomes if o.state == "failed")
    return "\n".join(lines)


class Folder(Callback):
    """Hydra's callback: remembers where the run that was started by hand keeps what its jobs leave."""

    path: ClassVar[Path | None] = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        Folder.path = Path(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        Folder.path = Path(config.hydra.sweep.dir)


def gather(folder: Path | None) -> list[Outcome]:
    """The outcomes of a run's jobs, wherever they ran; a job that started and left none has failed."""
    if folder is None:
        return []
    outcomes = []
    for started in sorted(folder.rglob(".hydra/overrides.yaml"), key=lambda path: path.parts[-3].zfill(6)):
        left = started.parent.parent / "outcome.json"
        if left.is_file():
            outcomes.append(Outcome(**json.loads(left.read_text())))
        else:
            label = " ".join(map(str, OmegaConf.load(started))) or "the default job"
            outcomes.append(Outcome(label, "failed", str(left.parent), reason="its process ended without a word"))
    return outcomes
