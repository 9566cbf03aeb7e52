"""How orders move on: closed, put in doubt, accepted; each told as an event, then written."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from apps.core import bulk, events
from apps.marketdata.models import Instrument
from apps.trading import wording
from apps.trading.models import Order

FIELDS: Final = (
    "status",
    "status_code",
    "status_text",
    "submitted_at",
    "sends",
    "accepted_at",
    "closed_at",
    "venue_order_id",
)
CANCELED: Final = {
    "asked": "Canceled as asked.",
    "sibling_filled": "The other order of its bracket filled.",
    "nothing_to_reduce": "The position it was to reduce is closed.",
    "parent_canceled": "The order it waited for was canceled.",
}


def close(
    orders: Sequence[Order], status: Order.Status, code: str, text: str, *, now: datetime
) -> None:
    """Bring orders to their end; the caller saves them."""
    symbols = dict(
        Instrument.objects.filter(pk__in={order.instrument_id for order in orders}).values_list(
            "pk", "symbol"
        )
    )
    for order in orders:
        order.status, order.status_code, order.status_text = status, code, text[:300]
        order.closed_at = now
        _tell(
            order,
            f"order.{status.value}",
            f"Order {order.side} {wording.quantity(order.quantity)}"
            f" {symbols[order.instrument_id]} {status.label.lower()}: {text}",
            now=now,
        )


def accept(order: Order, symbol: str, *, now: datetime) -> None:
    """The venue has it."""
    order.status, order.accepted_at = Order.Status.ACCEPTED, order.accepted_at or now
    order.status_code = order.status_text = ""
    if order.parent_id is None:
        verb = "Buy" if order.side == Order.Side.BUY else "Sell"
        text = f"{verb} {wording.quantity(order.quantity)} {symbol} accepted"
        _tell(order, "order.accepted", text, now=now)


def doubt(order: Order, text: str, *, now: datetime) -> None:
    """Nobody knows what became of it."""
    order.status, order.status_code = Order.Status.UNKNOWN, "in_doubt"
    order.status_text = text[:300]
    if order.parent_id is None:
        _tell(order, "order.unknown", f"Order state unknown: {text}", now=now)


def warn(order: Order, symbol: str, *, now: datetime) -> None:
    """It has been in doubt for long: its user must know, and its source waits."""
    order.status_code = "in_doubt_long"
    text = (
        f"{symbol}: nobody can say yet what became of an order sent"
        f" {order.submitted_at:%H:%M:%S} UTC. No entries in {symbol} from its source until then."
    )
    _tell(order, "order.in_doubt_long", text, now=now)


def send_again(order: Order, *, now: datetime) -> None:
    """The venue has proved that it never arrived: the same order waits once more."""
    order.status, order.status_code = Order.Status.NEW, "never_arrived"
    order.status_text = "The venue has never heard of it; it will be sent again."
    if order.parent_id is None:
        _tell(order, "order.never_arrived", order.status_text, now=now)


def save(orders: Sequence[Order]) -> None:
    bulk.update(orders, FIELDS)


def by_broker(orders: Sequence[Order]) -> dict[str, list[Order]]:
    """Orders by the kind of broker they are at; their accounts must be loaded."""
    groups: dict[str, list[Order]] = {}
    for order in orders:
        groups.setdefault(order.account.broker, []).append(order)
    return groups


def symbols_of(orders: Sequence[Order]) -> dict[UUID, str]:
    wanted = {order.instrument_id for order in orders}
    return dict(Instrument.objects.filter(pk__in=wanted).values_list("pk", "symbol"))


def _tell(order: Order, kind: str, text: str, *, now: datetime) -> None:
    events.append(
        kind=kind,
        subject="order",
        subject_id=order.pk,
        at=now,
        tenant_id=order.tenant_id,
        text=text,
        payload={
            "account": str(order.account_id),
            "instrument": str(order.instrument_id),
            "signal": str(order.signal_id) if order.signal_id else None,
            "status": order.status,
            "code": order.status_code,
        },
    )
