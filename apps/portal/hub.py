"""Who listens, and what they are told: the database's bell in, messages to the sockets out.

    core_event ─NOTIFY or sweep─▶ Room (one a tenant) ─▶ Member (one a socket) ─▶ the wire

The database is the source and Redis is not in the path. An event is read and encoded once for
all sockets of its tenant. A socket that comes back is first told what it missed, from the
database, and joins the others when nothing is missing any more.
"""

import asyncio
import logging
import signal
from collections import defaultdict, deque
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec
import psycopg
from psycopg import sql

from apps.core.events import CHANNEL as EVENTS
from apps.marketdata.feed import CHANNEL as BARS
from apps.portal.journal import BarEntry, Journal, address
from apps.portal.tickets import Holder

SWEEP_S: Final = 1.0
# A member who was put out is cut off within this and a sweep, whether Redis is there or not.
CHECK_S: Final = 3.0
HEARTBEAT_S: Final = 30.0
LONGEST_PAUSE_S: Final = 5.0
# What may wait for one socket before it is taken for too slow, and comes back by `since`.
MOST_WAITING: Final = 2_000
MOST_BARS_WAITING: Final = 256
MOST_SOCKETS_PER_USER: Final = 20

TOO_SLOW, BROKEN, REVOKED = 1013, 1011, 4403
HEARTBEAT = '{"type":"heartbeat","seq":null,"data":{}}'

log = logging.getLogger("pinelab.live")


class Member:
    """One socket: who it belongs to, what it was told, and what waits to be told."""

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        # The last event that was put in line for this socket.
        self.position = 0
        self.bars: set[UUID] = set()
        self.ready = asyncio.Event()
        self.drained = asyncio.Event()
        self.closing: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting: deque[str] = deque()
        self._bars_waiting: dict[tuple[UUID, datetime], str] = {}

    def tell(self, text: str) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self.close(TOO_SLOW)
            return
        self._waiting.append(text)
        self.ready.set()

    def tell_event(self, sequence: int, text: str) -> None:
        if sequence > self.position:
            self.position = sequence
            self.tell(text)

    def tell_bar(self, bar: BarEntry) -> None:
        """Only the newest state of a bar waits: a slow socket misses steps, never a close."""
        key = (bar.instrument_id, bar.opened_at)
        self._bars_waiting.pop(key, None)
        if len(self._bars_waiting) >= MOST_BARS_WAITING:
            del self._bars_waiting[next(iter(self._bars_waiting))]
        self._bars_waiting[key] = bar.text
        self.ready.set()

    def take(self) -> list[str]:
        """Everything that waits; afterwards nothing does."""
        texts = [*self._waiting, *self._bars_waiting.values()]
        self._waiting.clear()
        self._bars_waiting.clear()
        self.ready.clear()
        return texts

    def close(self, code: int) -> None:
        if not self.closing.done():
            self.closing.set_result(code)


class Room:
    """The sockets of one tenant."""

    def __init__(self, tenant_id: UUID, journal: Journal, head: int) -> None:
        self.tenant_id = tenant_id
        self.members: set[Member] = set()
        self.bell = asyncio.Event()
        self._journal = journal
        # The last event that those who are up to date were told.
        self._sent = head
        self._live: set[Member] = set()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)

    def leave(self, member: Member) -> None:
        self.members.discard(member)
        self._live.discard(member)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def follow(self, member: Member, since: int) -> None:
        """Tell a socket what it has not seen, then everything that comes, without gap or repeat."""
        self._live.discard(member)
        member.position = min(since, await self._head())
        while True:
            page = await self._page(member.position)
            for entry in page:
                member.tell_event(*entry)
            # No await from here to joining: nothing can be told in between.
            if member.position >= self._sent:
                self._live.add(member)
                return
            if page:
                member.drained.clear()
                await member.drained.wait()

    async def _head(self) -> int:
        while True:
            try:
                return await self._journal.head(self.tenant_id)
            except psycopg.OperationalError:
                await asyncio.sleep(SWEEP_S)

    async def _page(self, after: int) -> list[tuple[int, str]]:
        while True:
            try:
                return [*await self._journal.page(self.tenant_id, after)]
            except psycopg.OperationalError:
                await asyncio.sleep(SWEEP_S)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_check = loop.time() + CHECK_S
        while True:
            try:
                await self._pump()
                if loop.time() >= next_check:
                    await self._put_out_the_revoked()
                    next_check = loop.time() + CHECK_S
            except psycopg.OperationalError as error:
                # The sockets stay; what happens meanwhile is told afterwards.
                log.warning("the database is away (%s)", type(error).__name__)
            await self._rung()

    async def _rung(self) -> None:
        try:
            async with asyncio.timeout(SWEEP_S):
                await self.bell.wait()
        except TimeoutError:
            pass
        self.bell.clear()

    async def _pump(self) -> None:
        while page := await self._journal.page(self.tenant_id, self._sent):
            for sequence, text in page:
                for member in self._live:
                    member.tell_event(sequence, text)
                self._sent = sequence

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (fault := task.exception()):
            log.error("the room of %s broke", self.tenant_id, exc_info=fault)
            for member in self.members:
                member.close(BROKEN)

    async def _put_out_the_revoked(self) -> None:
        members = list(self.members)
        good = await self._journal.admitted(self.tenant_id, [each.holder for each in members])
        for member in members:
            if member.holder not in good:
                member.close(REVOKED)


