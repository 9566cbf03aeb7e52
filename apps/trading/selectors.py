"""Reads of this room: lists with filters, what accounts are worth, the equity curve, histories."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from django.db import connections
from django.db.models import Max, Q, QuerySet

from apps.core.models import Event
from apps.core.tenancy.context import active_scope
from apps.marketdata.models import Quote
from apps.trading import marking
from apps.trading.models import (
    ZERO,
    BrokerAccount,
    Deployment,
    EquityPoint,
    Fill,
    Order,
    Position,
    RiskLimits,
    Trade,
)

Row = TypeVar("Row", Order, Fill, Position, Trade)
CLOSED = ("filled", "canceled", "expired", "rejected", "denied")


@dataclass(frozen=True, slots=True)
class Summary:
    """What an account is worth and risks now; all amounts in the account's currency.

    Attributes:
        day_change: since the equity this UTC day began with.
        drawdown: from the highest equity so far, as a fraction of it.
        risk_to_stops: what is lost from here if every protecting stop fills at its price.
        unprotected: value of what no stop protects.
        margin: gross value of all positions.
    """

    account: BrokerAccount
    equity: Decimal
    cash: Decimal
    day_change: Decimal
    drawdown: Decimal
    risk_to_stops: Decimal
    unprotected: Decimal
    margin: Decimal
    open_positions: int


def accounts() -> QuerySet[BrokerAccount]:
    return BrokerAccount.objects.order_by("name")


def limits_of(account_id: UUID) -> RiskLimits | None:
    return RiskLimits.objects.filter(account=account_id).first()


def deployments(
    *, account_id: UUID | None = None, source_id: UUID | None = None
) -> QuerySet[Deployment]:
    """Deployments that have not ended, newest first."""
    rows = Deployment.objects.filter(ended_at=None).select_related("account").order_by("-id")
    if account_id:
        rows = rows.filter(account=account_id)
    return rows.filter(source_id=source_id) if source_id else rows


def orders(
    *,
    status: str = "all",
    symbols: Iterable[str] = (),
    account_id: UUID | None = None,
    deployment_id: UUID | None = None,
    signal_id: UUID | None = None,
    side: str = "",
    after: datetime | None = None,
    until: datetime | None = None,
) -> QuerySet[Order]:
    """Orders, newest first.

    Args:
        status: open, closed, all, or one of an order's own.
    """
    rows = Order.objects.select_related("instrument", "account").order_by("-id")
    if status in ("open", "closed"):
        rows = rows.filter(status__in=Order.OPEN if status == "open" else CLOSED)
    elif status != "all":
        rows = rows.filter(status=status)
    wanted = Q()
    for name, value in (
        ("account", account_id), ("deployment", deployment_id), ("signal_id", signal_id),
        ("side", side), ("created_at__gte", after), ("created_at__lte", until),
    ):  # fmt: skip
        if value:
            wanted &= Q(**{name: value})
    return _of_symbols(rows.filter(wanted), symbols)


def order(order_id: UUID) -> Order | None:
    rows = Order.objects.select_related("instrument", "account", "deployment")
    return rows.filter(pk=order_id).first()


def legs(order_ids: Iterable[UUID]) -> dict[UUID, list[Order]]:
    """The children of brackets, by their entry, with one query."""
    found: dict[UUID, list[Order]] = defaultdict(list)
    rows = Order.objects.filter(parent__in=list(order_ids)).select_related("instrument")
    for child in rows.order_by("id"):
        if child.parent_id is not None:
            found[child.parent_id].append(child)
    return found


def order_history(order_id: UUID) -> list[Event]:
    """Everything that happened to an order, oldest first."""
    return list(Event.objects.filter(subject="order", subject_id=order_id).order_by("sequence"))


def fills(
    *,
    account_id: UUID | None = None,
    order_id: UUID | None = None,
    symbols: Iterable[str] = (),
    after: datetime | None = None,
) -> QuerySet[Fill]:
    """Fills, newest first."""
    rows = Fill.objects.select_related("instrument", "order").order_by("-id")
    if account_id:
        rows = rows.filter(account=account_id)
    if order_id:
        rows = rows.filter(order=order_id)
    if after:
        rows = rows.filter(booked_at__gte=after)
    return _of_symbols(rows, symbols)


def positions(*, account_id: UUID | None = None, symbols: Iterable[str] = ()) -> QuerySet[Position]:
    """What is held, with its instrument and newest price."""
    rows = Position.objects.exclude(quantity=0).order_by("-id")
    rows = rows.select_related("instrument__quote", "account")
    if account_id:
        rows = rows.filter(account=account_id)
    return _of_symbols(rows, symbols)


def trades(
    *,
    account_id: UUID | None = None,
    deployment_id: UUID | None = None,
    is_open: bool | None = None,
    symbols: Iterable[str] = (),
) -> QuerySet[Trade]:
    """Trades, newest first."""
    rows = Trade.objects.select_related("instrument", "account", "deployment").order_by("-id")
    if account_id:
        rows = rows.filter(account=account_id)
    if deployment_id:
        rows = rows.filter(deployment=deployment_id)
    if is_open is not None:
        rows = rows.filter(closed_at__isnull=is_open)
    return _of_symbols(rows, symbols)


def _of_symbols(rows: QuerySet[Row], symbols: Iterable[str]) -> QuerySet[Row]:
    wanted = [symbol.strip().upper() for symbol in symbols if symbol.strip()]
    return rows.filter(instrument__symbol__in=wanted) if wanted else rows


def summaries(*, now: datetime, account_ids: Iterable[UUID] | None = None) -> list[Summary]:
    """What accounts are worth, all or some of them, by name; five queries however many."""
    chosen = accounts() if account_ids is None else accounts().filter(pk__in=list(account_ids))
    rows = list(chosen)
    held: dict[UUID, list[Position]] = defaultdict(list)
    open_ = Position.objects.filter(account__in=rows).exclude(quantity=0)
    for position in open_.select_related("instrument"):
        held[position.account_id].append(position)
    wanted = {position.instrument_id for group in held.values() for position in group}
    quotes = {quote.pk: quote for quote in Quote.objects.filter(pk__in=wanted)}
    stops: dict[tuple[UUID, UUID], list[Order]] = defaultdict(list)
    for stop in Order.objects.filter(
        account__in=rows, status__in=Order.OPEN, reduce_only=True, stop_price__isnull=False
    ):
        stops[stop.account_id, stop.instrument_id].append(stop)
    peaks = dict(
        EquityPoint.objects.filter(account__in=rows)
        .values("account_id")
        .annotate(peak=Max("equity"))
        .values_list("account_id", "peak")
    )
    return [
        _summary(account, held[account.pk], quotes, stops, peaks.get(account.pk), now=now)
        for account in rows
    ]


def _summary(
    account: BrokerAccount,
    held: list[Position],
    quotes: dict[UUID, Quote],
    stops: Mapping[tuple[UUID, UUID], list[Order]],
    peak: Decimal | None,
    *,
    now: datetime,
) -> Summary:
    values = {row.pk: marking.value_of(row, quotes) for row in held}
    equity = account.cash + sum(values.values(), ZERO)
    highest = max(equity, account.starting_cash, peak or ZERO)
    began = account.day_equity if account.day_on == now.astimezone(UTC).date() else None
    risk, bare = ZERO, ZERO
    for row in held:
        lost, uncovered = _at_stops(row, values[row.pk], stops[account.pk, row.instrument_id])
        risk, bare = risk + lost, bare + uncovered
    return Summary(
        account=account,
        equity=equity,
        cash=account.cash,
        day_change=ZERO if began is None else equity - began,
        drawdown=(highest - equity) / highest if highest > 0 else ZERO,
        risk_to_stops=risk,
        unprotected=bare,
        margin=sum((abs(value) for value in values.values()), ZERO),
        open_positions=len(held),
    )


def _at_stops(position: Position, value: Decimal, stops: list[Order]) -> tuple[Decimal, Decimal]:
    """What is lost from here if the stops fill, and the value that none of them covers."""
    left = abs(position.quantity)
    away = Order.Side.SELL if position.quantity > 0 else Order.Side.BUY
    price = value / position.quantity
    lost = ZERO
    for stop in sorted(stops, key=lambda row: row.created_at):
        covered = min(left, stop.remaining_quantity)
        if stop.side == away and stop.stop_price is not None and covered > 0:
            at_stop = stop.stop_price * position.instrument.point_value
            fall = price - at_stop if position.quantity > 0 else at_stop - price
            lost += max(fall, ZERO) * covered
            left -= covered
    return lost, left * abs(price)


CURVE = """
WITH points AS (
  SELECT at, cash, equity, ntile(%(buckets)s) OVER (ORDER BY at) AS bucket
  FROM trading_equitypoint
  WHERE account_id = %(account)s AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
), ranked AS (
  SELECT at, cash, equity,
         row_number() OVER (PARTITION BY bucket ORDER BY equity, at) AS low,
         row_number() OVER (PARTITION BY bucket ORDER BY equity DESC, at DESC) AS high
  FROM points
)
SELECT at, cash, equity FROM ranked WHERE low = 1 OR high = 1 ORDER BY at
"""


def equity_curve(
    account_id: UUID, *, points: int = 500, since: datetime | None = None
) -> list[tuple[datetime, Decimal, Decimal]]:
    """(time, cash, equity) of an account, at most ``points`` of them, oldest first.

    Each stretch keeps its lowest and its highest, so that no drawdown is smoothed away.
    """
    active = active_scope()
    with connections[active[0] if active else "default"].cursor() as cursor:
        cursor.execute(
            CURVE, {"account": account_id, "since": since, "buckets": max(1, points // 2)}
        )
        return list(cursor.fetchall())
