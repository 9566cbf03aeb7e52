"""Run the benchmarks: every ``bench_*.py`` here that has a ``main()``.

    python -m tests.benchmarks [--only NAME]

Each prints what it does and ends with one line of JSON; the exit status says whether all held.
"""

import argparse
import importlib
import sys
from pathlib import Path


def names() -> list[str]:
    found = Path(__file__).parent.glob("bench_*.py")
    return sorted(file.stem.removeprefix("bench_") for file in found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--only", choices=names(), help="run this one alone")
    asked = parser.parse_args().only
    failed = 0
    for name in [asked] if asked else names():
        module = importlib.import_module(f"tests.benchmarks.bench_{name}")
        sys.stdout.write(f"== {name}\n")
        sys.stdout.flush()
        # A benchmark answers 0 or nothing when its promise held.
        failed += bool(module.main())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
