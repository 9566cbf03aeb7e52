"""The processes of the service on servers of the tests' own, to be killed and started again."""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from pinelab import processes, schema
from pinelab.embedded import place
from pinelab.processes import CROSS_TENANT, PROCESSES, Process
from pinelab.program import Program
from tests.chaos import stores
from tests.chaos.cast import Player
from tests.chaos.stores import Stores

READY_S = 60.0
# Of one process in one test: a database that goes away may take somebody along.
MOST_ENDINGS = 8
MARKET = Process("market", "-m tests.chaos.market 0.4", needs=CROSS_TENANT)
# Celery's worker decides nothing here, and the replays of the feed are not what is tested.
TABLE = {process.name: process for process in (*PROCESSES, MARKET)}
PLAYED = ("hooks", "pipeline", "desk", "market", "web", "live")
PORTS = {"web": "PINELAB_PORT", "hooks": "PINELAB_HOOKS_PORT", "live": "PINELAB_LIVE_PORT"}
# One tenant stands for many here.
RATES = {"PINELAB_HOOKS_RATE": "100000", "PINELAB_HOOKS_BURST": "100000"}


class KeepsEnding(RuntimeError):
    """A process does not stay alive although nobody kills it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP server said; status 0 where it said nothing."""

    status: int
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Child:
    """One process of the service, and how often it was started."""

    program: Program
    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """SIGKILL to the process and everything it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def start_again(self) -> None:
        self.process = self.program.launch()


@dataclass
class Service:
    """PineLab under test: its stores, its processes by name, its players."""

    stores: Stores
    settings: dict[str, str]
    children: dict[str, Child] = field(default_factory=dict)
    players: list[Player] = field(default_factory=list)
    # Where a second process of a kind listens.
    ports: dict[str, str] = field(default_factory=dict)
    # Who ended without being killed, and how often.
    ended: Counter[str] = field(default_factory=Counter)
    _next_player: Iterator[int] = field(default_factory=count)

    def start(self, *names: str) -> None:
        for name in names:
            program = self.program(name)
            self.children[name] = Child(program, program.launch())

    def program(self, name: str) -> Program:
        """The real command; `pipeline-2` is a second one of `pipeline`."""
        process = TABLE[name.partition("-")[0]]
        settings = dict(self.settings)
        if process.port and name != process.name:
            settings[process.port] = self.ports.setdefault(name, str(free_port()))
        program = processes.program(process, settings)
        return replace(program, log=self.stores.place.log(name), name=name)

    def ready(self, *names: str) -> None:
        """Wait until those that listen answer, and start whatever has ended by itself."""
        deadline = time.monotonic() + READY_S
        for name in names or self.children:
            while not self.children[name].program.is_ready():
                self.raise_the_dead()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{name} is not ready")
                time.sleep(0.05)

    def raise_the_dead(self) -> list[str]:
        """What the supervisor does: start again what has ended; their names.

        Raises:
            KeepsEnding: one of them ends again and again, with its last words.
        """
        ended = [name for name, child in self.children.items() if child.process.poll() is not None]
        for name in ended:
            self.ended[name] += 1
            if self.ended[name] > MOST_ENDINGS:
                log = self.stores.place.log(name).read_text(errors="replace")
                raise KeepsEnding(f"{name} keeps ending:\n{log[-2000:]}")
            self.children[name].start_again()
        return ended

    def kill(self, *names: str) -> None:
        for name in names:
            self.children[name].kill()

    def stop(self, *names: str) -> None:
        for name in names or list(self.children):
            self.children.pop(name).kill()

    def take(self, wanted: int) -> list[Player]:
        """Players that no other test has used."""
        return [self.players[next(self._next_player)] for _ in range(wanted)]

    @contextmanager
    def beside(self, *names: str) -> Iterator[None]:
        """The block happens while these processes run too."""
        self.start(*names)
        try:
            self.ready(*names)
            until(self.all_pipelines_listen, patience_s=READY_S, what="all pipelines listen")
            yield
        finally:
            self.stop(*names)

    def all_pipelines_listen(self) -> bool:
        """Those that have no port are ready when the database knows them."""
        self.raise_the_dead()
        listening = self.stores.rows(
            "SELECT FROM pg_stat_activity WHERE query LIKE 'LISTEN%pinelab_alerts%'"
        )
        return len(listening) >= sum(name.startswith("pipeline") for name in self.children)

    @contextmanager
    def without(self, *names: str) -> Iterator[None]:
        """The block happens while these processes do not run."""
        self.kill(*names)
        try:
            yield
        finally:
            for name in names:
                self.children[name].start_again()

    # --- talking to it -------------------------------------------------------------------------

    def port(self, name: str) -> int:
        return int(self.ports.get(name) or self.settings[PORTS[name]])

    def ask(
        self,
        name: str,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 15,
    ) -> Answer:
        line = http.client.HTTPConnection("127.0.0.1", self.port(name), timeout=timeout_s)
        try:
            line.request(method, path, body, dict(headers or {}))
            response = line.getresponse()
            return Answer(response.status, response.read())
        except (OSError, http.client.HTTPException):
            return Answer(0)
        finally:
            line.close()

    def api(
        self, player: Player, method: str, path: str, body: object = None, **headers: str
    ) -> Answer:
        named = {"Authorization": f"Bearer {player.key}", "Content-Type": "application/json"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = None if body is None else json.dumps(body).encode()
        return self.ask("web", method, f"/api/v1/{path}", content, named)

    def manage(self, *words: str, needs: tuple[str, ...] = CROSS_TENANT) -> str:
        """Run `manage.py` with these words, as an operator would; returns what it said."""
        done = subprocess.run(  # noqa: S603 (our own manage.py)
            [sys.executable, str(schema.ROOT / "manage.py"), *words],
            env=processes.environment(needs, self.settings),
            cwd=schema.ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def until(condition: Callable[[], object], *, patience_s: float, what: str = "") -> float:
    """Wait until something is so; returns how long it took, seconds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > patience_s:
            raise TimeoutError(f"not within {patience_s:g} s: {what or condition}")
        time.sleep(0.1)
    return time.monotonic() - began


@contextmanager
def running(var: Path, *, players: int) -> Iterator[Service]:
    """The whole service with its players, until the block ends."""
    with stores.started(var) as found:
        settings = {**found.environment(), **RATES, **free_ports()}
        service = Service(found, settings)
        service.players = cast_of(service, players)
        service.start(*PLAYED)
        try:
            service.ready()
            yield service
        finally:
            service.stop()


def cast_of(service: Service, wanted: int) -> list[Player]:
    done = subprocess.run(  # noqa: S603 (our own module)
        [sys.executable, "-m", "tests.chaos.cast", str(wanted)],
        env=processes.environment(CROSS_TENANT, service.settings),
        cwd=schema.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Player(**known) for known in json.loads(done.stdout)]


def free_ports() -> dict[str, str]:
    return {variable: str(free_port()) for variable in PORTS.values()}


def free_port() -> int:
    """One that nobody listens on, outside the range that systems hand out by themselves."""
    return next(port for port in random.sample(range(20_000, 30_000), 200) if place.is_free(port))
