"""How many stored alerts a second become orders that the paper broker has accepted?

The real processes, `manage.py pipeline` and `manage.py desk`, with PostgreSQL on the same machine.
First a heap of alerts at once (alerts per second), then 200 a second for ten seconds (how long an
alert takes to its order). The reference takes the alerts one by one, a transaction each.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

HEAP = 10_000
TENANTS = 20
PACE = 200
PACED_S = 10
THRESHOLD = 1_000
THRESHOLD_MS = 250.0


def main() -> int:
    from tests import stage  # starts the servers and sets the environment

    os.environ["DJANGO_SETTINGS_MODULE"] = "pinelab.settings"
    import django

    django.setup()
    import psycopg

    market, endpoints = build()
    with psycopg.connect(stage.STAGE.databases.ops, autocommit=True) as own:
        reference = one_by_one(own, endpoints)
        with running("pipeline"), running("desk"):
            store(own, endpoints, 200, label="warm")
            wait_for_accepted(own, 200)
            market.move_on(own)
            written, accepted = paced(own, endpoints)
            market.move_on(own)
            rate = heap(own, endpoints)
    result = {
        "bench": "pipeline",
        "value": round(rate),
        "unit": "alerts/s",
        "reference": round(reference),
        "ratio": round(rate / reference, 1),
        "threshold": THRESHOLD,
        "ok": rate >= THRESHOLD and percentile(written, 99) <= THRESHOLD_MS,
        "p50_ms_at_200": round(percentile(written, 50), 1),
        "p99_ms_at_200": round(percentile(written, 99), 1),
        "accepted_p99_ms_at_200": round(percentile(accepted, 99), 1),
        "tenants": TENANTS,
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if result["ok"] else 1


class Market:
    """One instrument whose bars open and close when we say so."""

    def __init__(self) -> None:
        from tests.factories import NOON, make_instrument

        self.instrument = make_instrument()
        self.opened_at = NOON
        self._open()

    def _open(self) -> None:
        from apps.core.tenancy import acting_across
        from apps.marketdata import feed

        with acting_across("benchmark: market"):
            feed.open_bar(self.instrument, self.opened_at, Decimal(100))

    def move_on(self, own: Any) -> None:
        """Fill what is open, so that a phase does not begin with the heap of the one before."""
        from apps.core.tenancy import acting_across
        from apps.marketdata import feed

        with acting_across("benchmark: market"):
            feed.close_bar(self.instrument, self.opened_at, Decimal(100))
        self.opened_at += timedelta(minutes=1)
        self._open()
        deadline = time.monotonic() + 60
        while accepted_count(own) and time.monotonic() < deadline:
            time.sleep(0.1)


def build() -> tuple[Market, list[tuple[UUID, UUID]]]:
    """A market, and tenants with an endpoint deployed to a paper account without limits.

    Returns:
        the market; tenant and endpoint ids.
    """
    from apps.core.tenancy import acting_for
    from apps.trading.models import RiskLimits
    from tests.factories import make_account, make_deployment, make_endpoint, make_tenant

    market = Market()
    unlimited = dict.fromkeys(
        field.name for field in RiskLimits._meta.concrete_fields if field.name.startswith("max_")
    )
    made = []
    for number in range(TENANTS):
        tenant = make_tenant(f"t{number}@example.com", f"Tenant {number}")
        endpoint = make_endpoint(tenant, f"token-{number}")
        account = make_account(tenant)
        with acting_for(tenant):
            RiskLimits.objects.create(account=account, price_band=None, **unlimited)
        make_deployment(tenant, endpoint, account)
        made.append((tenant.pk, endpoint.pk))
    return market, made


def body(label: str, number: int) -> bytes:
    """As a strategy's order-fill alert is, with an idempotency id."""
    now = datetime.now(UTC).isoformat()
    return json.dumps(
        {
            "ticker": "BTCUSD",
            "exchange": "TEST",
            "action": "buy" if number % 2 else "sell",
            "quantity": "0.01",
            "price": "100.2",
            "interval": "15",
            "strategy": f"trend-{number}",
            "order_id": f"{label}-{number}",
            "bar_time": "2026-03-02T12:00:00Z",
            "fired_at": now,
        }
    ).encode()


