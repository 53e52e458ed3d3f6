"""Names that distinguish records: their settings, and methods that differ wherever the records do."""

from collections import defaultdict
from typing import Any

Record = dict[str, Any]
# Groups that a job's label contains, and settings of the record's place.
LABELLED = ("problem", "functional", "proposal", "points", "mis", "weighting", "controls")
PLACES = {"name", "folder"}


def setting(record: Record, key: str) -> Any:
    """The record's setting of `key`: its override, else the option of the group, else the number in the config."""
    for given in (record["overrides"], record.get("choices", {})):
        if key in given:
            return given[key]
    node: Any = record["config"]
    for name in key.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    return None if isinstance(node, dict | list) else node


def distinct_methods(records: list[Record]) -> list[str]:
    """The name of each record's method in the table, different for all records of a problem's case.

    Where several records share problem, case and method, the overrides in which they differ are appended (a seed, a
    budget), then device and dtype, and the beginning of the identity if nothing else differs.
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
    differing = [(name, list(map(str, values))) for name, values in columns if len(set(map(str, values))) > 1]
    words = [", ".join(f"{name} {values[row]}".strip() for name, values in differing) for row in range(len(records))]
    if len(set(words)) == len(records):
        return words
    return [f"{text}, job {record['identity'][:6]}".lstrip(", ") for text, record in zip(words, records, strict=True)]


def _is_in_label(key: str) -> bool:
    return key in PLACES or key.partition(".")[0].partition("@")[0] in LABELLED
