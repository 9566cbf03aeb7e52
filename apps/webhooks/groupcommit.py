"""The intake's way to the disk: whatever waits is stored in one statement and one commit.

The more alerts arrive during a commit, the more the next one carries, so throughput rises with
load while a single alert waits for a single commit.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import psycopg
from psycopg import conninfo
from psycopg.errors import LockNotAvailable

T = TypeVar("T")
log = logging.getLogger("hooks")

MOST_WAITING = 10_000
MOST_WAITING_BYTES = 64 * 2**20
MOST_IN_BATCH = 500
MOST_BATCH_BYTES = 8 * 2**20
CONNECT_TIMEOUT_S = 2
# Above the statement's own timeout: a server that does not even answer with an error is away.
ANSWER_TIMEOUT_S = 1.8
LONGEST_PAUSE_S = 0.5
# The session's own, whatever the server or the role says; an option in the address wins.
OPTIONS = "-c synchronous_commit=on -c statement_timeout=1500 -c lock_timeout=500"
DURABLE = {"on", "remote_apply"}

STORE = (
    "SELECT place, outcome, alert_id, tenant_id FROM app.store_alerts("
    "%s::uuid[], %s::bytea[], %s::bytea[], %s::text[], %s::text[], %s::interval)"
)


Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Row = tuple[int, str, UUID, UUID | None]


class NotDurable(RuntimeError):
    """The database would answer before the alert is on its disk."""


class NotStored(Exception):
    """The alert was not stored; sending it again is safe.

    Attributes:
        busy: there was no room or time; otherwise the database was away or refused.
    """

    def __init__(self, *, busy: bool) -> None:
        super().__init__("busy" if busy else "away")
        self.busy = busy


class Stored(NamedTuple):
    """Where an alert ended: ``outcome`` is 'stored', 'repeat' or 'unknown'."""

    outcome: str
    alert_id: UUID
    tenant_id: UUID | None


@dataclass(slots=True, eq=False)
class Message:
    """One request that waits to be stored."""

    alert_id: UUID
    digest: bytes
    body: bytes
    content_type: str
    source_ip: str
    done: "asyncio.Future[Stored]"
    # The loop's clock.
    waits_until: float


@dataclass(slots=True)
class Store:
    """The queue, and the connections that empty it.

    Attributes:
        resend_window: equal bytes within this time are the same alert, sent again.
        connections: how many commits may be on their way at once.
    """

    url: str
    resend_window: timedelta
    connections: int
    commits: int = 0
    _waiting: "deque[Message]" = field(default_factory=deque)
    _waiting_bytes: int = 0
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _connected: int = 0
    _is_away: bool = True
    _writers: "list[asyncio.Task[None]]" = field(default_factory=list)
    _closing: bool = False

    @property
    def is_ready(self) -> bool:
        return not self._is_away and len(self._waiting) < MOST_WAITING

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def open(self) -> None:
        """Start the writers; a database that is away is waited for meanwhile.

        Raises:
            NotDurable: the database is there and would lose what it acknowledged.
        """
        first = await self._try_to_connect()
        rest: list[Connection | None] = [None] * (self.connections - 1)
        for connection in [first, *rest]:
            self._writers.append(asyncio.create_task(self._write(connection)))

    async def close(self) -> None:
        """Store what still waits, then let the connections go."""
        self._closing = True
        self._arrived.set()
        await asyncio.gather(*self._writers)

    def put(self, message: Message) -> None:
        """Queue a message; its future gets the outcome.

        Raises:
            NotStored: the database is away, or there is no room.
        """
        if self._is_away:
            raise NotStored(busy=False)
        size = len(message.body)
        if len(self._waiting) >= MOST_WAITING or self._waiting_bytes + size > MOST_WAITING_BYTES:
            raise NotStored(busy=True)
        self._waiting_bytes += size
        self._waiting.append(message)
        self._arrived.set()

    async def _write(self, connection: Connection | None) -> None:
        """One writer's life: serve, and after a loss come back with a new connection."""
        while connection := connection or await self._connect_again():
            self._connected += 1
            try:
                await self._serve(connection)
                return
            except psycopg.OperationalError as error:
                log.warning("lost the database: %s", reason(error))
            finally:
                self._connected -= 1
                await connection.close()
            connection = None

    async def _connect_again(self) -> Connection | None:
        """Try until there is a connection; None when closing."""
        pause = 0.05
        while not self._closing:
            try:
                if connection := await self._try_to_connect():
                    return connection
            except NotDurable as error:
                log.critical("%s", error)
                self._give_up()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
        self._give_up()
        return None

    async def _try_to_connect(self) -> Connection | None:
        try:
            connection = await connect(self.url)
        except psycopg.OperationalError as error:
            log.warning("the database is away: %s", reason(error))
            self._give_up()
            return None
        self._is_away = False
        return connection

    def _give_up(self) -> None:
        # Nobody is there to store them: an error now is worth more than one at the deadline.
        if self._connected == 0:
            self._is_away = True
            fail(self._waiting, busy=False)
            self._waiting.clear()
            self._waiting_bytes = 0

    async def _serve(self, connection: Connection) -> None:
        """Store batch after batch until closing, or raise when the connection is lost."""
        while True:
            while not self._waiting:
                if self._closing:
                    return
                self._arrived.clear()
                await self._arrived.wait()
            if batch := self._take():
                await self._store(connection, batch)

    def _take(self) -> list[Message]:
        batch: list[Message] = []
        size = 0
        now = asyncio.get_running_loop().time()
        while self._waiting and len(batch) < MOST_IN_BATCH and size < MOST_BATCH_BYTES:
            message = self._waiting.popleft()
            self._waiting_bytes -= len(message.body)
            if message.done.done():
                continue
            if message.waits_until < now:
                message.done.set_exception(NotStored(busy=True))
                continue
            batch.append(message)
            size += len(message.body)
        return batch

    async def _store(self, connection: Connection, batch: list[Message]) -> None:
        try:
            rows = await answered(connection, self._statement(connection, batch))
        except psycopg.Error as error:
            await self._recover(connection, batch, error)
            return
        self.commits += 1
        resolve(batch, rows)

    async def _recover(
        self, connection: Connection, batch: list[Message], error: psycopg.Error
    ) -> None:
        if connection.closed:
            # Whether it was committed is unknown; under the same ids it may be sent again.
            self._put_back(batch)
            raise error
        is_passing = isinstance(error, psycopg.OperationalError)
        if len(batch) == 1 or (is_passing and not isinstance(error, LockNotAvailable)):
            log.error("%d alerts were not stored: %s", len(batch), reason(error))
            fail(batch, busy=is_passing)
            return
        # One of them is at fault, or waits for a lock: the others must not pay for it.
        for message in batch:
            if not message.done.done():
                await self._store(connection, [message])

    def _put_back(self, batch: Sequence[Message]) -> None:
        self._waiting.extendleft(reversed(batch))
        self._waiting_bytes += sum(len(message.body) for message in batch)
        self._arrived.set()

    async def _statement(self, connection: Connection, batch: Sequence[Message]) -> list[Row]:
        cursor = connection.cursor(binary=True)
        await cursor.execute(
            STORE,
            [
                [message.alert_id for message in batch],
                [message.digest for message in batch],
                [message.body for message in batch],
                [message.content_type for message in batch],
                [message.source_ip for message in batch],
                self.resend_window,
            ],
            prepare=True,
        )
        return await cursor.fetchall()


