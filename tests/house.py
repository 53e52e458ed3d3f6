"""The import graph of mcengine: its rooms (folders), their layers, and circles. `python -m tests.house` prints it."""

import ast
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "mcengine"
FILES = sorted(PACKAGE.rglob("*.py"))

# A room imports only from rooms with a smaller number: two rooms of one layer do not know each other.
LAYERS = {
    "numerics": 1,
    "weights": 2, "distributions": 2,
    "points": 3, "problems": 3, "proposals": 3, "summaries": 3,
    "controls": 4, "execution": 4, "inference": 4,
    "functionals": 5,
    "engine": 6,
    "gradients": 7, "mlmc": 7, "fitting": 7,
    "integrals": 8, "finance": 8, "rendering": 8, "teaching": 8, "rl": 8,
}  # fmt: skip
# The layer of the fields; everything below is the core.
FIELDS = 8
# The rooms inside `rl`, by the same rule; `rl/inputs.py` lies below all of them.
RL_LAYERS = {"inputs": 0, "critics": 1, "policies": 1, "problems": 1, "objectives": 2, "ope": 2}


def module_of(path: Path) -> str:
    """The dotted name of a file, a package's for its `__init__.py`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def room_of(module: str) -> str:
    """The folder below `mcengine` that holds a module; "" for the package's own `__init__`."""
    return module.split(".")[1] if module.count(".") else ""


def imported_modules(path: Path) -> set[str]:
    """The modules of mcengine that a file imports; a name that a package offers counts as the package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "mcengine"}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mcengine":
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                found.add(inside if inside in MODULES or node.module == "mcengine" else node.module)
    return found - {module_of(path)}


def late_imports(path: Path) -> list[int]:
    """Lines of imports of mcengine inside functions that give no reason in a comment on their line."""
    text = path.read_text()
    lines = text.splitlines()
    return [
        node.lineno
        for function in ast.walk(ast.parse(text))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("mcengine")
        and "#" not in lines[node.lineno - 1]
    ]


def room_graph() -> dict[str, set[str]]:
    """Every room, and the rooms that its files import."""
    graph: dict[str, set[str]] = {room: set() for room in map(room_of, MODULES) if room}
    for module, path in MODULES.items():
        if room := room_of(module):
            graph[room] |= {room_of(other) for other in imported_modules(path)} - {room, ""}
    return graph


def file_graph() -> dict[str, set[str]]:
    """Every module, and the modules that it imports. A package's `__init__` only gathers names, so it has no arrows."""
    return {
        module: imported_modules(path) & set(MODULES) if path.name != "__init__.py" else set()
        for module, path in MODULES.items()
    }


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def depth(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """The layer of each node of a graph without circles: one above the highest that it imports."""
    known: dict[str, int] = {}

    def of(node: str) -> int:
        if node not in known:
            known[node] = 1 + max((of(other) for other in graph[node]), default=0)
        return known[node]

    return {node: of(node) for node in graph}


def _aliases_of_any(tree: ast.Module) -> set[str]:
    """Names by which a file calls `Any`: imported under another name, assigned, or jaxtyping's bare `PyTree`."""
    names = {"Any", "object", "PyTree"}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names if alias.name == "Any" and alias.asname}
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in names:
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _is_any(annotation: ast.expr | None, names: set[str]) -> bool:
    """Whether an annotation says nothing: `Any` itself, or `Any` beside None."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.BinOp):
        return _is_any(annotation.left, names) or _is_any(annotation.right, names)
    name = annotation.attr if isinstance(annotation, ast.Attribute) else getattr(annotation, "id", "")
    return name in names


def loosely_typed(room: str) -> tuple[int, list[str], list[str]]:
    """(number of parameters of a room's functions, those annotated with `Any`, those without an annotation)."""
    total, loose, bare = 0, [], []
    for path in sorted((PACKAGE / room).rglob("*.py")):
        tree = ast.parse(path.read_text())
        names = _aliases_of_any(tree)
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            arguments = function.args
            parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            parameters += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
            for parameter in parameters:
                if parameter.arg in ("self", "cls") or function.name == "__eq__":  # which takes any object
                    continue
                total += 1
                place = f"{path.relative_to(PACKAGE)}:{function.name}({parameter.arg})"
                if parameter.annotation is None:
                    bare.append(place)
                elif _is_any(parameter.annotation, names):
                    loose.append(place)
    return total, loose, bare


def long_private_signatures(room: str) -> list[str]:
    """Private functions of more than 8 parameters, and public ones of more than 4 positional parameters."""
    found = []
    for path in sorted((PACKAGE / room).rglob("*.py")):
        for function in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)):
            positional = [a for a in (*function.args.posonlyargs, *function.args.args) if a.arg not in ("self", "cls")]
            total = len(positional) + len(function.args.kwonlyargs)
            # A constructor is public: its keyword-only arguments may be many.
            private = function.name.startswith("_") and not function.name.startswith("__")
            if (private and total > 8) or (not private and len(positional) > 4):
                found.append(
                    f"{path.relative_to(PACKAGE)}:{function.name} ({len(positional)} positional, {total} in all)"
                )
    return found


def loose_files() -> list[str]:
    """Files at the root of the package, besides its `__init__`."""
    return [path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]


def main() -> None:
    """Print rooms by layer with what they import, loose files and circles."""
    graph = room_graph()
    layers = depth(graph)
    by_layer = defaultdict(list)
    for room, layer in layers.items():
        by_layer[layer].append(room)
    for layer in sorted(by_layer, reverse=True):
        for room in sorted(by_layer[layer]):
            files = list((PACKAGE / room).rglob("*.py"))
            lines = sum(len(path.read_text().splitlines()) for path in files)
            print(
                f"{layer}  {room:14} {len(files):3} files {lines:6,} lines   imports {', '.join(sorted(graph[room]))}"
            )
    for room in sorted(graph):
        total, loose, bare = loosely_typed(room)
        print(f"{room:14} {total:4} parameters, {len(loose) / total:4.0%} Any, {len(bare)} without annotation")
    print(f"{len(graph)} rooms, {max(by_layer)} layers, loose files: {', '.join(loose_files()) or 'none'}")
    print(f"circles among rooms: {circles(graph) or 'none'}; among files: {circles(file_graph()) or 'none'}")


if __name__ == "__main__":
    for detail in sys.argv[1:]:
        print(*loosely_typed(detail)[1:], *long_private_signatures(detail), sep="\n")
    main()
