"""Rules that hold the house together: imports point down, weights are made in one place, the core stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "mcengine"
FLOORS = {
    "numerics": 0, "pareto": 0, "weights": 0, "moments": 0, "merging": 0, "points": 0,
    "exact_sums": 0, "columns": 0, "dues": 0, "caching": 0, "laws": 0,
    "distributions": 1, "problem": 1, "proposals": 1, "weighting": 1, "budgets": 1, "diagnostics": 1, "recipe": 1,
    "result": 1, "mis": 1, "controls": 1, "sequences": 1, "betting": 1, "covariance": 1, "functionals": 1,
    "coupling": 1, "intervals": 1, "printing": 1, "crossing": 1,
    "execution": 2, "checks": 2, "planning": 2, "from_arrays": 2, "parts": 2, "arrays": 2, "risk": 2, "engine": 2,
    "gradients": 2, "shares": 2, "paired": 2, "conditioning": 2, "mlmc": 3,
    "integrals": 4, "finance": 4, "rendering": 4, "rl": 4, "teaching": 4,
}  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))
EXPERIMENTS = sorted((ROOT / "experiments").rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{a.name}" if node.module == "mcengine" else node.module for a in node.names]
        parts |= {name.split(".")[1] for name in names if name.startswith("mcengine.")}
    return parts


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    part = part_of(path)
    if part == "__init__":
        return
    for other in imported_parts(path) - {part}:
        if FLOORS[part] == 4:
            assert FLOORS.get(other, 2) < 4, f"{part} imports {other}: the fields never import each other"
        else:
            assert other in FLOORS, f"{part} imports the public name {other} from mcengine, which points up"
            assert FLOORS[other] <= FLOORS[part], f"{part} (floor {FLOORS[part]}) imports {other} ({FLOORS[other]})"


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


@pytest.mark.parametrize("path", [*FILES, *EXPERIMENTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_weights_are_made_in_one_place(path):
    if path == PACKAGE / "weights.py":
        return
    bad = [
        n.lineno for n in ast.walk(ast.parse(path.read_text())) if is_exponential_of_a_difference_of_log_densities(n)
    ]
    assert not bad, f"exp(log p - log q) outside mcengine/weights.py, lines {bad}"


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


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_public_thing_has_a_docstring(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module has none"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has none"


def test_reference_data_says_where_it_is_from():
    data = ROOT / "tests" / "data"
    listed = (data / "README.md").read_text()
    for path in data.iterdir():
        assert path.name == "README.md" or f"`{path.name}`" in listed, f"tests/data/README.md does not list {path.name}"
