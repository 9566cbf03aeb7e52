"""The door for alerts: a raw ASGI application that answers once the message is on the disk.

It runs in a process of its own, under a database role that can do nothing else, and imports no
Django. It looks at the token, the size and the rate; what the message says is read later.

    python -m apps.webhooks.intake
"""

import asyncio
import functools
import hashlib
import ipaddress
import os
import re
import resource
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg

from apps.core.ids import uuid7
from apps.webhooks import answers
from apps.webhooks.answers import Answer
from apps.webhooks.groupcommit import Message, NotDurable, NotStored, Store, Stored
from apps.webhooks.metrics import Histogram, exposition
from apps.webhooks.punctual import PunctualHttp
from apps.webhooks.rates import Rates
from apps.webhooks.refusals import Refusals

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOST_BYTES = 128 * 1024
# A sender gives up after three seconds; then our answer is worth nothing.
DEADLINE_S = 2.0
# One that has waited longer could be answered "not stored" and be stored afterwards.
PATIENCE_S = 1.0
# What is left of a message that was refused unread: taken in and thrown away, so that the sender
# reads our answer instead of a reset connection.
MOST_DISCARDED_BYTES = 2 * 2**20
DISCARDING_S = 0.5
MOST_KNOWN_TOKENS = 100_000

HOOK = "/hooks/"
SHARED_PATH = "/api/v1/tradingview/webhook"
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
# A field of JSON or of plain "secret=..." text; every repetition has a bound.
TOKEN_IN_BODY = re.compile(
    rb"\b(?:secret|apikey|passphrase)[\"']?\s{0,8}[:=]\s{0,8}[\"']?([A-Za-z0-9_-]{43})(?![\w-])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Config:
    """What the intake reads from its environment.

    Attributes:
        rate: alerts per second that one tenant may send for long, in each process.
        burst: alerts that one tenant may send at once.
        trusts_proxy: the last hop of X-Forwarded-For is the sender's address.
        connections: commits that may be on their way at once.
    """

    database_url: str
    rate: float = 20.0
    burst: float = 200.0
    trusts_proxy: bool = False
    connections: int = 2
    resend_window: timedelta = timedelta(seconds=30)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Config":
        return cls(
            database_url=environment["DATABASE_HOOKS_URL"],
            rate=float(environment.get("PINELAB_HOOKS_RATE", "20")),
            burst=float(environment.get("PINELAB_HOOKS_BURST", "200")),
            trusts_proxy=environment.get("PINELAB_TRUSTED_PROXY", "0").lower()
            in {"1", "true", "yes", "on"},
            connections=int(environment.get("PINELAB_HOOKS_CONNECTIONS", "2")),
            resend_window=timedelta(
                seconds=float(environment.get("PINELAB_HOOKS_RESEND_WINDOW_S", "30"))
            ),
        )


@dataclass(slots=True)
class Intake:
    """The application with its queue, its rates and its counts."""

    config: Config
    store: Store
    rates: Rates
    refusals: Refusals
    answered: dict[tuple[int, str], int] = field(default_factory=dict)
    seconds: Histogram = field(default_factory=Histogram)
    # Learnt from the database's answers: tokens of one tenant share one rate.
    tenants: dict[bytes, UUID] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config) -> "Intake":
        return cls(
            config=config,
            store=Store(config.database_url, config.resend_window, config.connections),
            rates=Rates(config.rate, config.burst),
            refusals=Refusals(config.database_url),
        )

    async def open(self) -> None:
        await self.store.open()
        self.refusals.open()

    async def close(self) -> None:
        await self.store.close()
        await self.refusals.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        answer = await self.answer(scope, receive)
        if scope["method"] == "POST":
            self.seconds.observe(time.monotonic() - began)
        key = (answer.status, answer.code)
        self.answered[key] = self.answered.get(key, 0) + 1
        await send(answer.start)
        if answer.closes:
            await send({**answer.body, "more_body": True})
            await discard(receive)
            await send({"type": "http.response.body"})
        else:
            await send(answer.body)

    async def answer(self, scope: Scope, receive: Receive) -> Answer:
        path: str = scope["path"]
        if path.startswith(HOOK):
            token = path[len(HOOK) :].rstrip("/")
            if not TOKEN.fullmatch(token):
                return answers.UNKNOWN_TOKEN
            return await self.take(scope, receive, token.encode())
        if path == SHARED_PATH:
            return await self.take(scope, receive, token_in_headers(scope))
        return self.about_itself(path)

    def about_itself(self, path: str) -> Answer:
        match path:
            case "/health/live":
                return answers.ALIVE
            case "/health/ready":
                return answers.ALIVE if self.store.is_ready else answers.NOT_READY
            case "/metrics":
                return answers.plain(self.exposition())
        return answers.NOT_FOUND

    def exposition(self) -> bytes:
        return exposition(
            answered=self.answered,
            seconds=self.seconds,
            waiting=self.store.waiting,
            commits=self.store.commits,
            is_ready=self.store.is_ready,
        )

    async def take(self, scope: Scope, receive: Receive, token: bytes | None) -> Answer:
        """Check, read and store one message.

        Args:
            token: None where it may stand in the body.
        """
        now = time.monotonic()
        digest = hashlib.sha256(token).digest() if token else None
        if refused := self.refused_unread(scope, digest, now):
            return self.noted(digest, refused)
        try:
            async with asyncio.timeout(DEADLINE_S):
                body = await read(receive)
        except TimeoutError:
            return self.noted(digest, answers.TOO_SLOW)
        if body is None:
            return self.noted(digest, answers.TOO_LARGE)
        if token is None or digest is None:
            if (found := TOKEN_IN_BODY.search(body)) is None:
                return answers.NO_TOKEN
            token = found[1]
            digest = hashlib.sha256(token).digest()
            if not self.allows(digest, now):
                return self.noted(digest, answers.TOO_MANY)
        # As long as it was, so that an error's position in the text stays right.
        body = body.replace(token, b"*" * len(token))
        return self.noted(digest, await self.keep(scope, digest, body))

    def allows(self, digest: bytes, now: float) -> bool:
        return self.rates.allows(self.tenants.get(digest, digest), now)

    def refused_unread(self, scope: Scope, digest: bytes | None, now: float) -> Answer | None:
        if scope["method"] != "POST":
            return answers.USE_POST
        if (length := header(scope, b"content-length")) and int(length) > MOST_BYTES:
            return answers.TOO_LARGE
        if digest and not self.allows(digest, now):
            return answers.TOO_MANY
        return None

    async def keep(self, scope: Scope, digest: bytes, body: bytes) -> Answer:
        loop = asyncio.get_running_loop()
        now = loop.time()
        message = Message(
            alert_id=uuid7(),
            digest=digest,
            body=body,
            content_type=printable(header(scope, b"content-type") or b""),
            source_ip=self.source_ip(scope),
            done=loop.create_future(),
            waits_until=now + PATIENCE_S,
        )
        try:
            self.store.put(message)
            async with asyncio.timeout_at(now + DEADLINE_S):
                stored = await message.done
        except NotStored as error:
            return answers.BUSY if error.busy else answers.AWAY
        except TimeoutError:
            return answers.AWAY
        return self.stored(digest, stored)

    def stored(self, digest: bytes, stored: Stored) -> Answer:
        if stored.tenant_id is None:
            return answers.UNKNOWN_TOKEN
        if len(self.tenants) >= MOST_KNOWN_TOKENS:
            self.tenants.clear()
        self.tenants[digest] = stored.tenant_id
        return answers.accepted(stored.alert_id, duplicate=stored.outcome == "repeat")

    def noted(self, digest: bytes | None, answer: Answer) -> Answer:
        if digest and answer.status >= 400 and answer is not answers.UNKNOWN_TOKEN:
            self.refusals.note(digest, answer.code, answer.status)
        return answer

    def source_ip(self, scope: Scope) -> str:
        """The sender's address, empty where it is not known."""
        if self.config.trusts_proxy:
            hops = header(scope, b"x-forwarded-for") or b""
            return address(hops.rpartition(b",")[2].decode("latin-1").strip())
        return address(scope["client"][0]) if scope.get("client") else ""


