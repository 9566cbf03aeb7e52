"""The cast and the stage: real servers, a database of this worker's own, Alice, Bob, Charlie.

Everything runs as the application's role, which owns nothing and cannot pass the policies.
Transactions really commit; a superuser empties the tables after each test.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pinelab.embedded import Services
from tests.factories import make_client, make_member, make_tenant
from tests.stage import STAGE

if TYPE_CHECKING:
    from django.test import Client

    from apps.accounts.models import Tenant, User


DATA = Path(os.environ.get("PINELAB_TEST_DATA", "../shared/data"))


@pytest.fixture(scope="session")
def django_db_setup() -> None:
    """The database is made and migrated already, by its owner."""
    from django.conf import settings

    # Argon2 is slow on purpose, and every test makes users.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session")
def stage() -> Services:
    return STAGE


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real bars and alert bodies, or the reason why a test skips."""
    if not DATA.exists():
        pytest.skip(f"no test data at {DATA}; set PINELAB_TEST_DATA")
    return DATA


# Deleting beats truncating here: the tables are nearly empty, and a truncation syncs files.
EMPTY = """
DO $$
DECLARE name text; filled boolean;
BEGIN
  SET LOCAL session_replication_role = replica;
  FOR name IN SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'
    AND tablename NOT IN ('django_migrations', 'django_content_type', 'auth_permission',
                          'trading_servicestate')
  LOOP
    EXECUTE 'SELECT EXISTS (SELECT FROM ' || name || ')' INTO filled;
    IF filled THEN EXECUTE 'DELETE FROM ' || name; END IF;
  END LOOP;
  UPDATE trading_servicestate SET is_halted = false, reason = '' WHERE is_halted;
END $$
"""


@pytest.fixture(scope="session")
def superuser() -> "Iterator[psycopg.Connection[Any]]":
    """For setting the stage only: nothing under test may use it."""
    assert STAGE.admin_url
    with psycopg.connect(STAGE.admin_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def database(
    django_db_setup: None, django_db_blocker: Any, superuser: "psycopg.Connection[Any]"
) -> Iterator[None]:
    """The real thing: every transaction commits, and is cleared away afterwards."""
    from django.core.cache import cache
    from django.db import connections

    with django_db_blocker.unblock():
        yield
        for connection in connections.all():
            setattr(connection, "pinelab_scope", None)  # noqa: B010 (not a name Django knows)
            connection.close()
    superuser.execute(EMPTY)
    cache.clear()


@pytest.fixture
def alice(database: None) -> "Tenant":
    """Owns a tenant."""
    return make_tenant("alice@example.com", "Alice")


@pytest.fixture
def bob(database: None) -> "Tenant":
    """Owns another."""
    return make_tenant("bob@example.com", "Bob")


@pytest.fixture
def charlie(alice: "Tenant") -> "User":
    """May look at Alice's."""
    return make_member(alice, "charlie@example.com", "viewer")


@pytest.fixture
def client_for(database: None) -> "Callable[[User | Tenant], Client]":
    """A browser that is logged in as somebody; a tenant stands for its owner."""
    return make_client
