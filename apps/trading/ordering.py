"""Orders that a person or a client places, cancels and closes with.

They take the same way as those of a signal: sized, held against every limit, written for the desk
to send.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from apps.accounts import audit
from apps.accounts.audit import Actor
from apps.core import events
from apps.core.errors import DomainError, Invalid, NotFound
from apps.core.ids import uuid7
from apps.marketdata import selectors as market
from apps.marketdata.models import Instrument
from apps.trading import books, placing, switch
from apps.trading.intent import Action, Intent, Verdict
from apps.trading.models import BrokerAccount, Order, Position


class OrderClosed(DomainError):
    """The order is at its end and cannot be canceled."""

    code = "order_closed"


class NameOfOrderTaken(Invalid):
    """A client_order_id names one order for good."""

    code = "client_order_id_taken"


class OrderRefused(Invalid):
    """Sizing or a limit said no; ``code`` is the limit's own."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that a person placed, and what was decided: accepted, or reduced and why."""

    order: Order
    outcome: str
    code: str
    text: str


def place_order(
    *,
    account_id: UUID,
    instrument: Instrument,
    side: str,
    by: Actor,
    now: datetime,
    quantity: Decimal | None = None,
    notional: Decimal | None = None,
    kind: str = Order.Kind.MARKET,
    limit_price: Decimal | None = None,
    stop_price: Decimal | None = None,
    stop_loss: Decimal | None = None,
    take_profit: Decimal | None = None,
    client_order_id: str = "",
) -> Placed:
    """Place one order for a person, sized and checked like any signal's.

    The quantity is what is bought or sold, whatever is held: unlike an alert's ``sell``, it does
    not also close what is open.

    Args:
        quantity: units; or else ``notional``.
        notional: quote currency.

    Raises:
        OrderRefused: sizing or a limit said no; its code says which, and nothing was written.
        NameOfOrderTaken, Invalid, NotFound: as they say.
    """
    _check_client_order_id(client_order_id)
    account, book, price = _at_the_desk(account_id, instrument, now=now)
    named = limit_price or stop_price or price
    units = quantity
    if units is None and notional is not None and named:
        units = notional / (named * instrument.point_value)
    if units is None or units <= 0:
        raise Invalid("Say a positive quantity, or a notional.")
    held = book.exposure(instrument.pk)
    intent = Intent(
        signal_id=uuid7(),
        instrument=instrument,
        action=Action(side),
        created_at=now,
        target=held + (units if side == Order.Side.BUY else -units),
        kind=Order.Kind(kind),
        limit_price=limit_price,
        stop_price=stop_price,
        stop_loss=stop_loss,
        take_profit=take_profit,
    )
    verdict = _decide(intent, account, book, price, now=now)
    if client_order_id:
        verdict.orders[0].client_order_id = client_order_id
    return _write(verdict, by=by, now=now)


def close_position(
    *, position_id: UUID, by: Actor, now: datetime, quantity: Decimal | None = None
) -> Placed:
    """Close a position at the market, whole or in part; entries of its instrument are canceled.

    Raises:
        OrderRefused: nothing is held any more, or it is being closed already.
        NotFound: there is no such position.
    """
    position = Position.objects.select_related("instrument").filter(pk=position_id).first()
    if position is None:
        raise NotFound("There is no such position.")
    account, book, price = _at_the_desk(position.account_id, position.instrument, now=now)
    if quantity is None:
        orders = Order.objects.filter(account=account, instrument=position.instrument)
        switch.cancel_entries(orders, now=now)
    intent = Intent(
        signal_id=uuid7(),
        instrument=position.instrument,
        action=Action.CLOSE,
        created_at=now,
        quantity=quantity,
    )
    return _write(_decide(intent, account, book, price, now=now), by=by, now=now)


def request_cancel(*, order_id: UUID, by: Actor, now: datetime) -> Order:
    """Ask for an order to be canceled; asking again changes nothing.

    Raises:
        OrderClosed: it is at its end.
        NotFound: there is no such order.
    """
    rows = Order.objects.select_for_update(of=("self",)).select_related("instrument")
    order = rows.filter(pk=order_id).first()
    if order is None:
        raise NotFound("There is no such order.")
    if not order.is_open:
        raise OrderClosed(f"The order is {order.get_status_display().lower()}.")
    if order.cancel_requested_at is None:
        order.cancel_requested_at = now
        order.save(update_fields=["cancel_requested_at"])
        placing.wake_desk()
        audit.record(
            action="order.cancel_requested", subject="order", subject_id=order.pk, by=by, at=now
        )
    return order


def _at_the_desk(
    account_id: UUID, instrument: Instrument, *, now: datetime
) -> tuple[BrokerAccount, books.AccountBook, Decimal | None]:
    """The account, locked, with all that a decision on it needs."""
    price = market.last_prices([instrument.pk]).get(instrument.pk)
    marks = {instrument.pk: price * instrument.point_value} if price else {}
    book = books.load([account_id], marks=marks, now=now).get(account_id)
    if book is None:
        raise NotFound("There is no such account.")
    return book.account, book, price


def _decide(
    intent: Intent,
    account: BrokerAccount,
    book: books.AccountBook,
    price: Decimal | None,
    *,
    now: datetime,
) -> Verdict:
    prices = {} if price is None else {intent.instrument.pk: price}
    verdict = placing.decide(
        intent, deployment=placing.by_hand(account), book=book, prices=prices, now=now
    )
    if not verdict.orders:
        raise OrderRefused(verdict.code, verdict.text)
    return verdict


def _write(verdict: Verdict, *, by: Actor, now: datetime) -> Placed:
    for order in verdict.orders:
        order.signal_id = None
    Order.objects.bulk_create(verdict.orders)
    order = verdict.orders[0]
    events.append(
        kind="order.placed",
        subject="order",
        subject_id=order.pk,
        at=now,
        text=verdict.text,
        payload={
            "account": str(order.account_id),
            "instrument": str(order.instrument_id),
            "outcome": verdict.outcome,
            "code": verdict.code,
        },
    )
    placing.wake_desk()
    audit.record(
        action="order.placed", subject="order", subject_id=order.pk, by=by, at=now,
        detail={"side": order.side, "quantity": str(order.quantity), "code": verdict.code},
    )  # fmt: skip
    return Placed(order, verdict.outcome, verdict.code, verdict.text)


def _check_client_order_id(given: str) -> None:
    if not given:
        return
    if given.startswith("pl-") or len(given) > 48 or not given.isprintable():
        raise Invalid("A client_order_id has at most 48 characters and does not begin with pl-.")
    if Order.objects.filter(client_order_id=given).exists():
        raise NameOfOrderTaken(f"There is an order called {given} already.")
