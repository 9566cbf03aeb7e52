"""Start the intake, send to it, and read what it answers."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str]
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def alert_id(self) -> str:
        return str(self.json["id"])


@dataclass
class Intake:
    process: "subprocess.Popen[str]"
    port: int

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        began = time.monotonic()
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            content = response.read()
            seconds = time.monotonic() - began
            return Reply(response.status, content, dict(response.getheaders()), seconds)
        finally:
            connection.close()

    def post(self, token: str, body: bytes, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", f"/hooks/{token}", body, named)

    def post_together(self, sends: list[tuple[str, bytes]]) -> list[Reply]:
        """Each on a connection of its own, at the same time."""
        with ThreadPoolExecutor(len(sends)) as pool:
            return list(pool.map(lambda send: self.post(*send), sends))

    def stop(self) -> str:
        """End it gracefully; returns what it wrote."""
        self.process.send_signal(signal.SIGTERM)
        said, _ = self.process.communicate(timeout=15)
        return said


@contextmanager
def running(url: str, **environment: str) -> Iterator[Intake]:
    port = free_port()
    intake = Intake(launch(url, port, **environment), port)
    try:
        wait(intake)
        yield intake
    finally:
        if intake.process.poll() is None:
            intake.process.kill()
        intake.process.communicate()


def launch(url: str, port: int, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "apps.webhooks.intake"],
        # Only what the intake is given in production: no other role's address, no key.
        env={
            "PATH": os.environ["PATH"],
            "DATABASE_HOOKS_URL": url,
            "PINELAB_HOOKS_PORT": str(port),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait(intake: Intake) -> None:
    for _ in range(300):
        if intake.process.poll() is not None:
            said, _ = intake.process.communicate()
            raise RuntimeError(f"the intake ended: {said}")
        try:
            if intake.request("GET", "/health/live").status == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("the intake does not answer")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port
