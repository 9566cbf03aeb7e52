"""The audit log: who did what, in a chain of hashes that shows when a row was changed.

Each row's hash covers the row and the hash before it, so that an edited, removed or reordered
row is found. What a chain cannot show is its own end being cut off, or all of it being written
anew by someone who owns the database: for that, ``head`` is kept in another place from time to
time and given to ``verify`` as the checkpoint.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import QuerySet

from apps.accounts.models import AuditEvent
from apps.core.tenancy import NoTenant, acting_for
from apps.core.tenancy.context import HasTenantKey, active_scope

BEGINNING = "0" * 64


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person, perhaps through one of their keys; nobody when the service does."""

    user_id: int | None = None
    key_id: UUID | None = None


SERVICE = Actor()


@dataclass(frozen=True, slots=True)
class Head:
    """The newest row of a tenant's log, to be kept where the database's owner cannot reach."""

    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a log is not as it was written, and how that shows."""

    sequence: int
    what: str


def record(
    *,
    action: str,
    subject: str,
    subject_id: object,
    by: Actor,
    at: datetime,
    detail: Mapping[str, Any] | None = None,
    tenant_id: UUID | None = None,
) -> AuditEvent:
    """Append one row, in the transaction of what it tells of.

    The rows of a tenant are put in line by a lock that is held until the commit, so this
    belongs near the end of a service.

    Args:
        action: ``subject.verb``, such as ``api_key.revoked``.
        detail: plain JSON without floats, which a database may give back changed.
        tenant_id: whose log it is; only needed when acting across tenants.

    Raises:
        NoTenant: no scope is open, or it is across tenants and none was named.
        TypeError: ``detail`` holds something that JSON would not give back as it was.
    """
    owner = _owner(tenant_id, action)
    _take_turn(owner)
    last = _newest(owner)
    event = AuditEvent(
        tenant_id=owner,
        sequence=last.sequence + 1,
        at=at,
        user_id=by.user_id,
        api_key_id=by.key_id,
        action=action,
        subject=subject,
        subject_id=str(subject_id),
        detail=dict(detail or {}),
        previous_hash=last.hash,
    )
    event.hash = hash_of(event)
    event.save(force_insert=True)
    return event


def head(tenant: HasTenantKey | UUID) -> Head:
    """The tenant's newest row, sequence 0 when there is none: a checkpoint to keep elsewhere."""
    with acting_for(tenant):
        return _newest(tenant if isinstance(tenant, UUID) else tenant.pk)


def verify(tenant: HasTenantKey | UUID, *, checkpoint: Head | None = None) -> list[Fault]:
    """Read a tenant's whole log and list what is wrong with it; empty when nothing is."""
    with acting_for(tenant):
        rows: QuerySet[AuditEvent] = AuditEvent.objects.order_by("sequence")
        return faults_in(rows.iterator(), checkpoint=checkpoint)


def faults_in(events: Iterable[AuditEvent], *, checkpoint: Head | None = None) -> list[Fault]:
    """List the faults of one log, given in the order of its sequence."""
    faults: list[Fault] = []
    last = Head(0, BEGINNING)
    for event in events:
        faults += _faults_of(event, last, checkpoint)
        last = Head(event.sequence, event.hash)
    if checkpoint and last.sequence < checkpoint.sequence:
        faults.append(
            Fault(last.sequence + 1, f"the log ends here; it once reached {checkpoint.sequence}")
        )
    return faults


def hash_of(event: AuditEvent) -> str:
    """SHA-256 over the row as canonical JSON, the previous row's hash included."""
    body = {
        "tenant": str(event.tenant_id),
        "sequence": event.sequence,
        "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "user": event.user_id,
        "api_key": str(event.api_key_id) if event.api_key_id else None,
        "action": event.action,
        "subject": event.subject,
        "subject_id": event.subject_id,
        "detail": _exact(event.detail),
        "previous": event.previous_hash,
    }
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _faults_of(event: AuditEvent, last: Head, checkpoint: Head | None) -> list[Fault]:
    found = []
    if event.sequence != last.sequence + 1:
        found.append(f"expected row {last.sequence + 1}")
    if event.previous_hash != last.hash:
        found.append("does not follow the row before it")
    if event.hash != hash_of(event):
        found.append("was changed after it was written")
    if checkpoint and event.sequence == checkpoint.sequence and (event.hash != checkpoint.hash):
        found.append("is not the row that the checkpoint saw")
    return [Fault(event.sequence, what) for what in found]


def _owner(tenant_id: UUID | None, action: str) -> UUID:
    active = active_scope()
    owner = tenant_id or (active[1].tenant_id if active else None)
    if active is None or owner is None:
        raise NoTenant(f"audit of {action} outside a tenant")
    return owner


def _newest(tenant_id: UUID) -> Head:
    newest = AuditEvent.objects.filter(tenant_id=tenant_id).order_by("-sequence").first()
    return Head(newest.sequence, newest.hash) if newest else Head(0, BEGINNING)


def _take_turn(tenant_id: UUID) -> None:
    # A lock rather than the last row's: the first row has none before it, and the application
    # may not update this table, which locking a row would need.
    active = active_scope()
    assert active is not None  # noqa: S101 - _owner has looked
    with connections[active[0]].cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('audit:' || %s, 0))", [str(tenant_id)]
        )


def _exact(value: Any) -> Any:
    match value:
        case float():
            raise TypeError("an audit detail holds no floats: give decimals as strings")
        case dict():
            return {key: _exact(item) for key, item in value.items()}
        case list() | tuple():
            return [_exact(item) for item in value]
    return value