async def read(receive: Receive) -> bytes | None:
    """The whole body; None when it is larger than allowed, and then the rest stays unread."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > MOST_BYTES:
            return None
        if not message.get("more_body"):
            return b"".join(parts) + part if parts else part
        parts.append(part)


async def discard(receive: Receive) -> None:
    size = 0
    try:
        async with asyncio.timeout(DISCARDING_S):
            while size < MOST_DISCARDED_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


def token_in_headers(scope: Scope) -> bytes | None:
    given = header(scope, b"x-webhook-token")
    if given is None and (authorization := header(scope, b"authorization")):
        scheme, _, given = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return None
    return given.strip() or None if given else None


def header(scope: Scope, name: bytes) -> bytes | None:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def printable(value: bytes) -> str:
    return value.decode("latin-1").replace("\0", "")[:100]


@functools.lru_cache(maxsize=4096)
def address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


class Application:
    """What the server calls; the intake itself begins and ends with the server."""

    intake: Intake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.intake(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.live(receive, send)

    async def live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self.intake = Intake.of(Config.from_environment(os.environ))
            await self.intake.open()
        except (KeyError, ValueError, NotDurable, psycopg.ProgrammingError) as error:
            said = f"the intake does not start: {type(error).__name__}: {error}"
            await send({"type": "lifespan.startup.failed", "message": said})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # The server has seen every request answered before it says so.
        await self.intake.close()
        await send({"type": "lifespan.shutdown.complete"})


application = Application()


def main() -> None:
    import uvicorn

    # A bar close may bring thousands of connections at once.
    most, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, min(allowed, 65_536)), allowed))
    uvicorn.run(
        "apps.webhooks.intake:application",
        host=os.environ.get("PINELAB_HOOKS_HOST", "127.0.0.1"),
        port=int(os.environ.get("PINELAB_HOOKS_PORT", "8001")),
        workers=int(os.environ.get("PINELAB_HOOKS_WORKERS", "1")),
        http=PunctualHttp,
        ws="none",
        lifespan="on",
        backlog=4096,
        limit_concurrency=20_000,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
        # Whom to believe about the sender's address is our own setting.
        proxy_headers=False,
        # The path holds the token.
        access_log=False,
        server_header=False,
        date_header=False,
        log_level="info",
    )


if __name__ == "__main__":
    main()
