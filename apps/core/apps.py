"""Start-up of the ground floor: after each migration the tenancy is put under the tables."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class CoreConfig(AppConfig):
    name = "apps.core"
    label = "core"

    def ready(self) -> None:
        post_migrate.connect(enforce_tenancy, sender=self)


def enforce_tenancy(*, using: str, plan: Any = (), **_kwargs: Any) -> None:
    from apps.core.tenancy import schema

    schema.enforce(connections[using])