def store(own: Any, endpoints: Sequence[tuple[UUID, UUID]], count: int, *, label: str) -> None:
    """As the intake does: one statement, one commit, one NOTIFY."""
    rows = [(*endpoints[n % len(endpoints)], body(label, n)) for n in range(count)]
    with own.transaction():
        own.execute(
            "INSERT INTO webhooks_alert"
            " (id, tenant_id, endpoint_id, body, content_type, received_at)"
            " SELECT gen_random_uuid(), t, e, b, '', clock_timestamp()"
            " FROM unnest(%s::uuid[], %s::uuid[], %s::bytea[]) AS v (t, e, b)",
            [list(column) for column in zip(*rows, strict=True)],
        )
        own.execute("SELECT pg_notify('pinelab_alerts', '')")


def one_by_one(own: Any, endpoints: Sequence[tuple[UUID, UUID]]) -> float:
    """Alerts a second of the plain way: one alert, one transaction, to the order accepted."""
    from django.utils import timezone

    from apps.signals import pipeline
    from apps.trading import desk

    store(own, endpoints, 150, label="reference")
    pipeline.take(limit=20)
    desk.dispatch(now=timezone.now())
    begun = time.perf_counter()
    for _ in range(100):
        pipeline.take(limit=1)
        desk.dispatch(now=timezone.now())
    elapsed = time.perf_counter() - begun
    while pipeline.take():
        pass
    while desk.dispatch(now=timezone.now()):
        pass
    own.execute("DELETE FROM webhooks_recentbody")
    return 100 / elapsed


@contextlib.contextmanager
def running(name: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "manage.py", name])  # noqa: S603
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def accepted_count(own: Any) -> int:
    row = own.execute("SELECT count(*) FROM trading_order WHERE status = 'accepted'").fetchone()
    return int(row[0])


def wait_for_accepted(own: Any, more: int, *, before: int | None = None) -> None:
    target = (accepted_count(own) if before is None else before) + more
    deadline = time.monotonic() + 120
    while accepted_count(own) < target:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {accepted_count(own)} of {target} orders were accepted")
        # Rarely enough that counting does not take the database's time.
        time.sleep(0.1)


def heap(own: Any, endpoints: Sequence[tuple[UUID, UUID]]) -> float:
    before = accepted_count(own)
    begun = time.perf_counter()
    store(own, endpoints, HEAP, label="heap")
    wait_for_accepted(own, HEAP, before=before)
    return HEAP / (time.perf_counter() - begun)


def paced(own: Any, endpoints: Sequence[tuple[UUID, UUID]]) -> tuple[list[float], list[float]]:
    """Milliseconds from the alert's commit to its order's row, and to its acceptance."""
    seen = Seen(own)
    stored: dict[str, float] = {}
    begun = time.perf_counter()
    sent, total = 0, PACE * PACED_S
    deadline = begun + PACED_S + 30
    while len(seen.accepted) < total and time.perf_counter() < deadline:
        due = min(total, int((time.perf_counter() - begun) * PACE))
        for number in range(sent, due):
            store(own, [endpoints[number % len(endpoints)]], 1, label=f"paced-{number}")
            stored[f"paced-{number}-0"] = time.perf_counter()
        sent = max(sent, due)
        seen.look()
        time.sleep(0.005)
    return (
        [(seen.written[name] - stored[name]) * 1000 for name in stored if name in seen.written],
        [(seen.accepted[name] - stored[name]) * 1000 for name in stored if name in seen.accepted],
    )


class Seen:
    """When orders were first seen written, and accepted: at most one look too late.

    Looks by primary key only, so that looking does not take the database's time.
    """

    def __init__(self, own: Any) -> None:
        self.own = own
        self.newest = own.execute("SELECT id FROM trading_order ORDER BY id DESC").fetchone()[0]
        self.written: dict[str, float] = {}
        self.accepted: dict[str, float] = {}
        self.waiting: dict[UUID, str] = {}

    def look(self) -> None:
        rows = self.own.execute(
            "SELECT o.id, s.reading->>'order_id' FROM trading_order o"
            " JOIN signals_signal s ON s.id = o.signal_id WHERE o.id > %s ORDER BY o.id",
            [self.newest],
        ).fetchall()
        now = time.perf_counter()
        for order_id, name in rows:
            self.newest = order_id
            self.written[name] = now
            self.waiting[order_id] = name
        rows = self.own.execute(
            "SELECT id FROM trading_order WHERE id = ANY(%s) AND status = 'accepted'",
            [list(self.waiting)],
        ).fetchall()
        now = time.perf_counter()
        for (order_id,) in rows:
            self.accepted[self.waiting.pop(order_id)] = now


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    if not ordered:
        return float("inf")
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


if __name__ == "__main__":
    sys.exit(main())
