"""Every code block of the README runs, and the first one prints the output that the README shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
OUTPUT = re.search(r"It prints.*?```text\n(.*?)```", README, re.DOTALL)
EXAMPLES = sorted((ROOT / "experiments" / "examples").glob("*.py"))


def run(code: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def words_and_numbers(text: str) -> tuple[str, list[float]]:
    """The text and the numbers, without the seconds; other processors round sums in another order."""
    text = re.sub(r"[\d.]+ s ", "", text).replace(",", "").strip()
    number = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
    return re.sub(number, "#", text), [float(x) for x in re.findall(number, text)]


def test_the_example_prints_what_the_readme_shows():
    assert OUTPUT is not None
    words, numbers = words_and_numbers(run(BLOCKS[0]))
    shown_words, shown_numbers = words_and_numbers(OUTPUT.group(1))
    assert words == shown_words
    assert numbers == pytest.approx(shown_numbers, rel=1e-4)


def test_all_blocks_run_one_after_another_as_a_reader_would_type_them():
    assert run("\n".join(BLOCKS))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_the_examples_run_without_hydra(path):
    code = f"import runpy, sys; runpy.run_path({str(path)!r}, run_name='__main__'); assert 'hydra' not in sys.modules"
    assert len(run(code)) > 100
