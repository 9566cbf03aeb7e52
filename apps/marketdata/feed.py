"""The one writer of quotes and closed bars: open, ticks, close, then the next open.

Every caller is inside ``acting_across("feed")``. What is written and the news of it (NOTIFY) are
one transaction, so nobody hears of a bar whose open is not yet durable.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from django.db import connections, transaction
from django.utils import timezone

from apps.core.errors import DomainError
from apps.core.tenancy import NoTenant
from apps.core.tenancy.context import active_scope
from apps.marketdata.models import Bar, Instrument, Quote

CHANNEL = "pinelab_bars"
MINUTE_S = 60


class OutOfOrder(DomainError):
    """A feed's message does not follow the one before it; nothing of its batch was written."""

    code = "feed_out_of_order"


class Kind(StrEnum):
    OPEN = "open"
    TICK = "tick"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Message:
    """One thing a feed says about one instrument's bar.

    Attributes:
        at: market time; of an open it is the bar's open, of a close the bar's end.
        volume: of the whole bar so far; None leaves what is known.
    """

    kind: Kind
    instrument_id: UUID
    opened_at: datetime
    price: Decimal
    at: datetime
    interval_s: int = MINUTE_S
    volume: Decimal | None = None


def open_bar(
    instrument: Instrument,
    opened_at: datetime,
    price: Decimal,
    *,
    interval_s: int = MINUTE_S,
    received_at: datetime | None = None,
) -> None:
    """Start an instrument's next bar at its first price.

    Raises:
        OutOfOrder: the bar before it is not closed, or this one has been before.
    """
    opening = Message(Kind.OPEN, instrument.pk, opened_at, price, opened_at, interval_s)
    write([opening], received_at=received_at)


def tick(
    instrument: Instrument,
    at: datetime,
    price: Decimal,
    *,
    volume: Decimal | None = None,
    received_at: datetime | None = None,
) -> None:
    """Move the forming bar to a newer price.

    Raises:
        OutOfOrder: no bar is forming, or ``at`` is outside it or before its last tick.
    """
    with _writing():
        quote = _forming(instrument.pk)
        news = Message(
            Kind.TICK, instrument.pk, quote.opened_at, price, at, quote.interval_s, volume
        )
        write([news], received_at=received_at)


def close_bar(
    instrument: Instrument,
    opened_at: datetime,
    price: Decimal,
    *,
    volume: Decimal | None = None,
    received_at: datetime | None = None,
) -> None:
    """End the forming bar at its last price; from then on it is a Bar and never changes.

    Raises:
        OutOfOrder: another bar is forming, or none.
    """
    with _writing():
        step_s = _forming(instrument.pk).interval_s
        closed_at = opened_at + timedelta(seconds=step_s)
        end = Message(Kind.CLOSE, instrument.pk, opened_at, price, closed_at, step_s, volume)
        write([end], received_at=received_at)


def write(messages: Sequence[Message], *, received_at: datetime | None = None) -> None:
    """Apply messages in their order, as one transaction; all of them or none.

    Raises:
        OutOfOrder: one of them does not follow what is stored and what stands before it.
    """
    # Our own clock is what this field records, so the writer may read it.
    received_at = received_at or timezone.now()
    with _writing() as alias:
        quotes = _locked({message.instrument_id for message in messages})
        closed = []
        for message in messages:
            quote = _follow(quotes.get(message.instrument_id), message)
            quote.received_at = received_at
            quotes[message.instrument_id] = quote
            if message.kind is Kind.CLOSE:
                closed.append(_closed(quote))
        _store(quotes, closed)
        _tell(alias, messages)


@contextmanager
def _writing() -> Iterator[str]:
    active = active_scope()
    if active is None:
        raise NoTenant('the feed writes inside acting_across("feed")')
    with transaction.atomic(using=active[0]):
        yield active[0]


def _locked(instrument_ids: set[UUID]) -> dict[UUID, Quote]:
    rows = Quote.objects.select_for_update().filter(instrument_id__in=instrument_ids)
    return {quote.instrument_id: quote for quote in rows.order_by("instrument_id")}


def _forming(instrument_id: UUID) -> Quote:
    quote = Quote.objects.select_for_update().filter(instrument_id=instrument_id).first()
    if quote is None or not quote.is_forming:
        raise OutOfOrder(f"{instrument_id}: no bar is forming")
    return quote


def _follow(quote: Quote | None, message: Message) -> Quote:
    """What is known after a message."""
    if message.kind is Kind.OPEN:
        return _opened(quote, message)
    if quote is None or not quote.is_forming or quote.opened_at != message.opened_at:
        raise OutOfOrder(
            f"{message.instrument_id}: {message.kind} of {message.opened_at.isoformat()},"
            f" which is not the forming bar"
        )
    closes_at = quote.opened_at + timedelta(seconds=quote.interval_s)
    if not quote.at <= message.at <= closes_at:
        raise OutOfOrder(
            f"{message.instrument_id}: {message.kind} at {message.at.isoformat()}, not between"
            f" {quote.at.isoformat()} and {closes_at.isoformat()}"
        )
    quote.price, quote.at = message.price, message.at
    quote.high, quote.low = max(quote.high, message.price), min(quote.low, message.price)
    if message.volume is not None:
        quote.volume = message.volume
    quote.is_forming = message.kind is not Kind.CLOSE
    return quote


def _opened(before: Quote | None, message: Message) -> Quote:
    if before is not None:
        if before.is_forming:
            raise OutOfOrder(
                f"{message.instrument_id}: the bar of {before.opened_at.isoformat()} is not closed"
            )
        if message.opened_at < before.opened_at + timedelta(seconds=before.interval_s):
            raise OutOfOrder(
                f"{message.instrument_id}: the bar of {message.opened_at.isoformat()} has been"
            )
    return Quote(
        instrument_id=message.instrument_id,
        price=message.price,
        at=message.opened_at,
        interval_s=message.interval_s,
        opened_at=message.opened_at,
        open=message.price,
        high=message.price,
        low=message.price,
        volume=message.volume or Decimal(0),
    )


def _closed(quote: Quote) -> Bar:
    return Bar(
        instrument_id=quote.instrument_id,
        interval_s=quote.interval_s,
        opened_at=quote.opened_at,
        open=quote.open,
        high=quote.high,
        low=quote.low,
        close=quote.price,
        volume=quote.volume,
    )


QUOTE_FIELDS = [field.name for field in Quote._meta.concrete_fields if not field.primary_key]


def _store(quotes: dict[UUID, Quote], closed: list[Bar]) -> None:
    Quote.objects.bulk_create(
        quotes.values(),
        update_conflicts=True,
        unique_fields=["instrument"],
        update_fields=QUOTE_FIELDS,
    )
    Bar.objects.bulk_create(closed)


def _tell(alias: str, messages: Sequence[Message]) -> None:
    news = [msgspec.json.encode(_news(message)).decode() for message in messages]
    with connections[alias].cursor() as cursor:
        # unnest keeps the order, and PostgreSQL delivers in the order of the calls.
        cursor.execute(
            "SELECT pg_notify(%s, news) FROM unnest(%s::text[]) AS news", [CHANNEL, news]
        )


def _news(message: Message) -> dict[str, Any]:
    return {
        "i": str(message.instrument_id),
        "k": message.kind.value,
        "t": int(message.opened_at.timestamp()),
        "s": message.interval_s,
    }
