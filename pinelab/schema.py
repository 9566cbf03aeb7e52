"""Bring a database to the code's schema, and do nothing where it is there already."""

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What decides which tables, functions and policies there are: our own migrations and what runs
# after them, and which apps in which versions bring more.
SOURCES = (
    "apps/*/migrations/*.py",
    "apps/*/functions.sql",
    "apps/*/models.py",
    "apps/core/**/*.py",
    "pinelab/settings.py",
    "deploy/constraints.txt",
    "deploy/postgres/roles.sql",
)


def fingerprint() -> str:
    """A name for the schema that this code wants: other migrations, another name."""
    digest = hashlib.sha256()
    for file in sorted({file for pattern in SOURCES for file in ROOT.glob(pattern)}):
        digest.update(str(file.relative_to(ROOT)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def is_current(owner_url: str) -> bool:
    """Whether this database was brought to the present fingerprint before."""
    import psycopg

    with psycopg.connect(owner_url) as connection:
        row = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database "
            "WHERE datname = current_database()"
        ).fetchone()
    return row is not None and row[0] == note(fingerprint())


def stamp(owner_url: str) -> None:
    """Note in the database that it has the schema this code wants."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                sql.Identifier(connection.info.dbname), sql.Literal(note(fingerprint()))
            )
        )


def note(wanted: str) -> str:
    return f"schema {wanted}"


def migration(environment: Mapping[str, str], owner_url: str) -> tuple[list[str], dict[str, str]]:
    """The command that runs Django's migrations as the owner, and its environment.

    Args:
        environment: what settings read; the database in it is replaced by the next.
        owner_url: the database, by the role that owns it.
    """
    command = [sys.executable, str(ROOT / "manage.py"), "migrate", "--no-input", "--verbosity=0"]
    return command, {**environment, "DATABASE_URL": owner_url}