async def connect(url: str) -> Connection:
    """A connection whose commits are on the disk before they are answered.

    Raises:
        NotDurable: the session's commits would be answered before they are on the disk.
    """
    asked = conninfo.conninfo_to_dict(url).get("options") or ""
    connection: Connection = await psycopg.AsyncConnection.connect(
        conninfo.make_conninfo(url, options=f"{OPTIONS} {asked}"),
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT_S,
        application_name="pinelab hooks",
    )
    # Asked, not assumed: a pooler in between may drop what a session asks for.
    cursor = await answered(connection, connection.execute("SHOW synchronous_commit"))
    level = (await cursor.fetchone() or ("unknown",))[0]
    if level not in DURABLE:
        await connection.close()
        raise NotDurable(f"synchronous_commit is {level}: an alert that was answered could be lost")
    return connection


async def answered(connection: Connection, statement: Coroutine[Any, Any, T]) -> T:
    """The statement's result; a server that does not answer in time loses its connection."""
    task = asyncio.ensure_future(statement)
    done, _ = await asyncio.wait({task}, timeout=ANSWER_TIMEOUT_S)
    if not done:
        cut(connection)
    return await task


def cut(connection: Connection) -> None:
    """End the conversation on the wire: the driver, which waits for an answer, sees its end.

    To cancel the task instead would have the driver ask the same silent server to cancel.
    """
    line = socket.socket(fileno=os.dup(connection.pgconn.socket))
    with line, contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def resolve(batch: Sequence[Message], rows: Iterable[Row]) -> None:
    answers: list[Stored | None] = [None] * len(batch)
    for place, outcome, alert_id, tenant_id in rows:
        answers[place - 1] = Stored(outcome, alert_id, tenant_id)
    for message, answer in zip(batch, answers, strict=True):
        # Those that ran out of time have their answer already.
        if not message.done.done():
            message.done.set_result(answer or Stored("unknown", message.alert_id, None))


def fail(messages: Iterable[Message], *, busy: bool) -> None:
    for message in messages:
        if not message.done.done():
            message.done.set_exception(NotStored(busy=busy))


def reason(error: psycopg.Error) -> str:
    """The error's first line: what follows it may quote a message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
