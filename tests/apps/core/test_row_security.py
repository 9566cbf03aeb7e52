"""Invariant 20: no table without a policy. The audit is the operators' own, and it is audited."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pinelab.embedded import Services

AUDIT = Path("deploy/postgres/row_security_audit.sql").read_text()


@pytest.fixture
def draft(stage: Services) -> Iterator["psycopg.Connection[Any]"]:
    """A transaction in which defects can be planted; nothing of it stays."""
    assert stage.admin_url
    with psycopg.connect(stage.admin_url) as connection:
        yield connection
        connection.rollback()


def defects(connection: "psycopg.Connection[Any]") -> set[str]:
    return {f"{defect}: {found}" for defect, found in connection.execute(AUDIT.encode())}


def test_the_audit_finds_nothing_after_the_migrations(draft: "psycopg.Connection[Any]") -> None:
    assert defects(draft) == set()


PLANTED = {
    "row security is not enabled and forced: trading_order": (
        "ALTER TABLE trading_order NO FORCE ROW LEVEL SECURITY"
    ),
    "row security is not enabled and forced: planted": (
        "CREATE TABLE planted (id int PRIMARY KEY, tenant_id uuid NOT NULL)"
    ),
    "no policy for all commands with both USING and WITH CHECK: trading_order": (
        "DROP POLICY tenant_rows ON trading_order"
    ),
    "policy is not exactly the tenant's: trading_order.tenant_rows": (
        "ALTER POLICY tenant_rows ON trading_order"
        " USING (tenant_id = (SELECT app.tenant()) OR side = 'buy')"
    ),
    "a second permissive policy widens access: trading_order": (
        "CREATE POLICY wide ON trading_order USING (true)"
    ),
    "tenant column is missing or nullable: trading_order": (
        "ALTER TABLE trading_order ALTER tenant_id DROP NOT NULL"
    ),
    "unique index without the tenant (tells about other tenants): trading_order planted": (
        "CREATE UNIQUE INDEX planted ON trading_order (client_order_id)"
    ),
    "foreign key to a tenant's table without the tenant: trading_fill.planted": (
        "ALTER TABLE trading_fill ADD CONSTRAINT planted"
        " FOREIGN KEY (order_id) REFERENCES trading_order (id)"
    ),
    "view without security_invoker: planted": "CREATE VIEW planted AS SELECT * FROM trading_order",
    "materialized view (policies cannot apply): planted": (
        "CREATE MATERIALIZED VIEW planted AS SELECT 1"
    ),
    "table is owned by a serving role: trading_order": (
        "GRANT CREATE ON SCHEMA public TO pinelab_app;"
        "ALTER TABLE trading_order OWNER TO pinelab_app"
    ),
    "application role may TRUNCATE, REFERENCE or TRIGGER: trading_order": (
        "GRANT TRUNCATE ON trading_order TO pinelab_app"
    ),
    "hooks role may touch a table: webhooks_alert": (
        "GRANT SELECT ON webhooks_alert TO pinelab_hooks"
    ),
    "application role passes policies, by itself or as a member: pinelab_ops": (
        "GRANT pinelab_ops TO pinelab_app"
    ),
    "SECURITY DEFINER function without a fixed search_path: verified": (
        "ALTER FUNCTION app.verified(text) RESET search_path"
    ),
    "SECURITY DEFINER function that everyone may execute: verified": (
        "GRANT EXECUTE ON FUNCTION app.verified(text) TO PUBLIC"
    ),
}


@pytest.mark.parametrize(("defect", "planting"), PLANTED.items())
def test_the_audit_finds_a_planted_defect(
    draft: "psycopg.Connection[Any]", defect: str, planting: str
) -> None:
    draft.execute(planting.encode())

    assert defect in defects(draft)
