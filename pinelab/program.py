"""A program to run beside us: how to start it, ask it to stop, and see that it is ready."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinelab.account import Account

LEASH = Path(__file__).with_name("leash.py")


def always() -> bool:
    return True


def ourselves() -> Account:
    return Account(os.geteuid(), os.getegid())


@dataclass(frozen=True)
class Program:
    """One long-running child process.

    Attributes:
        is_ready: asked now and then after the start, from any thread; must answer within seconds.
        stage: programs of a lower stage start before and stop after those of a higher one.
        grace_s: how long it may take to stop before it is killed, seconds.
        log: where its output goes; without one, it is printed.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    is_ready: Callable[[], bool] = always
    stage: int = 1
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 4.0
    account: Account = field(default_factory=ourselves)
    directory: Path | None = None
    log: Path | None = None

    def leashed(self) -> list[str]:
        """The command that starts it so that it dies with this process."""
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid())]
        user = [str(int(self.stop_signal)), str(self.account.uid), str(self.account.gid)]
        return [*leash, *user, *self.argv]

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start it. Its life is tied to the calling *thread*: call from the main one."""
        output = self.open_log()
        try:
            return subprocess.Popen(self.leashed(), **self.surroundings(output))  # noqa: S603 (ours)
        finally:
            os.close(output)

    def surroundings(self, output: int) -> dict[str, Any]:
        """What any way of starting a process needs to know.

        It leads a process group and session of its own: a Ctrl-C at the terminal is ours alone.
        """
        return {
            "env": dict(self.env),
            "cwd": self.directory,
            "stdin": subprocess.DEVNULL,
            "stdout": output,
            "stderr": subprocess.STDOUT,
            "start_new_session": True,
        }

    def open_log(self) -> int:
        return os.open(self.log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
