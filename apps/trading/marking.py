"""What accounts are worth: points of the equity curve, and the equity a day began with."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from uuid import UUID

from apps.core import bulk
from apps.core.tenancy import acting_across
from apps.marketdata.models import Quote
from apps.trading.models import BrokerAccount, EquityPoint, Position
from apps.trading.positions import EXACT


def mark_open_accounts(*, now: datetime) -> None:
    """Note the worth of every account that holds something."""
    with acting_across("desk: mark equity"):
        mark(set(Position.objects.exclude(quantity=0).values_list("account_id", flat=True)))
        begin_day(now=now)


def mark(account_ids: Iterable[UUID], *, at: datetime | None = None) -> None:
    """Add a point to the equity curves, at the last prices.

    Args:
        at: market time of the point at the earliest; that of the newest price where it is later.
    """
    accounts = {row.pk: row for row in BrokerAccount.objects.filter(pk__in=set(account_ids))}
    held: dict[UUID, list[Position]] = defaultdict(list)
    rows = Position.objects.filter(account__in=accounts).exclude(quantity=0)
    for row in rows.select_related("instrument"):
        held[row.account_id].append(row)
    instruments = {row.instrument_id for group in held.values() for row in group}
    quotes = {row.pk: row for row in Quote.objects.filter(pk__in=instruments)}
    points = []
    for account in accounts.values():
        seen = [
            quotes[row.instrument_id].at for row in held[account.pk] if row.instrument_id in quotes
        ]
        times = [*seen, *([at] if at else [])]
        if times:
            points.append(_point(account, held[account.pk], quotes, at=max(times)))
    bulk.insert(points, on_conflict="DO NOTHING")


def _point(
    account: BrokerAccount, held: list[Position], quotes: dict[UUID, Quote], *, at: datetime
) -> EquityPoint:
    with localcontext(EXACT):
        equity = account.cash + sum(value_of(row, quotes) for row in held)
    return EquityPoint(
        tenant_id=account.tenant_id, account=account, at=at, cash=account.cash, equity=equity
    )


def value_of(position: Position, quotes: dict[UUID, Quote]) -> Decimal:
    """Quote currency, signed; at cost where there is no price."""
    quote = quotes.get(position.instrument_id)
    if quote is None:
        return Decimal(position.cost)
    return Decimal(position.quantity * quote.price * position.instrument.point_value)


def begin_day(*, now: datetime) -> int:
    """Note the equity that each account begins a new UTC day with; how many began one.

    An account that decides on an order first has noted it already (``books.load``).
    """
    today = now.astimezone(UTC).date()
    rows = BrokerAccount.objects.select_for_update(no_key=True, skip_locked=True)
    accounts = list(rows.exclude(day_on=today).order_by("pk")[:500])
    held: dict[UUID, list[Position]] = defaultdict(list)
    open_ = Position.objects.filter(account__in=accounts).exclude(quantity=0)
    for row in open_.select_related("instrument"):
        held[row.account_id].append(row)
    instruments = {row.instrument_id for group in held.values() for row in group}
    quotes = {row.pk: row for row in Quote.objects.filter(pk__in=instruments)}
    for account in accounts:
        account.day_on = today
        account.day_equity = account.cash + sum(value_of(row, quotes) for row in held[account.pk])
    bulk.update(accounts, ["day_on", "day_equity"])
    return len(accounts)
