"""Records on disk: the identity of a job, the place of its record, and writing that leaves no partial file."""

import functools
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import sys
import uuid
from pathlib import Path
from typing import Any

from experiments import renamed

ROOT = Path(__file__).resolve().parent.parent
MEASURED_BY = ["problem", "proposal", "points", "weighting", "seed"]
# Later groups: a job that chooses none of them repeats the replicates that it had before they existed.
MEASURED_BY_IF_SET = ["mis", "controls", "functional"]
# The files that, with the engine's source, determine the numbers.
MEASURING_CODE = ["measure.py", "stopping.py"]
# A file name may have 255 characters: three labels, the identity and the separators.
MAX_LABEL = 60
NEEDS = {
    "record.json": {"problem": str, "case": str, "method": str, "overrides": dict, "config": dict, "seed": int,
                    "device": str, "dtype": str, "versions": dict, "identity": str, "kind": str, "rows": list,
                    "finished": str},
    "failure.json": {"problem": str, "case": str, "method": str, "config": dict, "reason": str},
}  # fmt: skip


def versions() -> dict[str, str]:
    """Versions on which a number may depend; `code` is a digest of the engine's source and of the measuring files."""
    found = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy")}
    return found | {"mcengine": _engine_version(), "python": platform.python_version(), "code": _code_digest()}


def _engine_version() -> str:
    try:
        return importlib.metadata.version("mcengine")
    except importlib.metadata.PackageNotFoundError:
        return "source"


@functools.cache
def _code_digest() -> str:
    digest = hashlib.sha256()
    measuring = [ROOT / "experiments" / name for name in MEASURING_CODE]
    for path in [*sorted((ROOT / "mcengine").rglob("*.py")), *measuring]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def identity(config: dict[str, Any], environment: dict[str, Any]) -> str:
    """The identity of a job: equal for equal configs (data files by content), versions, device and dtype."""
    return _digest({"config": _with_file_contents(choices_made(config)), "environment": environment})


def choices_made(config: dict[str, Any]) -> dict[str, Any]:
    """The config without the later groups that it does not choose, which records from before them do not have."""
    return {name: node for name, node in config.items() if node is not None or name not in MEASURED_BY_IF_SET}


def key_number(config: dict[str, Any]) -> int:
    """31 bits from problem and method, to be folded into the key.

    Budget, versions and the folder of a data file do not enter: a longer ladder, a newer JAX or another folder repeats
    the same replicates.
    """
    kept = {name: node for name, node in choices_made(config).items() if name in MEASURED_BY + MEASURED_BY_IF_SET}
    return int(_digest(_with_file_contents(renamed.first_targets(kept)))[:8], 16) >> 1


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _with_file_contents(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _with_file_contents(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_file_contents(value) for value in node]
    if isinstance(node, str) and "." in node and Path(node).is_file():
        return hashlib.sha256(Path(node).read_bytes()).hexdigest()
    return node


def job_folder(root: str | Path, *labels: str, job: str) -> Path:
    """A folder with a readable name that a restarted sweep finds again."""
    words = [re.sub(r"[^A-Za-z0-9.=-]+", "_", label)[:MAX_LABEL].strip("_") for label in labels if label]
    return Path(root) / "__".join([*words, job])


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write strict JSON (non-finite numbers as null) so that no reader sees a partial file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_finite(record), indent=1, allow_nan=False) + "\n"
    # A random name, since two hosts that share the folder may have equal process ids.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        partial.write_text(text)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read(path: Path) -> dict[str, Any]:
    """A record or failure from disk, with today's names of renamed options.

    **Raises:** `ValueError` with the reason if the file is not one.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError("not a mapping")
    for name, kind in NEEDS[path.name].items():
        if not isinstance(found.get(name), kind):
            raise ValueError(f"{name!r} is {found[name]!r}" if name in found else f"it has no {name!r}")
    if "rows" in NEEDS[path.name] and not (found["rows"] and all(map(_is_row, found["rows"]))):
        raise ValueError("it has no rows of counts and variances")
    return renamed.current_record(found)


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and {"output", "num_samples", "replicates", "mean", "variance"} <= row.keys()


def is_record(path: Path) -> bool:
    """Whether the file is a complete record; a job with a partial one is measured again."""
    try:
        return path.is_file() and bool(read(path))
    except ValueError:
        return False


def load(folders: list[Path], name: str = "record.json") -> list[dict[str, Any]]:
    """All records below the folders, in the order of their paths. Other files are skipped and named on stderr."""
    found = []
    for path in sorted({path for folder in folders for path in Path(folder).rglob(name)}):
        try:
            found.append(read(path))
        except ValueError as reason:
            print(f"{path}: not a {path.stem} ({reason}).", file=sys.stderr)
    return found


def _finite(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node
