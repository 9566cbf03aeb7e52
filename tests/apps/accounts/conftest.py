"""The rest of the cast: Alice's own user, a trader in her tenant, and ways to ask as them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from apps.accounts import services
from apps.accounts.models import AuditEvent, Membership, Tenant, User
from apps.core.tenancy import acting_for

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
PASSWORD = "a long enough pass phrase"


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def owner(alice: Tenant) -> User:
    with acting_for(alice):
        return Membership.objects.select_related("user").get(role=Membership.Role.OWNER).user


@pytest.fixture
def other(bob: Tenant) -> User:
    """Bob's own user: an owner too, of another tenant."""
    with acting_for(bob):
        return Membership.objects.select_related("user").get(role=Membership.Role.OWNER).user


@pytest.fixture
def trader(alice: Tenant) -> User:
    user = User.objects.create_user("tess@example.com", PASSWORD)
    with acting_for(alice):
        Membership.objects.create(user=user, role=Membership.Role.TRADER)
    return user


@pytest.fixture
def people(owner: User, trader: User, charlie: User, other: User) -> dict[str, User | None]:
    """Everybody who may knock at a door."""
    return {
        "anonymous": None,
        "viewer": charlie,
        "trader": trader,
        "owner": owner,
        "other tenant": other,
    }


@pytest.fixture
def browser() -> Callable[[User | None], Client]:
    def open_browser(user: User | None) -> Client:
        client = Client()
        if user is not None:
            client.force_login(user)
        return client

    return open_browser


@pytest.fixture
def key_of() -> Callable[..., str]:
    """The secret of a new key."""

    def make(user: User, tenant: Tenant, *scopes: str, **options: Any) -> str:
        given = {"name": "test", "expires_at": None, "now": NOW, **options}
        with acting_for(tenant):
            return services.create_api_key(user=user, scopes=scopes or ("read",), **given)[1]

    return make


@pytest.fixture
def membership_of() -> Callable[[User, Tenant], Membership]:
    def find(user: User, tenant: Tenant) -> Membership:
        with acting_for(tenant):
            return Membership.objects.get(user=user)

    return find


@pytest.fixture
def audited() -> Callable[[Tenant | UUID], list[str]]:
    """The actions in a tenant's audit log, oldest first."""

    def read(tenant: Tenant | UUID) -> list[str]:
        with acting_for(tenant):
            return [event.action for event in AuditEvent.objects.order_by("sequence")]

    return read


@pytest.fixture
def tomorrow() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)
