from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pinelab.embedded import Services, roles, start


@pytest.fixture(scope="module")
def running(open_directory: Path) -> Iterator[Services]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATABASE_URL", "REDIS_URL"):
            patch.delenv(name, raising=False)
        services = start(open_directory / "var")
    yield services
    services.stop()


def ask(url: str, question: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(question.encode()).fetchall()


def do(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())


class TestAttributes:
    @pytest.mark.parametrize(
        ("role", "bypasses_policies"), [("app", 0), ("owner", 1), ("hooks", 0), ("ops", 1)]
    )
    def test_each_role_has_exactly_these(
        self, running: Services, role: str, bypasses_policies: int
    ) -> None:
        rows = ask(
            running.databases._asdict()[role],
            "SELECT rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication,"
            " rolbypassrls FROM pg_roles WHERE rolname = current_user",
        )

        assert rows == [(True, False, False, False, False, bool(bypasses_policies))]

    def test_no_role_is_a_member_of_another(self, running: Services) -> None:
        rows = ask(
            running.database_url,
            "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member"
            " WHERE r.rolname LIKE 'pinelab%'",
        )

        assert rows == [(0,)]

    @pytest.mark.parametrize(
        ("role", "setting", "value"),
        [
            ("app", "idle_in_transaction_session_timeout", "30s"),
            ("hooks", "idle_in_transaction_session_timeout", "30s"),
            ("ops", "idle_in_transaction_session_timeout", "30s"),
            ("app", "statement_timeout", "15s"),
            ("hooks", "statement_timeout", "1500ms"),
            ("hooks", "lock_timeout", "500ms"),
            ("hooks", "synchronous_commit", "on"),
        ],
    )
    def test_limits_come_with_the_role(
        self, running: Services, role: str, setting: str, value: str
    ) -> None:
        assert ask(running.databases._asdict()[role], f"SHOW {setting}") == [(value,)]


class TestDatabase:
    def test_the_owner_owns_it(self, running: Services) -> None:
        rows = ask(
            running.database_url,
            "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = 'pinelab'",
        )

        assert rows == [("pinelab_owner",)]

    @pytest.mark.parametrize("role", ["app", "hooks", "ops"])
    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE TABLE mine (a int)",
            "CREATE TEMPORARY TABLE mine (a int)",
            "CREATE SCHEMA mine",
            "CREATE ROLE mine",
        ],
    )
    def test_only_the_owner_makes_anything(
        self, running: Services, role: str, statement: str
    ) -> None:
        refusals = psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidSchemaName
        with pytest.raises(refusals):
            do(running.databases._asdict()[role], statement)

    def test_a_new_function_is_nobodys(self, running: Services) -> None:
        do(
            running.databases.owner,
            "CREATE OR REPLACE FUNCTION secret() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        )

        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            do(running.database_url, "SELECT secret()")

    def test_a_new_table_is_nobodys(self, running: Services) -> None:
        do(running.databases.owner, "CREATE TABLE IF NOT EXISTS unseen (a int)")

        for role in ("app", "hooks", "ops"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                do(running.databases._asdict()[role], "SELECT * FROM public.unseen")

    def test_a_stranger_cannot_connect(self, running: Services) -> None:
        assert running.admin_url
        do(
            running.admin_url,
            "DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN PASSWORD 'stranger'",
        )
        url = roles.with_user(running.admin_url, "stranger", "stranger")

        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(url)


class TestPrepare:
    def test_it_puts_back_what_was_changed(self, running: Services) -> None:
        assert running.admin_url
        do(
            running.admin_url,
            "ALTER ROLE pinelab_app SUPERUSER PASSWORD 'other';"
            "GRANT ALL ON SCHEMA public TO PUBLIC",
        )

        roles.prepare(running.admin_url, running.secrets)

        rows = ask(
            running.database_url,
            "SELECT rolsuper, has_schema_privilege('public', 'CREATE') FROM pg_roles"
            " WHERE rolname = current_user",
        )
        assert rows == [(False, False)]
