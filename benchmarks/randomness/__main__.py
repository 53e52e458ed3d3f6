"""The random generator under TestU01: `python -m benchmarks.randomness small|crush STREAM [reversed]`.

Compiles testu01.c against Debian's libtestu01-0-dev, feeds it the words of `mcengine.numerics.random_words` in one of
the orders of `streams.py`, and writes what the battery prints to results/randomness/.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.randomness.streams import STREAMS

HERE = Path(__file__).parent
RESULTS = HERE.parent.parent / "results" / "randomness"
LIBRARIES = ["-ltestu01", "-ltestu01probdist", "-ltestu01mylib", "-lm"]


def main(battery: str, stream: str, reverse: bool = False) -> str:
    """Run a battery; returns its summary and writes its complete report to results/randomness/."""
    name = f"{battery}_{stream}{'_reversed' if reverse else ''}"
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/testu01"
        subprocess.run(["cc", "-O2", str(HERE / "testu01.c"), "-o", program, *LIBRARIES], check=True)
        RESULTS.mkdir(parents=True, exist_ok=True)
        log = RESULTS / f"{name}.log"
        with log.open("w") as report:
            tester = subprocess.Popen([program, battery, name], stdin=subprocess.PIPE, stdout=report)
            assert tester.stdin is not None
            try:
                for words in STREAMS[stream](reverse):
                    tester.stdin.write(words.tobytes())
            except BrokenPipeError:  # the battery has ended
                pass
        if tester.wait():
            raise RuntimeError(f"testu01 ended with status {tester.returncode}; see {log.name}.")
    text = log.read_text()
    return text[text.index("========= Summary") :]


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("small", "crush") or sys.argv[2] not in STREAMS:
        sys.exit(f"usage: python -m benchmarks.randomness small|crush {'|'.join(STREAMS)} [reversed]")
    print(main(sys.argv[1], sys.argv[2], sys.argv[3:] == ["reversed"]))
