"""Rules that hold the house together: imports point down, weights are made in one place, the core stays light."""

import ast
import re
import subprocess
import sys

import pytest

from tests.house import (
    FIELDS,
    FILES,
    LAYERS,
    PACKAGE,
    RL_LAYERS,
    ROOT,
    circles,
    depth,
    file_graph,
    imported_modules,
    late_imports,
    long_private_signatures,
    loose_files,
    loosely_typed,
    module_of,
    room_graph,
    room_of,
)

EXPERIMENTS = sorted((ROOT / "experiments").rglob("*.py"))


def test_imports_point_to_lower_layers():
    for path in FILES:
        module = module_of(path)
        room = room_of(module)
        for other in imported_modules(path) if room else ():
            assert room_of(other) in LAYERS, f"{module} imports the public name {other}, which lies above it"
            if room_of(other) != room:
                assert LAYERS[room_of(other)] < LAYERS[room], f"{module} (layer {LAYERS[room]}) imports {other}"
            elif room == "rl" and module.count(".") > 1:
                here, there = (name.split(".")[2] for name in (module, other))
                assert here == there or RL_LAYERS[there] < RL_LAYERS[here], f"{module} imports {other}"
        assert not late_imports(path), f"{module} imports inside functions without a reason: {late_imports(path)}"


def test_every_room_has_a_layer_and_no_imports_form_a_circle():
    graph = room_graph()
    assert set(graph) == set(LAYERS)
    assert circles(graph) == []
    assert circles(file_graph()) == []
    assert len(graph) <= 25
    assert max(depth(graph).values()) <= 9
    assert len(loose_files()) <= 3


def test_a_circle_is_found_where_there_is_one():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_tests_mirror_the_package():
    tests = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    assert set(LAYERS) <= tests, f"no tests folder for {set(LAYERS) - tests}"


EXPONENTIALS = ("exp", "expm1", "exp2", "power", "pow")
LOG_DENSITY = re.compile(r"\blog_?(p|q|pi|mu|prob|target|behaviour|density|densities|policy|new|old|reference)\w*")
LOG_RATIO = re.compile(r"\blog_?(r|ratios?|rhos?)\b")


def is_exponential_of_a_difference_of_log_densities(node: ast.AST) -> bool:
    """Whether it is a call of exp or its kin on log p - log q, or on what goes by the name of a log-ratio."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name not in EXPONENTIALS:
        return False
    for inner in (inner for argument in node.args for inner in ast.walk(argument)):
        if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Sub):
            sides = [ast.unparse(side) for side in (inner.left, inner.right)]
            if all(map(LOG_DENSITY.search, sides)):
                return True
        if isinstance(inner, ast.Name | ast.Attribute) and LOG_RATIO.search(ast.unparse(inner)):
            return True
    return False


def test_weights_are_made_in_one_place():
    for path in [*FILES, *EXPERIMENTS]:
        if path.parent == PACKAGE / "weights":
            continue
        nodes = ast.walk(ast.parse(path.read_text()))
        bad = [node.lineno for node in nodes if is_exponential_of_a_difference_of_log_densities(node)]
        assert not bad, f"exp(log p - log q) outside mcengine/weights: {path.relative_to(ROOT)}, lines {bad}"


@pytest.mark.parametrize(
    ("line", "is_a_weight"),
    [
        ("jnp.exp(target.log_prob(x) - proposal.log_prob(x))", True),
        ("jnp.exp(log_pi - log_mu)", True),
        ("jnp.exp(logp_new - logp_old)", True),
        ("np.exp(log.log_target - log.log_behaviour)", True),
        ("jnp.expm1(log_p - log_q)", True),
        ("exp(log_p - log_q)", True),
        ("exp(log_ratio)", True),
        ("jnp.exp(jnp.sum(log_ratios, axis=-1))", True),
        ("jnp.exp(-rate * years)", False),
        ("jnp.exp(log_target)", False),
        ("jnp.exp(log_tail - log_top)", False),
    ],
)
def test_the_walker_sees_a_second_place(line, is_a_weight):
    assert any(map(is_exponential_of_a_difference_of_log_densities, ast.walk(ast.parse(line)))) == is_a_weight


def test_the_core_imports_nothing_heavy():
    code = "import sys, mcengine; print(*sorted(m for m in sys.modules if m in %r))"
    heavy = (
        "pandas",
        "matplotlib",
        "hydra",
        "omegaconf",
        "numpyro",
        "distrax",
        "flowjax",
        "scipy.stats",
        "arch",
        "rich",
    )
    out = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == ""


def test_every_public_thing_has_a_docstring():
    for path in FILES:
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), f"{path.relative_to(PACKAGE)} has none"
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                is_overload = any("overload" in ast.unparse(one) for one in node.decorator_list)
                assert is_overload or ast.get_docstring(node), f"{path.relative_to(PACKAGE)}: {node.name} has none"


def test_parameters_have_types_that_say_something():
    core = [loosely_typed(room) for room, layer in LAYERS.items() if layer < FIELDS]
    bare = [place for room in LAYERS for place in loosely_typed(room)[2]]
    assert not bare, f"parameters without an annotation: {bare}"
    loose = [place for _, places, _ in core for place in places]
    share = len(loose) / sum(total for total, _, _ in core)
    assert share < 0.06, f"{share:.1%} of the core's parameters are Any, object or a bare PyTree: {loose}"


def test_signatures_are_short():
    long = [place for room in LAYERS for place in long_private_signatures(room)]
    assert not long, f"over 8 parameters, or over 4 that are positional: {long}"
    unchecked = [path for path in FILES if "no_type_check" in path.read_text()]
    assert not unchecked, f"signatures that say nothing: {unchecked}"


def test_reference_data_says_where_it_is_from():
    data = ROOT / "tests" / "data"
    listed = (data / "README.md").read_text()
    for path in data.iterdir():
        assert path.name == "README.md" or f"`{path.name}`" in listed, f"tests/data/README.md does not list {path.name}"
