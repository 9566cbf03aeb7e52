"""What the pages read, across the rooms below."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from allauth.account.models import EmailAddress
from django.db import connections
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum

from apps.accounts.models import Tenant, User
from apps.core.models import Event
from apps.marketdata import selectors as market
from apps.marketdata.models import Instrument, Quote
from apps.signals import selectors as signal_rows
from apps.signals.models import Decision, Signal
from apps.trading.models import (
    ZERO,
    BrokerAccount,
    Deployment,
    Fill,
    Order,
    Position,
    Trade,
)
from apps.webhooks.models import Alert, Endpoint, Refusal

FEED_ROWS: Final = 30
# What a curl line can be tried with, wherever the demo market runs.
DEMO_TICKER: Final = ("BTCUSD", "DEMO")


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around every page."""

    sequence: int
    is_halted: bool
    halted_at: datetime | None
    reason: str


FRAME: Final = """
SELECT coalesce((SELECT sequence FROM core_eventhead), 0), s.is_halted, s.halted_at, s.reason
FROM (SELECT) AS one LEFT JOIN trading_tradingstate s ON true
"""


def frame() -> Frame:
    """The newest event's number and the kill switch, in one query."""
    with connections["default"].cursor() as cursor:
        cursor.execute(FRAME)
        sequence, is_halted, halted_at, reason = cursor.fetchone()
    return Frame(sequence, bool(is_halted), halted_at if is_halted else None, reason or "")


def feed(limit: int = FEED_ROWS) -> list[Event]:
    """What happened last, newest first."""
    return list(Event.objects.order_by("-sequence")[:limit])


# --- lists ------------------------------------------------------------------------------------


def signals() -> QuerySet[Signal]:
    rows = signal_rows.signals().select_related("instrument", "alert__endpoint")
    return rows.defer("alert__body", "features")


def signals_with_outcome(rows: QuerySet[Signal], outcome: str) -> QuerySet[Signal]:
    decided = Decision.objects.filter(signal=OuterRef("pk"))
    if outcome == "waiting":
        return rows.filter(~Exists(decided))
    return rows.filter(Exists(decided.filter(outcome=outcome)))


def positions() -> QuerySet[Position]:
    rows: QuerySet[Position] = Position.objects.select_related("instrument", "account")
    return rows


def endpoint_names(ids: Iterable[UUID]) -> dict[UUID, str]:
    """Deleted ones too: their signals and deployments are still shown."""
    return dict(Endpoint.objects.filter(pk__in=set(ids)).values_list("pk", "name"))


# --- money ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Holding:
    """A position with what it is worth now.

    Attributes:
        price: the last one known; None before the first.
        value: signed, quote currency; profit likewise, gross and open.
        risk: what is lost if every open stop fills at its price; None where part has no stop.
    """

    position: Position
    price: Decimal | None
    quoted_at: datetime | None
    value: Decimal
    profit: Decimal
    risk: Decimal | None = None

    @property
    def average(self) -> Decimal | None:
        """What was paid, quote currency per unit."""
        paid = self.position.average_price
        return None if paid is None else paid / self.position.instrument.point_value

    @property
    def profit_fraction(self) -> Decimal | None:
        cost = abs(self.position.cost)
        return self.profit / cost if cost else None


def holdings(rows: Iterable[Position]) -> list[Holding]:
    """Positions at the last prices, with the risk to their stops."""
    positions = list(rows)
    quotes = market.quotes({row.instrument_id for row in positions})
    stops = _stops(positions)
    return [
        _holding(row, quotes.get(row.instrument_id), stops.get((row.account_id, row.instrument_id)))
        for row in positions
    ]


def _stops(positions: Collection[Position]) -> dict[tuple[UUID, UUID], list[Order]]:
    found: dict[tuple[UUID, UUID], list[Order]] = {}
    if not positions:
        return found
    rows = Order.objects.filter(
        account__in={row.account_id for row in positions},
        status__in=Order.OPEN,
        reduce_only=True,
        stop_price__isnull=False,
    )
    for order in rows:
        found.setdefault((order.account_id, order.instrument_id), []).append(order)
    return found


def _holding(row: Position, quote: Quote | None, stops: list[Order] | None) -> Holding:
    point = row.instrument.point_value
    # A position keeps its cost at full value, points included.
    price = quote.price if quote else (row.average_price or ZERO) / point
    value = row.quantity * price * point
    return Holding(
        position=row,
        price=quote.price if quote else None,
        quoted_at=quote.received_at if quote else None,
        value=value,
        profit=value - row.cost,
        risk=_risk(row, price, stops or [], point),
    )


def _risk(
    row: Position, price: Decimal, stops: Collection[Order], point: Decimal
) -> Decimal | None:
    covered = sum((order.remaining_quantity for order in stops), ZERO)
    if not row.quantity or covered < abs(row.quantity):
        return None
    side = 1 if row.quantity > 0 else -1
    away = (
        (price - order.stop_price) * side * order.remaining_quantity
        for order in stops
        if order.stop_price is not None
    )
    return max(sum(away, ZERO), ZERO) * point


