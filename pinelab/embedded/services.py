"""Start both servers for as long as we live, and say where they are."""

import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pinelab.embedded import keys, postgres, redis, roles
from pinelab.embedded.place import Place, take
from pinelab.embedded.refusal import CannotStart, refusal
from pinelab.embedded.roles import Databases
from pinelab.program import Program

# A recovery after a crash reads at most max_wal_size of log.
PATIENCE_S = 60.0
PORTS = {"PINELAB_PORT": 8000, "PINELAB_HOOKS_PORT": 8001, "PINELAB_LIVE_PORT": 8002}


@dataclass
class Services:
    """Where the stores are, by role, and what else settings want to know.

    Attributes:
        admin_url: a superuser's address in the embedded server; None where it is not ours.
        place: our hold on var/; None where another process has it.
    """

    var: Path
    databases: Databases
    redis_url: str
    secrets: Mapping[str, str]
    admin_url: str | None = None
    place: Place | None = None
    running: "list[tuple[Program, subprocess.Popen[bytes]]]" = field(default_factory=list)

    @property
    def database_url(self) -> str:
        return self.databases.app

    def environment(self) -> dict[str, str]:
        """Everything that pinelab/settings.py reads and that has no default of its own."""
        secrets = {name: os.environ.get(name) or self.secrets[name] for name in keys.FOR_SETTINGS}
        ports = {name: str(port(name)) for name in PORTS}
        return {
            "DATABASE_URL": self.databases.app,
            "DATABASE_OWNER_URL": self.databases.owner,
            "DATABASE_OPS_URL": self.databases.ops,
            "DATABASE_HOOKS_URL": self.databases.hooks,
            "REDIS_URL": self.redis_url,
            "PINELAB_VAR": str(self.var),
            **secrets,
            **ports,
        }

    def stop(self) -> None:
        """Stop the servers that were started here and let go of var/; twice is as good as once."""
        for program, process in self.running:
            process.send_signal(program.stop_signal)
        for program, process in self.running:
            try:
                process.wait(program.grace_s * 2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running = []
        if self.place:
            self.place.release()
            self.place = None


def port(name: str) -> int:
    """Where a process of ours listens.

    Raises:
        CannotStart: the variable says something that is no port.
    """
    asked = os.environ.get(name) or str(PORTS[name])
    if not asked.isdigit() or not 0 < int(asked) < 65_536:
        raise CannotStart(f"{name} is {asked!r}, which is no port: give a number up to 65535.")
    return int(asked)


def start(var: Path) -> Services:
    """Start what the environment does not already name, and wait until it answers.

    The servers die with the calling thread, however it ends: call from the main one.

    Raises:
        CannotStart: in one sentence, what is in the way.
    """
    place = take(var)
    running: list[tuple[Program, subprocess.Popen[bytes]]] = []
    try:
        for program in programs(place, os.environ):
            running.append((program, program.launch()))  # noqa: PERF401 (a failure leaves the first one here)
        wait(running)
        services = connect(place, os.environ)
    except OSError as error:
        abandon(running, place)
        raise refusal(error, place.var) from error
    except BaseException:
        abandon(running, place)
        raise
    services.running = running
    return services


def programs(place: Place, environment: Mapping[str, str]) -> list[Program]:
    """The servers to run: those that the environment does not name."""
    wanted = []
    if not environment.get("DATABASE_URL"):
        wanted.append(postgres.server(place))
    if not environment.get("REDIS_URL"):
        wanted.append(redis.server(place))
    return wanted


def connect(place: Place, environment: Mapping[str, str]) -> Services:
    """Say where the stores are, after putting the database's roles in order."""
    redis_url = environment.get("REDIS_URL") or redis.url(place, place.secrets)
    if given := roles.given(environment, place.secrets):
        return Services(place.var, given, redis_url, place.secrets, place=place)
    admin_url = postgres.superuser_url(place, roles.NAME)
    databases = roles.prepare(admin_url, place.secrets)
    return Services(place.var, databases, redis_url, place.secrets, admin_url, place)


def wait(running: "Iterable[tuple[Program, subprocess.Popen[bytes]]]") -> None:
    """Return when all are ready.

    Raises:
        CannotStart: one of them ended or did not become ready in time.
    """
    deadline = time.monotonic() + PATIENCE_S
    for program, process in running:
        while not program.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise died(program)
            time.sleep(0.03)


def died(program: Program) -> CannotStart:
    """Say why a server did not start, in its own last words."""
    lines = program.log.read_text(errors="replace").splitlines() if program.log else []
    faults = [line for line in lines[-20:] if "FATAL" in line or "PANIC" in line] or lines[-1:]
    words = faults[-1].rpartition("FATAL:")[2].strip() if faults else "it said nothing"
    return CannotStart(f"{program.name} did not start ({words}): see {program.log}.")


def abandon(running: "Iterable[tuple[Program, subprocess.Popen[bytes]]]", place: Place) -> None:
    for _, process in running:
        process.kill()
        process.wait()
    place.release()
