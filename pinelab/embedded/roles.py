"""The database's roles and the address by which each of them connects."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from pinelab.embedded.refusal import CannotStart

if TYPE_CHECKING:
    import psycopg

NAME = "pinelab"
SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "postgres" / "roles.sql"


class Databases(NamedTuple):
    """One database, by role: what each may do is written in deploy/postgres/roles.sql."""

    app: str
    owner: str
    ops: str
    hooks: str


def prepare(admin_url: str, secrets: Mapping[str, str]) -> Databases:
    """Make the database that ``admin_url`` names and its roles, or put them back in order.

    Args:
        admin_url: a superuser's address.
        secrets: the passwords that the roles get.
    """
    import psycopg

    make_database(admin_url)
    databases = addresses(admin_url, secrets)
    with psycopg.connect(admin_url) as connection:
        # One at a time: two starts against one outside server would trip over each other.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('pinelab roles'))")
        connection.execute(SCRIPT.read_bytes())
        for role, url in databases._asdict().items():
            set_password(connection, role, url, secrets[f"{role.upper()}_PASSWORD"])
    return databases


def make_database(admin_url: str) -> None:
    import psycopg
    from psycopg import sql

    name = database_name(admin_url)
    with psycopg.connect(with_database(admin_url, "postgres"), autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if known.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def set_password(
    connection: "psycopg.Connection[tuple[object, ...]]", role: str, url: str, password: str
) -> None:
    """Set a role's password where the one it has does not open the door.

    It leaves as the verifier that the server keeps, so that no log can show it.
    """
    import psycopg
    from psycopg import sql

    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        name = f"pinelab_{role}".encode()
        verifier = connection.pgconn.encrypt_password(password.encode(), name, b"scram-sha-256")
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(name.decode()), sql.Literal(verifier.decode())
            )
        )


def addresses(admin_url: str, secrets: Mapping[str, str]) -> Databases:
    return Databases(
        *(
            with_user(admin_url, f"pinelab_{role}", secrets[f"{role.upper()}_PASSWORD"])
            for role in Databases._fields
        )
    )


def given(environment: Mapping[str, str], secrets: Mapping[str, str]) -> Databases | None:
    """The addresses that the environment names; None where it names no database.

    One address alone is enough if it is a superuser's: the roles are then made there.

    Raises:
        CannotStart: the roles' addresses are missing and cannot be made, or nothing answers.
    """
    url = environment.get("DATABASE_URL")
    if not url:
        return None
    names = [f"DATABASE_{role.upper()}_URL" for role in Databases._fields[1:]]
    missing = ", ".join(name for name in names if not environment.get(name))
    if not missing:
        enter("DATABASE_URL", url)
        return Databases(url, *(environment[name] for name in names))
    # The database itself may not exist yet: it is made with the roles.
    if enter("DATABASE_URL", with_database(url, "postgres")):
        return prepare(url, secrets)
    raise CannotStart(
        f"DATABASE_URL is set but not {missing}: make the roles with deploy/postgres/roles.sql and "
        f"set all four, or let DATABASE_URL name a superuser who may make them."
    )


def enter(variable: str, url: str) -> bool:
    """Try ``url`` and say whether it is a superuser's.

    Raises:
        CannotStart: nothing answers there, or it does not let us in.
    """
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            row = connection.execute("SELECT current_setting('is_superuser') = 'on'").fetchone()
    except psycopg.OperationalError as error:
        said = str(error).strip().splitlines()[-1]
        raise CannotStart(
            f"The database that {variable} names does not let us in ({said}): "
            f"start it, correct the address, or unset {variable} to use an own one."
        ) from error
    return bool(row and row[0])


def database_name(url: str) -> str:
    return urlsplit(url).path.lstrip("/") or NAME


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{quote(name)}"))


def with_user(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(
        parts._replace(
            netloc=f"{user}:{quote(password, safe='')}@{host}", path=f"/{database_name(url)}"
        )
    )
