"""The tenant of a transaction: signed by us, checked by the database, gone at its end."""

import hashlib
import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from django.conf import settings
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

# Longer than any transaction may run, and forgiving of clocks that differ by five minutes.
CONTEXT_LIFETIME_S = 900


class NoTenant(RuntimeError):
    """A customer's rows were asked for outside ``acting_for(tenant)``."""


class OtherTenant(RuntimeError):
    """A second tenant was entered before the first was left."""


class HasTenantKey(Protocol):
    pk: Any


@dataclass(slots=True)
class Scope:
    """What one transaction is doing: for whom, and which events it will append."""

    tenant_id: UUID | None
    events: list[Any] = field(default_factory=list)


def scope_of(connection: BaseDatabaseWrapper) -> Scope | None:
    # On the connection, not in a context variable: connections never leave their thread.
    return getattr(connection, "pinelab_scope", None)


def active_scope() -> tuple[str, Scope] | None:
    """The open scope of this thread with its database alias, or None."""
    for alias in settings.DATABASES:
        if scope := scope_of(connections[alias]):
            return alias, scope
    return None


def current_tenant_id() -> UUID | None:
    """The tenant entered in this thread; None outside, and when acting across tenants."""
    active = active_scope()
    return active[1].tenant_id if active else None


def sign(subject: str) -> str:
    """``subject|expiry|HMAC-SHA256``: what the database's policies verify."""
    message = f"{subject}|{int(time.time()) + CONTEXT_LIFETIME_S}"
    key = settings.TENANT_CONTEXT_KEY.encode()
    return f"{message}|{hmac.new(key, message.encode(), hashlib.sha256).hexdigest()}"


def signed_user(user_id: int) -> str:
    """Proof towards the database that this user is logged in, to list their own memberships."""
    return sign(f"user:{user_id}")


@contextmanager
def acting_for(tenant: HasTenantKey | UUID) -> Iterator[None]:
    """Open one transaction in which exactly this tenant's rows exist.

    Entering the same tenant again inside is allowed and changes nothing; entering another one
    raises. The events appended inside are written last, in the same transaction.

    Raises:
        OtherTenant: another tenant's scope, or one across tenants, is open in this thread.
    """
    tenant_id = tenant if isinstance(tenant, UUID) else tenant.pk
    if active := active_scope():
        if active[1].tenant_id != tenant_id:
            raise OtherTenant(f"acting for {active[1].tenant_id}, asked to act for {tenant_id}")
        yield
        return
    with _scope("default", Scope(tenant_id)) as connection:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('app.context', %s, true)", [sign(f"tenant:{tenant_id}")]
            )
        yield


@contextmanager
def acting_across(reason: str) -> Iterator[None]:
    """Open one transaction over all tenants, as the role of the processes that may.

    Every place that calls this is listed in docs/security.md. Rows written inside name their
    tenant themselves.

    Args:
        reason: what this place is for, in the words of docs/security.md.

    Raises:
        OtherTenant: a scope is already open in this thread.
        NoTenant: this process was not given the role's address (DATABASE_OPS_URL).
    """
    if "ops" not in settings.DATABASES:
        raise NoTenant(f"{reason}: this process has no DATABASE_OPS_URL to act across tenants")
    if active_scope():
        raise OtherTenant(f"{reason}: a scope is already open")
    with _scope("ops", Scope(None)):
        yield


@contextmanager
def _scope(alias: str, scope: Scope) -> Iterator[BaseDatabaseWrapper]:
    from apps.core import events  # events need the scope; the scope only flushes them

    connection = connections[alias]
    with transaction.atomic(using=alias, durable=True):
        connection.pinelab_scope = scope  # type: ignore[attr-defined]
        try:
            yield connection
            if scope.events:
                events.flush(connection, scope)
        finally:
            connection.pinelab_scope = None  # type: ignore[attr-defined]
