"""How soon a committed event is a message in two hundred browsers.

    python -m tests.benchmarks --only live

The live process runs as it does in service. Beside it, for comparison, stands a plain WebSocket
server that says the same message to as many sockets, with no database behind it.
"""

import asyncio
import json
import multiprocessing
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests import servers
from tests.benchmarks.bench_intake import free_port

SOCKETS = 200
PER_S = 50
SECONDS = 8.0
WARM_S = 1.0
THRESHOLD_MS = 200.0


def main() -> int:
    own = servers.database("bench")
    os.environ |= own.environment()
    tickets = prepare()
    plain = asyncio.run(measure_plain())
    live = asyncio.run(measure_live(own.environment(), *tickets))
    p99, reference = quantile(live, 0.99), quantile(plain, 0.99)
    expected = int(SOCKETS * PER_S * (SECONDS - WARM_S))
    result = {
        "bench": "live",
        "value": p99,
        "unit": "ms",
        "reference": reference,
        "ratio": round(p99 / reference, 2),
        "threshold": THRESHOLD_MS,
        "ok": p99 < THRESHOLD_MS and len(live) >= expected,
        "p50": quantile(live, 0.5),
        "p50_reference": quantile(plain, 0.5),
        "sockets": SOCKETS,
        "events_per_s": PER_S,
        "messages": len(live),
    }
    sys.stdout.write(f"{json.dumps(result)}\n")
    return 0 if result["ok"] else 1


def prepare() -> tuple[list[str], str]:
    """Members of one tenant, as many tickets as sockets, and the tenant's id."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pinelab.settings")
    django.setup()
    from django.contrib.sessions.backends.cached_db import SessionStore
    from django.db import connections

    from apps.accounts import identity
    from apps.portal import hub, tickets
    from tests.factories import make_member, make_tenant

    tenant = make_tenant("owner@example.com", "Bench")
    users = [
        make_member(tenant, f"member{n}@example.com", "viewer")
        for n in range(-(-SOCKETS // hub.MOST_SOCKETS_PER_USER))
    ]
    found = []
    for n in range(SOCKETS):
        who = identity.of_session(users[n % len(users)])
        assert who
        session = SessionStore()
        session.create()
        found.append(tickets.issue(who, session=session.session_key))
    connections.close_all()
    return found, str(tenant.pk)


async def measure_live(environment: dict[str, str], tickets: list[str], tenant: str) -> list[float]:
    from pinelab.processes import PROCESSES

    command = next(process.command for process in PROCESSES if process.name == "live")
    port = free_port()
    words = command.format(host="127.0.0.1", port=port, var=environment["PINELAB_VAR"])
    child = await asyncio.create_subprocess_exec(
        sys.executable, *words.split(), env={**os.environ, **environment}
    )
    try:
        await until_open(port)
        addresses = [f"ws://127.0.0.1:{port}/ws/v1/?ticket={ticket}" for ticket in tickets]
        async with sockets(addresses) as lines:
            for line in lines:
                await line.recv()
                await line.send('{"type":"subscribe","channels":["events"],"since":0}')
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                writing = pool.apply_async(write_events, (tenant,))
                return await listen(lines, writing)
    finally:
        child.terminate()
        await child.wait()


async def listen(lines: list[Any], writing: Any) -> list[float]:
    """Milliseconds from each commit to each socket's message."""
    heard: list[tuple[float, int]] = []

    async def one(line: Any) -> None:
        async for text in line:
            now = time.time()
            message = json.loads(text)
            if message["type"] == "event":
                heard.append((now, message["seq"]))

    tasks = [asyncio.create_task(one(line)) for line in lines]
    while not writing.ready():
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)
    for task in tasks:
        task.cancel()
    committed: list[float] = writing.get()
    # By number, so that a single message that never came is missed.
    return [1000 * (at - committed[number - 1]) for at, number in heard if number > PER_S * WARM_S]


def write_events(tenant_id: str) -> list[float]:
    """Append events at a steady rate, one transaction each; returns when each had committed."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pinelab.settings")
    django.setup()
    from uuid import UUID

    from django.utils import timezone

    from apps.core import events
    from apps.core.ids import uuid7
    from apps.core.tenancy import acting_for

    committed = []
    began = time.time()
    for n in range(int(PER_S * SECONDS)):
        time.sleep(max(0.0, began + n / PER_S - time.time()))
        with acting_for(UUID(tenant_id)):
            events.append(
                kind="order.filled",
                subject="order",
                subject_id=uuid7(),
                at=timezone.now(),
                text="Bought 0.01 BTCUSD at 58,334.0",
                payload={"price": "58334.0", "quantity": "0.01", "fee": "0.58"},
            )
        committed.append(time.time())
    return committed


async def measure_plain() -> list[float]:
    """The same message to as many sockets of a plain server in a process of its own."""
    port = free_port()
    child = multiprocessing.get_context("spawn").Process(target=serve_plain, args=(port,))
    child.start()
    try:
        await until_open(port)
        async with sockets([f"ws://127.0.0.1:{port}/"] * SOCKETS) as lines:
            heard: list[float] = []

            async def one(line: Any) -> None:
                async for text in line:
                    now = time.time()
                    heard.append(1000 * (now - json.loads(text)["data"]["sent"]))

            tasks = [asyncio.create_task(one(line)) for line in lines]
            await asyncio.sleep(SECONDS)
            for task in tasks:
                task.cancel()
            return heard[int(SOCKETS * PER_S * WARM_S) :]
    finally:
        child.terminate()
        child.join(10)


def serve_plain(port: int) -> None:
    asyncio.run(speak_plain(port))


async def speak_plain(port: int) -> None:
    from websockets.asyncio.server import broadcast, serve

    async with serve(lambda line: line.wait_closed(), "127.0.0.1", port) as server:
        for n in range(10**9):
            await asyncio.sleep(1 / PER_S)
            if len(server.connections) < SOCKETS:
                continue
            data = {
                "sent": time.time(),
                "text": "Bought 0.01 BTCUSD at 58,334.0",
                "kind": "x" * 200,
            }
            broadcast(server.connections, json.dumps({"type": "event", "seq": n, "data": data}))


@asynccontextmanager
async def sockets(addresses: list[str]) -> AsyncIterator[list[Any]]:
    from websockets.asyncio.client import connect

    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(connect(address, open_timeout=30, max_queue=None))
            for address in addresses
        ]


async def until_open(port: int) -> None:
    for _ in range(300):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise TimeoutError(f"nothing listens on port {port}")


def quantile(values: list[float], fraction: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(fraction * len(ordered)))], 1)


if __name__ == "__main__":
    sys.exit(main())