@dataclass(frozen=True, slots=True)
class Record:
    """How closed trades went; money net of fees, quote currency."""

    count: int
    won: int
    total: Decimal
    gained: Decimal
    lost: Decimal

    @property
    def is_few(self) -> bool:
        return self.count < 30

    @property
    def win_rate(self) -> Decimal | None:
        return Decimal(self.won) / self.count if self.count else None

    @property
    def profit_factor(self) -> Decimal | None:
        return self.gained / -self.lost if self.lost else None

    @property
    def average(self) -> Decimal | None:
        return self.total / self.count if self.count else None

    @property
    def interval(self) -> tuple[float, float]:
        """Of the win rate, 95 %.

        Source: Wilson (1927), "Probable Inference", JASA 22(158).
        """
        n, z = self.count, 1.96
        share = self.won / n if n else 0.0
        middle = share + z * z / (2 * n)
        half = z * ((share * (1 - share) + z * z / (4 * n)) / n) ** 0.5
        return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def record(rows: QuerySet[Trade]) -> Record:
    """The figures of the closed ones among these trades."""
    closed = rows.filter(closed_at__isnull=False).order_by()
    found: dict[str, Any] = closed.aggregate(
        count=Count("pk"),
        won=Count("pk", filter=Q(profit__gt=0)),
        total=Sum("profit"),
        gained=Sum("profit", filter=Q(profit__gt=0)),
        lost=Sum("profit", filter=Q(profit__lt=0)),
    )
    return Record(
        count=found["count"],
        won=found["won"],
        total=found["total"] or ZERO,
        gained=found["gained"] or ZERO,
        lost=found["lost"] or ZERO,
    )


# --- what needs somebody ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Progress:
    """Which first steps are done."""

    is_verified: bool
    has_account: bool
    has_endpoint: bool
    is_deployed: bool
    has_alert: bool
    has_fill: bool

    @property
    def is_done(self) -> bool:
        return self.has_account and self.is_deployed and self.has_alert and self.has_fill


def progress(user: User) -> Progress:
    """The first steps, in one query."""
    row = Tenant.objects.annotate(
        is_verified=Exists(EmailAddress.objects.filter(user=user, verified=True)),
        has_account=Exists(BrokerAccount.objects.all()),
        has_endpoint=Exists(Endpoint.objects.filter(deleted_at=None)),
        is_deployed=Exists(Deployment.objects.filter(is_active=True)),
        has_alert=Exists(Alert.objects.all()),
        has_fill=Exists(Fill.objects.all()),
    ).values(*Progress.__dataclass_fields__)
    return Progress(**row.get())


def orders_in_doubt() -> int:
    return Order.objects.filter(status=Order.Status.UNKNOWN).count()


def rejections(*, since: datetime) -> list[dict[str, Any]]:
    """Why alerts were not traded, the most frequent reason first."""
    rows: QuerySet[Any, Any] = (
        Decision.objects.filter(outcome="rejected", decided_at__gte=since, signal__isnull=False)
        .values("code")
        .annotate(count=Count("pk"))
        .order_by("-count")
    )
    return list(rows[:5])


def refused_requests(*, since: datetime) -> int:
    return Refusal.objects.filter(minute__gte=since).aggregate(n=Sum("count"))["n"] or 0


def endpoints_without_deployment() -> list[Endpoint]:
    deployed = Deployment.objects.filter(source_id=OuterRef("pk"), is_active=True)
    rows = Endpoint.objects.filter(deleted_at=None).filter(~Exists(deployed))
    return list(rows.order_by("pk")[:5])


# --- trying it out ------------------------------------------------------------------------------


def tradable() -> list[Instrument]:
    """Instruments with a price, by name."""
    priced = Quote.objects.filter(instrument=OuterRef("pk"))
    rows = Instrument.objects.filter(Exists(priced), is_active=True)
    return list(rows.order_by("exchange", "symbol"))


def instrument_to_try() -> Instrument | None:
    """The demo market's where it runs, else the first with a price."""
    found = tradable()
    demo = [each for each in found if (each.symbol, each.exchange) == DEMO_TICKER]
    return next(iter([*demo, *found]), None)


def curl_line(url: str, instrument: Instrument | None) -> str:
    """A command that buys a little of an instrument whose price is known."""
    ticker = str(instrument) if instrument else ":".join(reversed(DEMO_TICKER))
    lots = max(instrument.lot_size if instrument else ZERO, Decimal("0.01"))
    body = f'{{"ticker":"{ticker}","action":"buy","quantity":"{lots.normalize():f}"}}'
    return f"curl -X POST {url} -H 'Content-Type: application/json' -d '{body}'"
