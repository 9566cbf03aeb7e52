"""The live socket: a ticket opens it, a subscription starts it, the hub feeds it.

browser: {"type": "subscribe", "channels": ["events", "bars:<instrument>"], "since": 41}
server:  {"type": "event", "seq": 42, "data": {...}}, and so on in order, without a gap
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import ParseResult, parse_qs
from uuid import UUID

import msgspec
import psycopg
from channels.security.websocket import OriginValidator
from django.conf import settings
from redis.exceptions import RedisError

from apps.portal import tickets
from apps.portal.hub import HEARTBEAT_S, Hub, Member, Room

LARGEST_MESSAGE: Final = 16 * 1024
MOST_BAR_CHANNELS: Final = 50
CLOSE_PATIENCE_S: Final = 2.0
# Each subscription is a read of the log; a page sends one, and one more for each chart.
MOST_SAID, SAID_WITHIN_S = 60, 30.0
TOO_LARGE, TOO_TALKATIVE, TOO_MANY_SOCKETS = 1009, 1008, 4429

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_hub: Hub | None = None


class Subscribe(msgspec.Struct, tag_field="type", tag="subscribe"):
    """What a client asks for; ``since`` is the last event it has, null for "from now on"."""

    channels: list[str]
    since: int | None = None


class KnownOrigins(OriginValidator):  # type: ignore[misc]
    """Browsers connect from our own pages only; programs send no Origin, and have a ticket too."""

    def valid_origin(self, parsed_origin: ParseResult | None) -> bool:
        return parsed_origin is None or bool(self.validate_origin(parsed_origin))


def known_origins(application: Application) -> Application:
    validator: Application = KnownOrigins(application, settings.ALLOWED_HOSTS)
    return validator


async def lifespan(scope: Message, receive: Receive, send: Send) -> None:
    """Open the hub when the process starts, and close it when it stops."""
    global _hub
    await receive()
    _hub = Hub()
    await _hub.open()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await _hub.close()
    await send({"type": "lifespan.shutdown.complete"})


async def health(scope: Message, receive: Receive, send: Send) -> None:
    """Alive while it answers; ready while it listens to the database."""
    is_ready = _hub is not None and _hub.is_listening
    status = {"/health/live": 200, "/health/ready": 200 if is_ready else 503}.get(
        scope["path"], 404
    )
    body = msgspec.json.encode({"database": is_ready})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def socket(scope: Message, receive: Receive, send: Send) -> None:
    """One connection from its ticket to its end."""
    hub = _hub
    if hub is None:
        raise RuntimeError("the live process was started without its lifespan")
    await receive()
    try:
        holder = await tickets.redeem(_ticket(scope))
        if holder is None or not await hub.journal.admitted(holder.tenant_id, [holder]):
            await send({"type": "websocket.close"})
            return
        head = await hub.journal.head(holder.tenant_id)
    except (RedisError, psycopg.OperationalError):
        await _answer_away(send)
        return
    await send({"type": "websocket.accept"})
    if not hub.has_place_for(holder.user_id):
        await send(_text(error("too_many_sockets", "You have 20 live pages open; close one.")))
        await send({"type": "websocket.close", "code": TOO_MANY_SOCKETS})
        return
    await _serve(hub, Member(holder), head, receive, send)


async def _answer_away(send: Send) -> None:
    await send({"type": "websocket.http.response.start", "status": 503, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b""})


def _ticket(scope: Message) -> str:
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get("ticket", [""])[0]


async def _serve(hub: Hub, member: Member, head: int, receive: Receive, send: Send) -> None:
    conversation = Conversation(hub, hub.enter(member, head), member, head)
    try:
        welcome = {"type": "welcome", "seq": head, "data": {"heartbeat_s": HEARTBEAT_S}}
        member.tell(msgspec.json.encode(welcome).decode())
        tasks = {
            asyncio.create_task(conversation.listen(receive)),
            asyncio.create_task(tell(member, send)),
        }
        ends: set[asyncio.Future[Any]] = {*tasks, member.closing}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        if member.closing.done():
            await _close(send, member.closing.result())
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
    finally:
        conversation.stop()
        await hub.leave(member)


async def _close(send: Send, code: int) -> None:
    # Whoever does not read does not hear that either.
    try:
        async with asyncio.timeout(CLOSE_PATIENCE_S):
            await send({"type": "websocket.close", "code": code})
    except TimeoutError:
        return


async def tell(member: Member, send: Send) -> None:
    """Write what waits for a socket, as fast as it reads; ends when the line does."""
    while True:
        await member.ready.wait()
        for text in member.take():
            try:
                await send(_text(text))
            except OSError:
                return
        member.drained.set()


class Conversation:
    """What one client says, and what is done about it."""

    def __init__(self, hub: Hub, room: Room, member: Member, head: int) -> None:
        self.hub = hub
        self.room = room
        self.member = member
        self.head = head
        self._following: asyncio.Task[None] | None = None
        self._said: deque[float] = deque(maxlen=MOST_SAID)

    async def listen(self, receive: Receive) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            text = message.get("text") or ""
            if len(text) > LARGEST_MESSAGE or message.get("bytes"):
                return self.member.close(TOO_LARGE)
            if self._says_too_much():
                return self.member.close(TOO_TALKATIVE)
            self.hear(text)

        return None

    def _says_too_much(self) -> bool:
        now = asyncio.get_running_loop().time()
        self._said.append(now)
        return len(self._said) == MOST_SAID and now - self._said[0] < SAID_WITHIN_S

    def hear(self, text: str) -> None:
        try:
            asked = msgspec.json.decode(text.encode(), type=Subscribe)
        except msgspec.DecodeError as fault:
            self.member.tell(error("invalid_message", str(fault)))
            return
        if len(asked.channels) > MOST_BAR_CHANNELS or (asked.since or 0) < 0:
            self.member.tell(error("invalid_message", "At most 50 channels, and since from 0 on."))
            return
        if "events" in asked.channels:
            self.follow(self.head if asked.since is None else asked.since)
        self.hub.watch(self.member, self._instruments(asked.channels))

    def follow(self, since: int) -> None:
        self.stop()
        self._following = asyncio.create_task(self.room.follow(self.member, since))

    def stop(self) -> None:
        if self._following:
            self._following.cancel()

    def _instruments(self, channels: list[str]) -> set[UUID]:
        found = set()
        for channel in channels:
            if channel == "events":
                continue
            try:
                found.add(_instrument(channel))
            except ValueError:
                self.member.tell(error("unknown_channel", f"There is no channel {channel[:80]}."))
        return found


def _instrument(channel: str) -> UUID:
    topic, _, name = channel.partition(":")
    if topic != "bars":
        raise ValueError(channel)
    return UUID(name)


def error(code: str, message: str) -> str:
    body = {"type": "error", "seq": None, "data": {"code": code, "message": message}}
    return msgspec.json.encode(body).decode()


def _text(text: str) -> Message:
    return {"type": "websocket.send", "text": text}
