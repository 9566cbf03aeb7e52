"""What the live process reads: events, bars, and who may still listen.

On connections of its own, without threads. A tenant's rows are read in a transaction that
carries the tenant's signed context, as everywhere.
"""

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from django.db import connections
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

from apps.core.tenancy.context import sign
from apps.portal.tickets import Holder

PAGE: Final = 500
CONNECTIONS: Final = 4
PATIENCE_S: Final = 5.0

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
encode = msgspec.json.Encoder().encode

EVENTS = """
SELECT sequence, kind, subject, subject_id, at, payload->>'text', payload::text
FROM core_event WHERE tenant_id = %s AND sequence > %s ORDER BY sequence LIMIT %s
"""
HEAD = "SELECT sequence FROM core_eventhead WHERE tenant_id = %s"
MEMBERS = """
SELECT m.user_id, encode(sha256(convert_to(u.password, 'UTF8')), 'hex')
FROM accounts_membership m JOIN accounts_user u ON u.id = m.user_id AND u.is_active
WHERE m.tenant_id = %s AND m.user_id = ANY(%s)
"""
KEYS = """
SELECT id FROM accounts_apikey WHERE tenant_id = %s AND id = ANY(%s)
  AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
SESSIONS = """
SELECT session_key FROM django_session WHERE session_key = ANY(%s) AND expire_date > now()
"""
FORMING = """
SELECT instrument_id, interval_s, opened_at, open, high, low, price, volume, NOT is_forming
FROM marketdata_quote WHERE instrument_id = ANY(%s)
"""
CLOSED = """
SELECT b.instrument_id, b.interval_s, b.opened_at, b.open, b.high, b.low, b.close, b.volume, true
FROM marketdata_bar b
JOIN unnest(%s::uuid[], %s::int[], %s::timestamptz[]) AS w (instrument_id, interval_s, opened_at)
  USING (instrument_id, interval_s, opened_at)
"""


class Entry(NamedTuple):
    """An event, ready for the wire."""

    sequence: int
    text: str


class BarEntry(NamedTuple):
    """A bar as it stands now, ready for the wire."""

    instrument_id: UUID
    opened_at: datetime
    text: str


def address() -> str:
    """The application role's connection, in libpq's own form."""
    parameters = connections["default"].get_connection_params()
    return make_conninfo(
        "",
        **{name: parameters.get(name) for name in ("host", "port", "user", "password", "dbname")},
        application_name="pinelab live",
        # A line that was cut without a word is noticed within half a minute.
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
    )


class Journal:
    """The database as the live sockets see it."""

    def __init__(self) -> None:
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            address(),
            min_size=1,
            max_size=CONNECTIONS,
            timeout=PATIENCE_S,
            open=False,
            kwargs={"autocommit": True},
        )

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    async def head(self, tenant_id: UUID) -> int:
        """The number of the tenant's newest event, 0 when there is none."""
        async with self._acting_for(tenant_id) as connection:
            row = await (await connection.execute(HEAD, [tenant_id])).fetchone()
        return int(row[0]) if row else 0

    async def page(self, tenant_id: UUID, after: int) -> list[Entry]:
        """The next events after a number, in order, at most ``PAGE``."""
        async with self._acting_for(tenant_id) as connection:
            found = await connection.execute(EVENTS, [tenant_id, after, PAGE])
            return [_entry(*row) for row in await found.fetchall()]

    async def admitted(self, tenant_id: UUID, holders: Collection[Holder]) -> set[Holder]:
        """Those who may still listen: members whose session or key is still good."""
        async with self._acting_for(tenant_id) as connection:
            users = [holder.user_id for holder in holders]
            passwords = dict(await _rows(connection, MEMBERS, tenant_id, users))
            keys = [holder.key_id for holder in holders if holder.key_id]
            good = {row[0] for row in await _rows(connection, KEYS, tenant_id, keys)}
            sessions = [holder.session for holder in holders if holder.session]
            good |= {row[0] for row in await _rows(connection, SESSIONS, sessions)}
        return {
            holder
            for holder in holders
            if holder.user_id in passwords
            and (holder.key_id or holder.session) in good
            and (not holder.session or holder.password == passwords[holder.user_id])
        }

    async def bars(
        self, forming: Collection[UUID], closed: Collection[tuple[UUID, int, datetime]]
    ) -> list[BarEntry]:
        """Closed bars by their name, then each instrument's newest; no tenant's rows."""
        found: list[tuple[Any, ...]] = []
        async with self._pool.connection() as connection:
            if closed:
                found += await _rows(connection, CLOSED, *map(list, zip(*closed, strict=True)))
            found += await _rows(connection, FORMING, list(forming))
        return [_bar(*row) for row in found]

    @asynccontextmanager
    async def _acting_for(self, tenant_id: UUID) -> AsyncIterator[Connection]:
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(
                "SELECT set_config('app.context', %s, true)", [sign(f"tenant:{tenant_id}")]
            )
            yield connection


async def _rows(connection: Connection, query: str, *values: Any) -> Iterable[Any]:
    if any(value == [] for value in values):
        return []
    return await (await connection.execute(query, values)).fetchall()


def _entry(
    sequence: int, kind: str, subject: str, subject_id: UUID, at: datetime, text: str, payload: str
) -> Entry:
    data = {
        "kind": kind,
        "subject": subject,
        "id": subject_id,
        "at": at,
        "text": text,
        "payload": msgspec.Raw(payload.encode()),
    }
    return Entry(sequence, encode({"type": "event", "seq": sequence, "data": data}).decode())


def _bar(instrument_id: UUID, interval_s: int, opened_at: datetime, *prices: Any) -> BarEntry:
    *numbers, is_closed = prices
    names = ("open", "high", "low", "close", "volume")
    data = {
        "instrument": instrument_id,
        "interval_s": interval_s,
        "time": int(opened_at.timestamp()),
        **{name: float(value) for name, value in zip(names, numbers, strict=True)},
        "closed": is_closed,
    }
    text = encode({"type": "bar", "seq": None, "data": data}).decode()
    return BarEntry(instrument_id, opened_at, text)
