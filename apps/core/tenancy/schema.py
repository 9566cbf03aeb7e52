"""Row-level security under every tenant table, put there after each migration.

Doing it once, for every model that has a tenant, means that no migration can forget it;
``tests/apps/core/test_row_security.py`` audits the result.
"""

from collections.abc import Iterator
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from apps.core.tenancy.models import TenantForeignKey, TenantModel

BLOCK = 64  # bytes: SHA-256's block, to which HMAC pads its key.


def enforce(connection: BaseDatabaseWrapper) -> None:
    """Make the database itself keep tenants apart; safe to run again and again."""
    with connection.cursor() as cursor:
        # Each room may hold functions.sql: the few things the database does as its owner.
        for app in apps.get_app_configs():
            if (functions := Path(app.path) / "functions.sql").exists():
                cursor.execute(functions.read_text())
        cursor.execute("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC")
        _store_context_key(cursor)
        _grant(cursor)
        _enforce_policy(cursor, apps.get_model("accounts", "Tenant"), column="id")
        for model in tenant_models():
            _enforce_policy(cursor, model)
            for reference in tenant_references(model):
                _enforce_reference(cursor, model, reference)


def tenant_models() -> Iterator[type[TenantModel]]:
    for model in apps.get_models():
        if issubclass(model, TenantModel):
            yield model


def tenant_references(model: type[TenantModel]) -> Iterator[TenantForeignKey]:
    for candidate in model._meta.local_fields:
        if isinstance(candidate, TenantForeignKey):
            yield candidate


def _store_context_key(cursor: CursorWrapper) -> None:
    key = settings.TENANT_CONTEXT_KEY.encode().ljust(BLOCK, b"\0")
    if len(key) != BLOCK:
        raise ValueError("TENANT_CONTEXT_KEY must be at most 64 bytes")
    cursor.execute(
        "INSERT INTO app.context_key (id, inner_block, outer_block) VALUES (1, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET inner_block = excluded.inner_block,"
        " outer_block = excluded.outer_block",
        [bytes(b ^ 0x36 for b in key), bytes(b ^ 0x5C for b in key)],
    )


def _grant(cursor: CursorWrapper) -> None:
    cursor.execute(
        "GRANT USAGE ON SCHEMA public TO pinelab_app, pinelab_ops;"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public"
        " TO pinelab_app, pinelab_ops;"
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO pinelab_app, pinelab_ops"
    )
    for model in apps.get_models():
        # A model says so itself: `append_only = True` beside its Meta.
        if getattr(model, "append_only", False):
            cursor.execute(
                f'REVOKE UPDATE, DELETE ON "{model._meta.db_table}" FROM pinelab_app, pinelab_ops'
            )
        # What only the processes that work across tenants may write.
        if getattr(model, "written_by_ops_only", False):
            cursor.execute(
                f'REVOKE INSERT, UPDATE, DELETE ON "{model._meta.db_table}" FROM pinelab_app'
            )


def _enforce_policy(
    cursor: CursorWrapper, model: type[models.Model], *, column: str = "tenant_id"
) -> None:
    table = model._meta.db_table
    cursor.execute(
        f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY;'
        f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY;'
        f'DROP POLICY IF EXISTS tenant_rows ON "{table}";'
        f'CREATE POLICY tenant_rows ON "{table}"'
        f" USING ({column} = (SELECT app.tenant()))"
        f" WITH CHECK ({column} = (SELECT app.tenant()))"
    )


def _enforce_reference(
    cursor: CursorWrapper, model: type[TenantModel], reference: TenantForeignKey
) -> None:
    table, target = model._meta.db_table, reference.related_model._meta.db_table
    key = f"{target}_within_tenant"[:63]
    name = f"{table}_{reference.column}_same_tenant"[:63]
    cursor.execute(f'CREATE UNIQUE INDEX IF NOT EXISTS "{key}" ON "{target}" (tenant_id, id)')
    cursor.execute("SELECT FROM pg_constraint WHERE conname = %s", [name])
    if cursor.fetchone() is None:
        # Deferred like Django's own: rows that refer to each other may come in any order.
        cursor.execute(
            f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}"'
            f' FOREIGN KEY (tenant_id, "{reference.column}") REFERENCES "{target}" (tenant_id, id)'
            " DEFERRABLE INITIALLY DEFERRED"
        )
