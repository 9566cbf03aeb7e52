"""Who is asking, and for whom: users, tenants, memberships, API keys, the audit log."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "apps.accounts"
    label = "accounts"

    def ready(self) -> None:
        # drf-spectacular finds its extensions by their having been imported.
        from apps.accounts import schema  # noqa: F401
