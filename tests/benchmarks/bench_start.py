"""How long from `make run` to the first page, on a fresh copy, and how long the next time?

The copy has no environment, no build and no data; the package caches of the machine are warm.
The reference is the same copy's second start.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

FIRST_S, LATER_S = 90.0, 10.0
PATIENCE_S = 400.0


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="pinelab-start-") as name:
        copy = Path(name) / "pinelab"
        os.chmod(name, 0o755)  # noqa: S103 (PostgreSQL runs as another user when we are root)
        copy_tree(copy)
        first = start(copy)
        later = start(copy)
    result = {
        "bench": "start",
        "value": round(first, 1),
        "unit": "s",
        "reference": round(later, 1),
        "ratio": round(first / later, 1),
        "threshold": FIRST_S,
        "ok": first <= FIRST_S and later <= LATER_S,
        "later_s": round(later, 1),
        "later_threshold": LATER_S,
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if result["ok"] else 1


def copy_tree(target: Path) -> None:
    """What a clone would hold, as it stands in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for file in filter(None, listed.split("\0")):
        if Path(file).exists():
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target / file)


def start(copy: Path) -> float:
    """Seconds from the command to the first page that answers."""
    ports = dict(
        zip(("PINELAB_PORT", "PINELAB_HOOKS_PORT", "PINELAB_LIVE_PORT"), free(3), strict=True)
    )
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_URL")} | {
        key: str(value) for key, value in ports.items()
    }
    begun = time.perf_counter()
    with running(copy, environment):
        address = f"http://127.0.0.1:{ports['PINELAB_PORT']}/account/login/"
        while not answers(address):
            if time.perf_counter() - begun > PATIENCE_S:
                raise SystemExit(f"no page after {PATIENCE_S:.0f} s; see {copy}/start.log")
            time.sleep(0.05)
        return time.perf_counter() - begun


@contextlib.contextmanager
def running(copy: Path, environment: dict[str, str]) -> Iterator[None]:
    with (copy / "start.log").open("ab") as log:
        process = subprocess.Popen(
            ["make", "run"],  # noqa: S607
            cwd=copy,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as page:  # noqa: S310 (our own address)
            return bool(page.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def free(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


if __name__ == "__main__":
    sys.exit(main())
