"""Names that tell records apart: what was set in them, and methods that differ wherever the records do."""

from collections import defaultdict
from typing import Any

Record = dict[str, Any]
# What a job's label says already, and what says only where its record lies.
LABELLED = ("problem", "functional", "proposal", "points", "mis", "weighting", "controls")
PLACES = {"name", "folder"}


def setting(record: Record, key: str) -> Any:
    """What the record was measured with: its override of `key`, else the group's choice, else the config's number."""
    for given in (record["overrides"], record.get("choices", {})):
        if key in given:
            return given[key]
    node: Any = record["config"]
    for name in key.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    return None if isinstance(node, dict | list) else node


def distinct_methods(records: list[Record]) -> list[str]:
    """The methods by which the table calls the records, one name for one record of a problem's case.

    Where several records share problem, case and method, the overrides in which they differ are appended (a seed, a
    budget), then device and dtype, and the beginning of the identity where nothing else tells them apart.
    """
    methods = [record["method"] for record in records]
    alike = defaultdict(list)
    for index, record in enumerate(records):
        alike[record["problem"], record["case"], record["method"]].append(index)
    for indices in alike.values():
        if len(indices) > 1:
            for index, words in zip(indices, _differences([records[index] for index in indices]), strict=True):
                methods[index] += f", {words}"
    return methods


def _differences(records: list[Record]) -> list[str]:
    keys = sorted({key for record in records for key in record["overrides"] if not _is_in_label(key)})
    columns = [(key.rpartition(".")[2], [setting(record, key) for record in records]) for key in keys]
    columns += [("", [record[name] for record in records]) for name in ("device", "dtype")]
    told = [(name, list(map(str, values))) for name, values in columns if len(set(map(str, values))) > 1]
    words = [", ".join(f"{name} {values[row]}".strip() for name, values in told) for row in range(len(records))]
    if len(set(words)) == len(records):
        return words
    return [f"{text}, job {record['identity'][:6]}".lstrip(", ") for text, record in zip(words, records, strict=True)]


def _is_in_label(key: str) -> bool:
    return key in PLACES or key.partition(".")[0].partition("@")[0] in LABELLED
