"""The live process as it runs in service, and browsers that connect to it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.apps.portal.wire import Wire
from tests.stage import STAGE

if TYPE_CHECKING:
    from django.test import Client


@pytest.fixture(scope="session", autouse=True)
def static_root() -> None:
    """WhiteNoise warns of a missing one, and warnings are errors here."""
    from django.conf import settings

    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)


class LiveProcess:
    """``uvicorn pinelab.asgi`` on a port of its own; it can be killed and started again."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port: int = taken.getsockname()[1]
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--log-level", "warning", "--no-access-log", "--timeout-graceful-shutdown", "2"),
            "pinelab.asgi:application",
        ]
        environment = {**os.environ, **STAGE.environment()}
        environment.pop("DATABASE_OPS_URL", None)
        self.child = subprocess.Popen(command, env=environment)  # noqa: S603
        self.wait_until_up()

    def wait_until_up(self) -> None:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError("the live process does not listen")

    def kill(self) -> None:
        assert self.child
        self.child.kill()
        self.child.wait(10)

    def terminate(self) -> None:
        assert self.child
        self.child.terminate()
        self.child.wait(10)


@pytest.fixture(scope="session")
def live_process() -> Iterator[LiveProcess]:
    process = LiveProcess()
    process.start()
    yield process
    process.terminate()


@pytest.fixture
def live(live_process: LiveProcess, database: None) -> LiveProcess:
    assert live_process.child
    if live_process.child.poll() is not None:
        live_process.start()
    return live_process


Connect = Callable[..., Any]


@pytest.fixture
def connect(live: LiveProcess) -> Iterator[Connect]:
    """Open a socket as somebody's browser does: a ticket by POST, then the connection."""
    wires: list[Wire] = []

    def open_as(client: "Client") -> Wire:
        wires.append(Wire(live.port, client))
        return wires[-1]

    yield open_as
    for wire in wires:
        wire.close()


@contextmanager
def away(process: LiveProcess) -> Iterator[None]:
    process.kill()
    yield
    process.start()
