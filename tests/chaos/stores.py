"""A PostgreSQL and a Redis of the chaos tests' own, to be frozen, killed and started again."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from pinelab import schema
from pinelab.embedded import CannotStart, place, postgres, redis, roles
from pinelab.embedded.place import Place
from pinelab.embedded.roles import Databases
from pinelab.program import Program

WITNESS = Path(__file__).with_name("witness.sql")
PATIENCE_S = 60.0
NOWHERE = Databases("", "", "", "")
# When a transaction's commit became visible is what the kill switch is judged by.
COMMIT_TIMES = "-ctrack_commit_timestamp=on"


@dataclass
class Server:
    """One server; its life is tied to the thread that starts it: the test's own."""

    program: Program
    process: "subprocess.Popen[bytes]"

    @classmethod
    def of(cls, program: Program) -> "Server":
        server = cls(program, program.launch())
        server.wait()
        return server

    def wait(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self.program.is_ready():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.program.name} does not start: see {self.program.log}")
            time.sleep(0.03)

    def family(self) -> list[int]:
        """The server's processes, the first one first."""
        children = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == self.process.pid:
                children.append(int(stat.parent.name))
        return [self.process.pid, *children]

    def signal_all(self, number: signal.Signals) -> None:
        for pid in self.family():
            send(pid, number)

    def kill(self) -> None:
        """As if the power of these processes had been cut."""
        self.signal_all(signal.SIGKILL)
        self.process.wait()

    def kill_first(self) -> None:
        """The first process only; the others notice, and nobody may start while one is left."""
        _, *children = self.family()
        self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + 5
        while any(is_alive(pid) for pid in children):
            if time.monotonic() > deadline:
                for pid in children:
                    send(pid, signal.SIGKILL)
            time.sleep(0.02)

    def start_again(self) -> None:
        for note in ("postmaster.pid", "redis.pid"):
            if self.program.directory:
                (self.program.directory / note).unlink(missing_ok=True)
        self.process = self.program.launch()
        self.wait()


@dataclass
class Stores:
    """Both servers, and by which addresses they are reached."""

    place: Place
    postgres: Server
    redis: Server
    admin_url: str
    redis_url: str
    databases: Databases = NOWHERE

    def environment(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.databases.app,
            "DATABASE_OWNER_URL": self.databases.owner,
            "DATABASE_OPS_URL": self.databases.ops,
            "DATABASE_HOOKS_URL": self.databases.hooks,
            "REDIS_URL": self.redis_url,
            "PINELAB_VAR": str(self.place.var),
            "SECRET_KEY": self.place.secrets["SECRET_KEY"],
            "TENANT_CONTEXT_KEY": self.place.secrets["TENANT_CONTEXT_KEY"],
        }

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask as the superuser, who sees all tenants."""
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            return connection.execute(query.encode(), values or None).fetchall()

    def execute(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(statement.encode(), values or None)


@contextmanager
def started(var: Path) -> Iterator[Stores]:
    """Both servers on an empty database of the present schema, until the block ends."""
    shutil.rmtree(var / "log", ignore_errors=True)
    held = place.take(var)
    servers: list[Server] = []
    try:
        program = postgres.server(held)
        servers.append(Server.of(replace(program, argv=[*program.argv, COMMIT_TIMES])))
        servers.append(Server.of(redis.server(held)))
        admin_url = postgres.superuser_url(held, "chaos")
        redis_url = redis.url(held, held.secrets)
        stores = Stores(held, servers[0], servers[1], admin_url, redis_url)
        furnish(stores)
        yield stores
    finally:
        for server in servers:
            server.signal_all(signal.SIGCONT)
            server.kill()
        held.release()


def furnish(stores: Stores) -> None:
    """Make the database anew: what an earlier run left must not be judged by this one."""
    admin = roles.with_database(stores.admin_url, "postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS chaos WITH (FORCE)")
    stores.databases = roles.prepare(stores.admin_url, stores.place.secrets)
    command, environment = schema.migration(stores.environment(), stores.databases.owner)
    done = subprocess.run(  # noqa: S603 (our own manage.py)
        command,
        env={**os.environ, **environment},
        cwd=schema.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CannotStart(f"The migrations failed:\n{done.stdout}{done.stderr}")
    stores.execute(WITNESS.read_text())


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def is_alive(pid: int) -> bool:
    """Whether the process still runs; one that waits for its parent to look does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
