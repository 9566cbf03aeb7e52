"""Senders that follow TradingView's rules, and a ledger of every request and every answer."""

import asyncio
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.chaos.cast import SYMBOLS, Player

# TradingView cancels after three seconds and resends after a 5xx only: after five seconds, at
# most three times. The pause is shortened; nothing is resent after silence.
GIVES_UP_S = 3.0
RESENDS = 3
PAUSE_S = 0.3
SERVER_FAULT = 500

numbers = itertools.count(time.time_ns())


@dataclass(frozen=True, slots=True)
class Sent:
    """One request and its answer; status 0 where there was none."""

    token: str
    body: bytes
    status: int
    seconds: float
    answer: bytes = b""

    @property
    def is_acked(self) -> bool:
        return 200 <= self.status < 300

    @property
    def alert_id(self) -> str:
        return str(json.loads(self.answer)["id"])

    @property
    def is_duplicate(self) -> bool:
        return bool(json.loads(self.answer)["duplicate"])


@dataclass
class Ledger:
    """Everything that was sent, in the order of the answers."""

    sends: list[Sent] = field(default_factory=list)

    @property
    def acked(self) -> set[str]:
        """Identifiers of the alerts that were answered with success."""
        return {sent.alert_id for sent in self.sends if sent.is_acked}

    @property
    def statuses(self) -> Counter[int]:
        return Counter(sent.status for sent in self.sends)

    @property
    def slowest_s(self) -> float:
        return max((sent.seconds for sent in self.sends), default=0.0)

    def summary(self) -> str:
        figures = ", ".join(f"{count}x {status}" for status, count in self.statuses.most_common())
        return f"{len(self.sends)} sent ({figures}), {len(self.acked)} alerts acknowledged"


class Line:
    """One keep-alive connection, opened again when it is lost."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter | None = None

    async def post(self, token: str, body: bytes) -> Sent:
        """Send once and read the answer, or give up."""
        began = time.monotonic()
        status, answer = 0, b""
        try:
            async with asyncio.timeout(GIVES_UP_S):
                status, answer = await self._exchange(request(token, body))
        except (OSError, EOFError, TimeoutError, ValueError):
            self.close()
        return Sent(token, body, status, time.monotonic() - began, answer)

    async def _exchange(self, content: bytes) -> tuple[int, bytes]:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(content)
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        answer = await self.reader.readexactly(length) if length else b""
        if b"connection: close" in lines:
            self.close()
        return int(head[9:12]), answer

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


def request(token: str, body: bytes) -> bytes:
    return (
        b"POST /hooks/%b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (token.encode(), len(body), body)
    )


@dataclass
class Load:
    """Some senders in a thread of their own, which ends when told to or when all is sent.

    Attributes:
        pause_s: between two alerts of one sender.
        most: alerts of one sender; the load is bounded in count as well as in time.
    """

    port: int
    ledger: Ledger = field(default_factory=Ledger)
    pause_s: float = 0.05
    most: int = 10_000
    is_over: threading.Event = field(default_factory=threading.Event)

    def each(self, players: Iterable[Player], *, senders: int) -> None:
        """Alerts of all players over so many lines, until told to stop."""
        asyncio.run(self._each(list(players), senders))

    async def _each(self, players: list[Player], senders: int) -> None:
        await asyncio.gather(
            *(
                self._send_on(alerts(players[number % len(players)], salt=number))
                for number in range(senders)
            )
        )

    async def _send_on(self, supply: "Iterator[tuple[str, bytes]]") -> None:
        line = Line(self.port)
        for token, body in itertools.islice(supply, self.most):
            if self.is_over.is_set():
                break
            await self.deliver(line, token, body)
            await asyncio.sleep(self.pause_s)
        line.close()

    async def deliver(self, line: Line, token: str, body: bytes) -> Sent:
        """One alert as TradingView sends it: again after a 5xx, at most three times."""
        sent = await line.post(token, body)
        self.ledger.sends.append(sent)
        for _ in range(RESENDS):
            if sent.status < SERVER_FAULT:
                break
            await asyncio.sleep(PAUSE_S)
            sent = await line.post(token, body)
            self.ledger.sends.append(sent)
        return sent


def alerts(player: Player, *, salt: int = 0) -> "Iterator[tuple[str, bytes]]":
    """One strategy's alerts without end: in, with a bracket now and then, and out again.

    Each has an instrument and a strategy of its own sender, so that no order is lost because
    two senders overtook one another.
    """
    symbol = SYMBOLS[salt % len(SYMBOLS)]
    for number in itertools.count():
        action = ("buy", "sell", "buy", "close")[number % 4]
        extra = {}
        if number % 8 == 2:
            extra = {"price": "100", "stop_loss": "80", "take_profit": "120"}
        yield player.token, alert(action, symbol=symbol, strategy=f"S{salt}", **extra)


def alert(action: str = "buy", *, symbol: str = "AAAUSD", **fields: str | None) -> bytes:
    """A body as our own template writes it; no two are equal. None leaves a field out."""
    said: dict[str, str | None] = {
        "ticker": symbol,
        "exchange": "TEST",
        "action": action,
        "quantity": "1",
        "alert_id": str(next(numbers)),
        "timenow": stamp(datetime.now(UTC)),
    }
    said |= fields
    return json.dumps({name: value for name, value in said.items() if value is not None}).encode()


def stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def post_all(port: int, sends: "Iterable[tuple[str, bytes]]", *, lines: int = 16) -> Ledger:
    """Send each once, over so many connections at a time; no resending."""
    return asyncio.run(_post_all(port, list(sends), lines))


async def _post_all(port: int, sends: list[tuple[str, bytes]], lines: int) -> Ledger:
    ledger = Ledger()
    waiting = iter(sends)

    async def work() -> None:
        line = Line(port)
        for token, body in waiting:
            ledger.sends.append(await line.post(token, body))
        line.close()

    await asyncio.gather(*(work() for _ in range(min(lines, len(sends)))))
    return ledger
