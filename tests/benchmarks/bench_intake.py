"""How many alerts a second the intake takes in, committed, beside its PostgreSQL.

    python -m tests.benchmarks --only intake

Server, database and sender share this machine; fsync is on. Every 202 is counted against the
rows that are there afterwards.
"""

import hashlib
import json
import multiprocessing
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg

from tests import servers
from tests.benchmarks.load import Measured, send

TENANTS = 500
WORKERS = 2
THRESHOLD = 3_000  # alerts per second
P99_MS = 50.0
BURST_MS = 1_000.0
SECONDS = 8.0


def main() -> int:
    database = servers.database("bench")
    assert database.admin_url
    urls = {"hooks": database.databases.hooks, "ops": database.databases.ops}
    return measure(database.admin_url, urls)


def measure(admin_url: str, urls: dict[str, str]) -> int:
    """Run everything and print the result.

    Args:
        admin_url: by which the endpoints are made and the rows counted.
        urls: the addresses of the roles ``hooks`` and ``ops``.
    """
    with psycopg.connect(admin_url, autocommit=True) as admin:
        tokens = make_endpoints(admin)
        before = stored(admin)
        with intake(urls["hooks"]) as port:
            run("closed_loop", port, tokens, connections=64, seconds=2.0)  # warm
            warm = stored(admin)
            fastest = run("closed_loop", port, tokens, connections=128, seconds=SECONDS)
            steady = run("steady", port, tokens, connections=128, rate=1_000, seconds=SECONDS)
            burst = run("burst", port, tokens, connections=500, requests=2_000)
        lost = fastest.accepted + steady.accepted + burst.accepted - (stored(admin) - warm)
        with plain_django(urls["ops"]) as port:
            run("closed_loop", port, tokens, connections=16, seconds=2.0)
            plain = run("closed_loop", port, tokens, connections=128, seconds=SECONDS)
        assert before < warm
    value = fastest.accepted / fastest.seconds
    reference = plain.accepted / plain.seconds
    refused = [r.statuses.total() - r.accepted for r in (fastest, steady, burst)]
    burst_ms = round(1000 * burst.seconds, 1)
    result = {
        "bench": "intake",
        "value": round(value),
        "unit": "alerts/s",
        "reference": round(reference),
        "ratio": round(value / reference, 2),
        "threshold": THRESHOLD,
        "ok": value >= THRESHOLD
        and steady.quantile_ms(0.99) < P99_MS
        and burst_ms <= BURST_MS
        and lost == 0
        and not any(refused),
        "p50_ms_at_1000": steady.quantile_ms(0.5),
        "p99_ms_at_1000": steady.quantile_ms(0.99),
        "p99_ms_at_most": fastest.quantile_ms(0.99),
        "burst_ms": burst_ms,
        "refused": sum(refused),
        "lost": lost,
    }
    say(json.dumps(result))
    return 0 if result["ok"] else 1


def run(kind: str, port: int, tokens: list[str], **options: float) -> Measured:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        measured = pool.apply(send, (kind, port, tokens, options))
    statuses = {status.decode(): n for status, n in measured.statuses.items()}
    say(
        f"{kind}: {measured.accepted / measured.seconds:,.0f}/s in {measured.seconds:.2f} s, "
        f"p50 {measured.quantile_ms(0.5)} ms, p99 {measured.quantile_ms(0.99)} ms, {statuses}"
    )
    return measured


def make_endpoints(admin: "psycopg.Connection[tuple[object, ...]]") -> list[str]:
    tokens = [secrets.token_urlsafe(32) for _ in range(TENANTS)]
    with admin.transaction(), admin.cursor() as cursor:
        for token in tokens:
            tenant = uuid4()
            cursor.execute(
                "INSERT INTO accounts_tenant (id, name, created_at) VALUES (%s, 'bench', now())",
                [tenant],
            )
            cursor.execute(
                "INSERT INTO webhooks_endpoint (id, tenant_id, name, token_digest, token_hint,"
                " max_age_s, is_paused, created_at)"
                " VALUES (%s, %s, 'bench', %s, '', 60, false, now())",
                [uuid4(), tenant, hashlib.sha256(token.encode()).digest()],
            )
    return tokens


def stored(admin: "psycopg.Connection[tuple[object, ...]]") -> int:
    row = admin.execute("SELECT count(*) FROM webhooks_alert").fetchone()
    assert row
    return int(str(row[0]))


@contextmanager
def intake(url: str) -> Iterator[int]:
    port = free_port()
    environment = {
        "DATABASE_HOOKS_URL": url,
        "PINELAB_HOOKS_PORT": str(port),
        "PINELAB_HOOKS_WORKERS": str(WORKERS),
        # The rate limit is not what is measured.
        "PINELAB_HOOKS_RATE": "100000",
        "PINELAB_HOOKS_BURST": "100000",
    }
    with process([sys.executable, "-m", "apps.webhooks.intake"], environment, port):
        yield port


@contextmanager
def plain_django(url: str) -> Iterator[int]:
    port = free_port()
    command = [
        *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1"),
        *("--port", str(port), "--workers", str(WORKERS), "--blocking-threads", "8"),
        *("--backpressure", "256", "--log-level", "warning", "--no-ws"),
        "tests.benchmarks.plain_wsgi:application",
    ]
    needed = {"SECRET_KEY": "-", "TENANT_CONTEXT_KEY": "-", "REDIS_URL": "-", "DATABASE_URL": url}
    with process(command, {**needed, "DATABASE_OPS_URL": url}, port):
        yield port


@contextmanager
def process(command: list[str], environment: dict[str, str], port: int) -> Iterator[None]:
    child = subprocess.Popen(command, env={**os.environ, **environment})  # noqa: S603
    try:
        wait_for(port)
        yield
    finally:
        child.terminate()
        child.wait(20)


def wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            # The second worker takes a moment longer.
            time.sleep(1.0)
            return
    raise TimeoutError(f"nothing listens on port {port}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
