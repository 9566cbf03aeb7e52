"""A PostgreSQL of the test's own, to be frozen, killed and started again."""

import hashlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from pinelab.embedded import Services, place, postgres, roles
from pinelab.embedded.place import Place
from pinelab.embedded.roles import Databases
from pinelab.program import Program
from tests import servers


@dataclass
class OwnPostgres:
    program: Program
    process: "subprocess.Popen[bytes]"
    admin_url: str
    databases: Databases

    @classmethod
    @contextmanager
    def started(cls, stage: Services) -> "Iterator[OwnPostgres]":
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        held = place.take(stage.var / f"own-{worker}")
        program = postgres.server(held)
        server = cls(program, program.launch(), postgres.superuser_url(held, "intake"), NOWHERE)
        try:
            server.wait()
            server.prepare(held)
            yield server
        finally:
            server.signal_all(signal.SIGCONT)
            server.kill()
            held.release()

    def prepare(self, held: Place) -> None:
        # The server is kept for the next session; its tables may be those of another schema.
        whole = roles.with_database(self.admin_url, "postgres")
        with psycopg.connect(whole, autocommit=True) as connection:
            servers.drop(connection, roles.database_name(self.admin_url))
        self.databases = roles.prepare(self.admin_url, held.secrets)
        servers.migrate(
            Services(
                held.var, self.databases, "redis://127.0.0.1:1/0", held.secrets, self.admin_url
            )
        )

    def wait(self) -> None:
        for _ in range(400):
            if self.program.is_ready():
                return
            time.sleep(0.05)
        raise TimeoutError("the test's own PostgreSQL does not start")

    def family(self) -> list[int]:
        """The server's processes, the first one first."""
        parents: dict[int, int] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(stat.parent.name)] = int(fields[1])
        first = self.process.pid
        return [first, *(pid for pid, parent in parents.items() if parent == first)]

    def signal_all(self, number: signal.Signals) -> None:
        for pid in self.family():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def kill(self) -> None:
        """As if the power of these processes had been cut."""
        self.signal_all(signal.SIGKILL)
        self.process.wait()

    def start_again(self) -> None:
        time.sleep(0.1)
        (Path(self.program.argv[2]) / "postmaster.pid").unlink(missing_ok=True)
        self.process = self.program.launch()
        self.wait()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            return connection.execute(query).fetchall()

    def empty(self) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute("TRUNCATE accounts_tenant CASCADE")

    def tokens(self, count: int) -> list[str]:
        """Endpoints of as many tenants, made by the superuser."""
        made = [secrets.token_urlsafe(32) for _ in range(count)]
        with psycopg.connect(self.admin_url) as connection:
            for token in made:
                add_endpoint(connection, token)
        return made


def add_endpoint(connection: "psycopg.Connection[Any]", token: str) -> None:
    tenant_id = uuid4()
    connection.execute(
        "INSERT INTO accounts_tenant (id, name, created_at) VALUES (%s, 'T', now())", [tenant_id]
    )
    connection.execute(
        "INSERT INTO webhooks_endpoint (id, tenant_id, name, token_digest, token_hint, max_age_s,"
        " is_paused, created_at) VALUES (%s, %s, 'E', %s, '', 60, false, now())",
        [uuid4(), tenant_id, hashlib.sha256(token.encode()).digest()],
    )


NOWHERE = Databases("", "", "", "")
