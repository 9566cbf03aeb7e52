"""The whole service, as `make run` starts it: from nothing to a banner, and back by Ctrl-C."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pinelab import schema
from pinelab.embedded import place
from pinelab.processes import SETTINGS, STORES

READY_S = 120.0
STOPPED_S = 30.0
PORTS = ("PINELAB_PORT", "PINELAB_HOOKS_PORT", "PINELAB_LIVE_PORT")
BANNER = "PineLab is running."


@dataclass(frozen=True)
class Service:
    """One running installation.

    Attributes:
        var: where it keeps everything.
        ports: by the variable that chose them.
    """

    process: "subprocess.Popen[bytes]"
    var: Path
    ports: dict[str, int]

    @property
    def url(self) -> str:
        return f"http://localhost:{self.ports['PINELAB_PORT']}"

    @property
    def log(self) -> str:
        return (self.var.parent / "up.log").read_text(errors="replace")

    @cached_property
    def demo(self) -> dict[str, str]:
        """What the banner says: email, password, curl, url."""
        known: dict[str, str] = json.loads((self.var / "demo.json").read_text())
        return known

    def post(self, address: str | None = None, **fields: str) -> str:
        """Send an alert as TradingView does, to the demo's endpoint by default; its number."""
        body = json.dumps({"ticker": "DEMO:BTCUSD", **fields}).encode()
        request = urllib.request.Request(  # noqa: S310 (our own intake)
            address or self.demo["url"], body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            said: dict[str, Any] = json.loads(answer.read())
        assert said["success"], said
        return str(said["id"])

    def mail_to(self, address: str, *, patience_s: float = 10.0) -> str:
        """The newest mail that was written to an address, as it would have been sent."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            for file in sorted((self.var / "mail").glob("*.eml"), reverse=True):
                if f"To: {address}" in (text := file.read_text()):
                    return text
            time.sleep(0.1)
        raise TimeoutError(f"no mail to {address}")

    def kill(self, port: str) -> None:
        """SIGKILL to whoever listens at one of our ports."""
        os.kill(listener(self.ports[port]), signal.SIGKILL)


def listener(port: int) -> int:
    """The process that listens at a port of this machine, as the kernel's tables say."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {
        f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"
    }
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(descriptor) in sockets:
                return int(descriptor.parts[2])
    raise LookupError(f"nobody listens at {port}")


@contextmanager
def running() -> Iterator[Service]:
    """`manage.py up` in a directory and on ports of its own; it must stop as it should."""
    # Not pytest's own directory: the user of the database's server may not enter that one.
    home = Path(tempfile.mkdtemp(prefix="pinelab-"))
    home.chmod(0o755)
    free = iter([port for port in place.PORTS if place.is_free(port)][-40::13])
    ports = {variable: next(free) for variable in PORTS}
    try:
        service = Service(launch(home, ports), home / "var", ports)
        try:
            wait_until_ready(service)
            yield service
            stop(service)
        finally:
            service.process.kill()
            service.process.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def launch(home: Path, ports: dict[str, int]) -> "subprocess.Popen[bytes]":
    # The shell's stores and keys are not this service's.
    outside = {
        name: value for name, value in os.environ.items() if name not in {*STORES, *SETTINGS}
    }
    own = {name: str(port) for name, port in ports.items()}
    with (home / "up.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 (our own manage.py)
            [sys.executable, str(schema.ROOT / "manage.py"), "up"],
            cwd=schema.ROOT,
            env={**outside, **own, "PINELAB_VAR": str(home / "var")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until_ready(service: Service) -> None:
    deadline = time.monotonic() + READY_S
    while BANNER not in service.log:
        ended = service.process.poll()
        assert ended is None, f"the service ended with {ended}:\n{service.log}"
        assert time.monotonic() < deadline, f"the service is not ready:\n{service.log}"
        time.sleep(0.1)


def stop(service: Service) -> None:
    """Ctrl-C: it ends by itself, in time, with status 0, and nobody is left behind."""
    service.process.send_signal(signal.SIGINT)
    try:
        status = service.process.wait(STOPPED_S)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the service does not stop:\n{service.log[-3000:]}") from None
    assert status == 0, service.log[-3000:]
    assert "Traceback" not in service.log, service.log
    left = [port for port in service.ports.values() if not place.is_free(port)]
    assert not left, f"somebody still listens at {left}"
