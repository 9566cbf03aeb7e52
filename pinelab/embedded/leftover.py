"""Servers that outlived an earlier start, and the notes that dead ones left behind."""

import os
import signal
import time
from pathlib import Path

PATIENCE_S = 10.0


def clear(note: Path, directory: Path) -> None:
    """Make ``directory`` free for a new server.

    The caller holds var/, so a server that still runs there lost its owner: it is stopped. A note
    whose process is gone, or is by now another program that was given the same number, is removed:
    servers believe such a note and would not start.

    Args:
        note: the server's own file with its process id in the first line.
        directory: the working directory by which its process is recognised.
    """
    if not note.exists():
        return
    first = note.read_text().split("\n", 1)[0].strip()
    if first.isdigit():
        stop(int(first), directory)
    note.unlink(missing_ok=True)


def stop(pid: int, directory: Path) -> None:
    """Ask for a fast shutdown, then insist; whatever does not work in ``directory`` is left."""
    for number in (signal.SIGINT, signal.SIGKILL):
        deadline = time.monotonic() + PATIENCE_S
        if works_in(pid, directory):
            os.kill(pid, number)
        while works_in(pid, directory) and time.monotonic() < deadline:
            time.sleep(0.05)


def works_in(pid: int, directory: Path) -> bool:
    if not Path("/proc/self").exists():
        return is_alive(pid)
    try:
        return Path(f"/proc/{pid}/cwd").resolve(strict=True) == directory.resolve()
    except OSError:
        return False


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
