"""Real servers for a test session: one pair for all its processes, a database for each.

The first process that asks starts a keeper; the keeper stops the servers when the last process
that asked is gone, however it went: all of them hold a shared lock, and the keeper waits for it
alone. Run by itself, this module is the keeper.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from pinelab import schema
from pinelab.embedded import CannotStart, Services, keys, roles, start
from pinelab.embedded.postgres import answers

VAR = Path(os.environ.get("PINELAB_TEST_VAR") or schema.ROOT / "var" / "test")
NOTE = VAR / "services.json"
# Tests never touch what the shell's DATABASE_URL names; an outside server is named by these.
OUTSIDE = {"DATABASE_URL": "PINELAB_TEST_DATABASE_URL", "REDIS_URL": "PINELAB_TEST_REDIS_URL"}
REDIS_DATABASES = 16

# Held until this process ends.
holds: list[int] = []


def servers() -> Services:
    """The session's servers, started if nobody has yet. The superuser's address is admin_url.

    Raises:
        CannotStart: in one sentence, why they cannot be started here.
    """
    VAR.mkdir(parents=True, exist_ok=True)
    if not holds:
        holds.append(locked("in-use.lock", fcntl.LOCK_SH))
    with alone("starting.lock"):
        known = read()
        if known and known.admin_url and answers(known.admin_url):
            return known
        NOTE.unlink(missing_ok=True)
        call_keeper()
        started = read()
    if started is None:
        raise CannotStart(f"The keeper of the test servers left no note in {NOTE}.")
    return started


def database(name: str) -> Services:
    """A database of this name, migrated and otherwise empty; one of an earlier session goes.

    Args:
        name: the xdist worker's, so that workers do not meet; also chooses a Redis database.
    """
    found = servers()
    assert found.admin_url
    own = roles.with_database(found.admin_url, f"test_{name}")
    with alone("databases.lock"):
        copy(template(found), own)
        databases = roles.prepare(own, found.secrets)
    number = 1 + int("0" + "".join(filter(str.isdigit, name))) % (REDIS_DATABASES - 1)
    redis_url = roles.with_database(found.redis_url, str(number))
    return Services(VAR, databases, redis_url, found.secrets, own)


def template(found: Services) -> str:
    """The migrated database that others are copied from: made once for each schema."""
    assert found.admin_url
    name = f"template_{schema.fingerprint()}"
    with psycopg.connect(found.admin_url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'template\\__%'"
        )
        known = {row[0] for row in rows}
        if name in known:
            return name
        for outdated in (known | {"draft"}) - {"template0", "template1"}:
            drop(connection, outdated)
        draft = roles.with_database(found.admin_url, "draft")
        databases = roles.prepare(draft, found.secrets)
        own = Services(VAR, databases, found.redis_url, found.secrets, draft)
        migrate(own)
        connection.execute(
            sql.SQL("ALTER DATABASE draft RENAME TO {}").format(sql.Identifier(name))
        )
    return name


def migrate(own: Services) -> None:
    command, environment = schema.migration(own.environment(), own.databases.owner)
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
    schema.stamp(own.databases.owner)


def copy(source: str, own: str) -> None:
    name = roles.database_name(own)
    with psycopg.connect(roles.with_database(own, "postgres"), autocommit=True) as connection:
        drop(connection, name)
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(source)
            )
        )


def drop(connection: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    connection.execute(
        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    )


def read() -> Services | None:
    if not NOTE.exists():
        return None
    known = json.loads(NOTE.read_text())
    return Services(
        VAR, roles.Databases(**known["databases"]), known["redis_url"], known["secrets"],
        known["admin_url"],
    )  # fmt: skip


def write(found: Services) -> None:
    known = {
        "databases": found.databases._asdict(),
        "redis_url": found.redis_url,
        "secrets": dict(found.secrets),
        "admin_url": found.admin_url or os.environ["DATABASE_URL"],
    }
    keys.write(NOTE, json.dumps(known))


def call_keeper() -> None:
    environment = {key: value for key, value in os.environ.items() if "DATABASE" not in key}
    environment |= {key: os.environ.get(name, "") for key, name in OUTSIDE.items()}
    keeper = subprocess.Popen(
        # As a module: as a script, tests/pinelab would hide the real package.
        [sys.executable, "-m", "tests.servers"],
        env=environment,
        cwd=schema.ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        # A Ctrl-C is for the tests; the keeper goes when they are gone.
        start_new_session=True,
    )
    assert keeper.stdout
    with keeper.stdout:
        said = keeper.stdout.readline().strip()
    if said != "ready":
        keeper.wait()
        raise CannotStart(said or "The keeper of the test servers died without a word.")
    # It outlives us on purpose; without this the interpreter warns about it.
    keeper.returncode = 0


def keep() -> int:
    """Start the servers, say so, and stop them when nobody uses them any more."""
    try:
        found = start(VAR)
    except CannotStart as refusal:
        sys.stdout.write(f"{refusal}\n")
        return 1
    try:
        write(found)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        holds.append(locked("in-use.lock", fcntl.LOCK_EX))
        NOTE.unlink(missing_ok=True)
    finally:
        found.stop()
    return 0


def locked(name: str, kind: int) -> int:
    descriptor = os.open(VAR / name, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, kind)
    return descriptor


@contextmanager
def alone(name: str) -> Iterator[None]:
    descriptor = locked(name, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(keep())
