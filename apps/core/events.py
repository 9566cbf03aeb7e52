"""The log of what happened: one append-only table, written in the transaction of the change.

Consumers keep a cursor each and read in order. A tenant's sequence has no gap and follows the
order of commit, because the tenant's head row is locked from the append to the commit; so a
reader that has seen number n has seen everything up to n. The append is the last statement of
a transaction: the lock is held for the length of the commit only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Max

from apps.core.ids import uuid7
from apps.core.models import Event
from apps.core.tenancy import NoTenant
from apps.core.tenancy.context import Scope, active_scope

# The database tells listeners which tenant's log has grown; a wake-up, never the news itself.
CHANNEL = "pinelab_events"


@dataclass(frozen=True, slots=True)
class Pending:
    """An event that waits for the end of its transaction."""

    tenant_id: UUID
    kind: str
    subject: str
    subject_id: UUID
    payload: Mapping[str, Any]
    at: datetime
    id: UUID = field(default_factory=uuid7)


def append(
    *,
    kind: str,
    subject: str,
    subject_id: UUID,
    at: datetime,
    text: str,
    payload: Mapping[str, Any] | None = None,
    tenant_id: UUID | None = None,
) -> None:
    """Record that something happened, as part of the open scope's transaction.

    Args:
        kind: ``subject.verb``, such as ``order.filled``.
        text: the sentence a person reads.
        payload: what a consumer needs; decimals as strings.
        tenant_id: whose event it is; only needed when acting across tenants.

    Raises:
        NoTenant: no scope is open, or it is across tenants and none was named.
    """
    active = active_scope()
    if active is None:
        raise NoTenant(f"event {kind} outside a tenant")
    scope = active[1]
    owner = tenant_id or scope.tenant_id
    if owner is None:
        raise NoTenant(f"event {kind} names no tenant")
    body = {"text": text, **(payload or {})}
    scope.events.append(Pending(owner, kind, subject, subject_id, body, at))


APPEND = """
WITH incoming AS (
  SELECT i.*, row_number() OVER (PARTITION BY tenant_id ORDER BY place) AS nth
  FROM ROWS FROM (json_to_recordset(%s::json) AS (
      id uuid, tenant_id uuid, kind text, subject text, subject_id uuid, payload jsonb,
      at timestamptz))
    WITH ORDINALITY AS i (id, tenant_id, kind, subject, subject_id, payload, at, place)
), counts AS (
  SELECT tenant_id, count(*) AS n FROM incoming GROUP BY tenant_id
), heads AS (
  -- Locked in one order everywhere, so that two appends over several tenants cannot deadlock.
  SELECT tenant_id FROM core_eventhead
  WHERE tenant_id IN (SELECT tenant_id FROM counts) ORDER BY tenant_id FOR UPDATE
), grown AS (
  UPDATE core_eventhead h SET sequence = h.sequence + counts.n
  FROM counts JOIN heads USING (tenant_id)
  WHERE h.tenant_id = counts.tenant_id
  RETURNING h.tenant_id, h.sequence - counts.n AS before
)
INSERT INTO core_event (id, tenant_id, sequence, kind, subject, subject_id, payload, at)
SELECT id, tenant_id, before + nth, kind, subject, subject_id, payload, at
FROM incoming JOIN grown USING (tenant_id)
"""


def flush(connection: BaseDatabaseWrapper, scope: Scope) -> None:
    """Write the scope's events; called by the scope itself just before it commits."""
    pending: Sequence[Pending] = scope.events
    tenants = sorted({event.tenant_id for event in pending})
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core_eventhead (id, tenant_id, sequence)"
            " SELECT gen_random_uuid(), t, 0 FROM unnest(%s::uuid[]) AS t"
            " WHERE NOT EXISTS (SELECT FROM core_eventhead h WHERE h.tenant_id = t)"
            " ON CONFLICT (tenant_id) DO NOTHING",
            [tenants],
        )
        cursor.execute(APPEND, [msgspec.json.encode(pending).decode()])
        cursor.execute(
            "SELECT pg_notify(%s, t::text) FROM unnest(%s::uuid[]) AS t", [CHANNEL, tenants]
        )
    scope.events = []


def since(sequence: int, *, limit: int = 500) -> list[Event]:
    """The tenant's events after ``sequence``, in order, at most ``limit``."""
    return list(Event.objects.filter(sequence__gt=sequence).order_by("sequence")[:limit])


def last_sequence() -> int:
    """The number of the tenant's newest event, 0 when there is none."""
    return Event.objects.aggregate(last=Max("sequence"))["last"] or 0
