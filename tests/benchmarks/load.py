"""A sender of alerts as cheap as Python allows, in a process of its own.

Keep-alive connections, requests made beforehand, answers read only as far as their status. What
it spends is taken from the server that it measures, because both share the machine.
"""

import asyncio
import secrets
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import cast

import uvloop

BODY = (
    b'{"ticker":"BTCUSDT","exchange":"BINANCE","interval":"15","action":"buy","quantity":"0.25",'
    b'"price":"64250.10","position":"long","position_size":"0.25","prev_position":"flat",'
    b'"order_id":"Long","bar_time":"2026-01-05T14:15:00Z","fired_at":"2026-01-05T14:30:00Z",'
    b'"comment":"breakout above the upper band, confirmed by volume and by the higher interval",'
    b'"id":"BTCUSDT-15-%d"}'
)
# No two runs send the same bytes, which would be repeats.
numbers = count(secrets.randbelow(10**12) * 1000)


@dataclass(slots=True)
class Measured:
    """What one run saw."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[bytes] = field(default_factory=Counter)

    @property
    def accepted(self) -> int:
        return self.statuses[b"202"]

    def quantile_ms(self, fraction: float) -> float:
        ordered = sorted(self.latencies)
        place = min(len(ordered) - 1, int(fraction * len(ordered)))
        return round(1000 * ordered[place], 1) if ordered else float("nan")


def request(token: str, number: int) -> bytes:
    body = BODY % number
    return (
        b"POST /hooks/%b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"User-Agent: load\r\nContent-Length: %d\r\n\r\n%b" % (token.encode(), len(body), body)
    )


class Sender(asyncio.Protocol):
    """One connection, one request on its way at a time."""

    def __init__(self, run: "Run") -> None:
        self.run = run
        self.transport: asyncio.Transport
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, content: bytes, due: float) -> None:
        self.due = due
        self.transport.write(content)

    def data_received(self, data: bytes) -> None:
        # Head and body may come in two pieces: the head's is the one that counts.
        if data.startswith(b"HTTP/1.1 "):
            self.status = data[9:12]
            if data.endswith(b"\r\n\r\n"):
                return
        self.run.on_answer(self, self.status)

    def connection_lost(self, exc: Exception | None) -> None:
        self.run.on_lost()


@dataclass(slots=True)
class Run:
    """Some connections that work off a supply of requests."""

    supply: Iterator[tuple[float, bytes]]
    measured: Measured = field(default_factory=Measured)
    idle: deque[Sender] = field(default_factory=deque)
    late: deque[tuple[float, bytes]] = field(default_factory=deque)
    open_requests: int = 0
    is_over: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def on_answer(self, sender: Sender, status: bytes) -> None:
        self.measured.latencies.append(time.perf_counter() - sender.due)
        self.measured.statuses[status] += 1
        self.open_requests -= 1
        if self.late:
            due, content = self.late.popleft()
            self.give(sender, content, due)
        else:
            self.idle.append(sender)
        self.feed()

    def on_lost(self) -> None:
        if self.done.is_set():
            return
        self.measured.statuses[b"lost"] += 1
        self.done.set()

    def give(self, sender: Sender, content: bytes, due: float) -> None:
        self.open_requests += 1
        sender.send(content, due)

    def feed(self) -> None:
        """Hand out what is due now."""
        while self.idle and not self.is_over:
            entry = next(self.supply, None)
            if entry is None:
                self.is_over = True
                break
            due, content = entry
            self.give(self.idle.popleft(), content, due or time.perf_counter())
        if self.is_over and self.open_requests == 0 and not self.late:
            self.done.set()


async def connect(run: Run, port: int, connections: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        _, sender = await loop.create_connection(lambda: Sender(run), "127.0.0.1", port)
        run.idle.append(sender)


async def closed_loop(
    port: int, tokens: list[str], *, connections: int, seconds: float
) -> Measured:
    """As many as it takes: every connection sends again as soon as it is answered."""
    until = time.perf_counter() + seconds

    def supply() -> Iterator[tuple[float, bytes]]:
        while time.perf_counter() < until:
            number = next(numbers)
            yield 0.0, request(tokens[number % len(tokens)], number)

    run = Run(supply())
    await connect(run, port, connections)
    return await finish(run)


async def burst(port: int, tokens: list[str], *, connections: int, requests: int) -> Measured:
    """So many requests, all due now."""
    ready = [request(tokens[i % len(tokens)], next(numbers)) for i in range(requests)]
    run = Run(iter([]))
    await connect(run, port, connections)
    now = time.perf_counter()
    run.supply = ((now, content) for content in ready)
    return await finish(run)


async def steady(
    port: int, tokens: list[str], *, connections: int, rate: float, seconds: float
) -> Measured:
    """At this rate whatever the answers take; a latency counts from when a request was due."""
    run = Run(iter([]))
    await connect(run, port, connections)
    began = time.perf_counter()
    total = int(rate * seconds)
    sent = 0
    while sent < total:
        now = time.perf_counter()
        while sent < total and began + sent / rate <= now:
            number = next(numbers)
            entry = (began + sent / rate, request(tokens[number % len(tokens)], number))
            if run.idle:
                run.give(run.idle.popleft(), entry[1], entry[0])
            else:
                run.late.append(entry)
            sent += 1
        await asyncio.sleep(0.001)
    return await finish(run, began)


async def finish(run: Run, began: float | None = None) -> Measured:
    began = began or time.perf_counter()
    run.feed()
    async with asyncio.timeout(120):
        await run.done.wait()
    run.measured.seconds = time.perf_counter() - began
    for sender in run.idle:
        sender.transport.close()
    await asyncio.sleep(0.01)
    return run.measured


def send(kind: str, port: int, tokens: list[str], options: dict[str, float]) -> Measured:
    """Run one of the three above in this process."""
    kinds = {"closed_loop": closed_loop, "burst": burst, "steady": steady}
    measured: Measured = uvloop.run(kinds[kind](port, tokens, **options))  # type: ignore[operator]
    return measured