class Hub:
    """All sockets of this process."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.is_listening = False
        self._rooms: dict[UUID, Room] = {}
        self._watchers: dict[UUID, set[Member]] = defaultdict(set)
        self._per_user: dict[int, int] = defaultdict(int)
        self._forming: set[UUID] = set()
        self._closed: set[tuple[UUID, int, datetime]] = set()
        self._bars_rung = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        await self.journal.open()
        steps = (self._listen(), self._tell_bars(), self._beat())
        self._tasks = [asyncio.create_task(step) for step in steps]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(room.close() for room in self._rooms.values()))
        await self.journal.close()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (fault := task.exception()):
            # Half a hub would look alive and tell nothing: the supervisor starts a whole one.
            log.error("the hub broke", exc_info=fault)
            signal.raise_signal(signal.SIGTERM)

    def has_place_for(self, user_id: int) -> bool:
        return self._per_user[user_id] < MOST_SOCKETS_PER_USER

    def enter(self, member: Member, head: int) -> Room:
        """Give a socket its place among those of its tenant.

        Args:
            head: the number of the newest event that is known; later ones are told.
        """
        tenant_id = member.holder.tenant_id
        room = self._rooms.get(tenant_id)
        if room is None:
            room = self._rooms[tenant_id] = Room(tenant_id, self.journal, head)
        room.members.add(member)
        self._per_user[member.holder.user_id] += 1
        return room

    async def leave(self, member: Member) -> None:
        tenant_id, user_id = member.holder.tenant_id, member.holder.user_id
        self.watch(member, set())
        self._per_user[user_id] -= 1
        if self._per_user[user_id] <= 0:
            del self._per_user[user_id]
        room = self._rooms[tenant_id]
        room.leave(member)
        if not room.members:
            del self._rooms[tenant_id]
            await room.close()

    def watch(self, member: Member, instruments: set[UUID]) -> None:
        """Tell a socket the bars of these instruments, and of no others."""
        for gone in member.bars - instruments:
            self._watchers[gone].discard(member)
            if not self._watchers[gone]:
                del self._watchers[gone]
        for instrument_id in instruments:
            self._watchers[instrument_id].add(member)
        member.bars = instruments

    async def _listen(self) -> None:
        pause = SWEEP_S / 2
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    address(), autocommit=True
                ) as connection:
                    for channel in (EVENTS, BARS):
                        await connection.execute(
                            sql.SQL("LISTEN {}").format(sql.Identifier(channel))
                        )
                    self.is_listening, pause = True, SWEEP_S / 2
                    # What rang before we listened is found by looking.
                    for room in self._rooms.values():
                        room.bell.set()
                    async for notice in connection.notifies():
                        self._hear(notice)
            except psycopg.OperationalError as error:
                log.warning("the bell is away (%s); the sweep goes on", type(error).__name__)
            self.is_listening = False
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _hear(self, notice: psycopg.Notify) -> None:
        if notice.channel == EVENTS:
            if room := self._rooms.get(UUID(notice.payload)):
                room.bell.set()
            return
        news = msgspec.json.decode(notice.payload)
        instrument_id = UUID(news["i"])
        if instrument_id not in self._watchers:
            return
        self._forming.add(instrument_id)
        if news["k"] == "close":
            self._closed.add((instrument_id, news["s"], datetime.fromtimestamp(news["t"], UTC)))
        self._bars_rung.set()

    async def _tell_bars(self) -> None:
        while True:
            await self._bars_rung.wait()
            self._bars_rung.clear()
            forming, self._forming = self._forming, set()
            closed, self._closed = self._closed, set()
            try:
                bars = await self.journal.bars(forming, closed)
            except psycopg.OperationalError as error:
                # A chart fetches what it missed when the line is back.
                log.warning("bars were not told (%s)", type(error).__name__)
                continue
            for bar in bars:
                for member in self._watchers.get(bar.instrument_id, ()):
                    member.tell_bar(bar)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            for room in self._rooms.values():
                for member in room.members:
                    member.tell(HEARTBEAT)
