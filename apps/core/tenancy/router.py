"""Which role a query runs as: the application's, unless a scope across tenants is open."""

from typing import Any

from apps.core.tenancy.context import active_scope


class Router:
    """Send every query to the database alias of the open scope."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        active = active_scope()
        return active[0] if active else "default"

    db_for_write = db_for_read

    def allow_relation(self, obj1: Any, obj2: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "default"
