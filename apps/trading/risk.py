"""What an account may not do: each limit with what was measured, a code and a sentence.

Exits are never refused: they bring risk down. An order that is too large for a size limit is
reduced to what fits, when at least one lot does; any other limit refuses it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any
from uuid import UUID

from apps.trading import wording
from apps.trading.books import AccountBook
from apps.trading.intent import Intent, Proposal, Refusal
from apps.trading.models import Order

# What the money columns can hold with room for everything that is computed from it.
LARGEST_VALUE = Decimal(10) ** 12
LIMITS = (
    "max_order_notional",
    "max_daily_notional",
    "max_position_notional",
    "max_order_quantity",
    "max_open_positions",
    "max_orders_per_minute",
    "price_band",
    "max_leverage",
    "duplicate_window_s",
    "max_daily_loss",
)


@dataclass(frozen=True, slots=True)
class Passed:
    """The proposal as it may be carried out, and the check to store beside its order."""

    proposal: Proposal
    record: dict[str, Any]
    reduced: Refusal | None = None


def check(
    proposal: Proposal,
    *,
    intent: Intent,
    book: AccountBook,
    last_price: Decimal,
    now: datetime,
    deployment_id: UUID | None = None,
) -> Passed | Refusal:
    """Hold one proposal against every limit of its account.

    An order that turns a position round and may not open the new one still closes the old.
    """
    if proposal.opens <= 0:
        return Passed(proposal, _record(proposal, book, now) | {"reason": "closes only"})
    asked = (proposal, intent, book, last_price, now)
    if refusal := _first(_MEANT, asked):
        return refusal
    barred = _doubt(proposal, book, deployment_id) or _first(_BARRED, asked)
    if barred:
        return _closing_part(proposal, book, barred, now) or barred
    return _sized(asked)


def _sized(asked: "Asked") -> Passed | Refusal:
    proposal, intent, book, last_price, now = asked
    largest, reason = _largest(proposal, book)
    if largest >= proposal.quantity:
        return Passed(proposal, _record(proposal, book, now))
    if largest <= proposal.closes:
        return _closing_part(proposal, book, reason, now) or reason
    reduced = replace(proposal, quantity=largest)
    if refusal := _duplicate(reduced, intent, book, last_price, now):
        return refusal
    return Passed(reduced, _record(reduced, book, now), reason)


def _first(limits: Sequence["Limit"], asked: "Asked") -> Refusal | None:
    return next((refusal for limit in limits if (refusal := limit(*asked))), None)


def _closing_part(
    proposal: Proposal, book: AccountBook, why: Refusal, now: datetime
) -> Passed | None:
    if proposal.closes <= 0:
        return None
    closing = replace(
        proposal,
        role=Order.Role.EXIT,
        quantity=proposal.closes,
        stop_loss=None,
        take_profit=None,
    )
    return Passed(closing, _record(closing, book, now) | {"reason": "closes only"}, why)


def _halted(
    proposal: Proposal, intent: Intent, book: AccountBook, last_price: Decimal, now: datetime
) -> Refusal | None:
    if not book.halted:
        return None
    return Refusal("halted", f"No new positions: {book.halted}.")


def _instrument(
    proposal: Proposal, intent: Intent, book: AccountBook, last_price: Decimal, now: datetime
) -> Refusal | None:
    allowed = book.limits.allowed_instruments
    if not allowed or proposal.instrument.pk in allowed:
        return None
    return Refusal(
        "instrument_not_allowed",
        f"{proposal.instrument.symbol} is not among the instruments allowed for"
        f" {book.account.name}.",
    )


def _doubt(proposal: Proposal, book: AccountBook, deployment_id: UUID | None) -> Refusal | None:
    if (deployment_id, proposal.instrument.pk) not in book.in_doubt:
        return None
    return Refusal(
        "order_in_doubt",
        f"What became of an earlier order in {proposal.instrument.symbol} is not known yet.",
    )


def _loss(
    proposal: Proposal, intent: Intent, book: AccountBook, last_price: Decimal, now: datetime
) -> Refusal | None:
    limit, began = book.limits.max_daily_loss, book.account.day_equity
    if limit is None or not began or began <= 0:
        return None
    lost = (began - book.equity) / began
    if lost < limit:
        return None
    return Refusal(
        "daily_loss_limit",
        f"Daily loss limit reached, {wording.percent(lost)} of {wording.percent(limit)}."
        " It re-arms at 00:00 UTC.",
    )


def _band(
    proposal: Proposal, intent: Intent, book: AccountBook, last_price: Decimal, now: datetime
) -> Refusal | None:
    band = book.limits.price_band
    named = intent.price or proposal.limit_price or proposal.stop_price
    if band is None or named is None:
        return None
    away = abs(named - last_price) / last_price
    if away <= band:
        return None
    instrument = proposal.instrument
    return Refusal(
        "price_out_of_band",
        f"The alert's price {wording.price(named, instrument)} is {wording.percent(away)} away"
        f" from the last one, {wording.price(last_price, instrument)};"
        f" {wording.percent(band)} is allowed.",
    )


def _bracket(
    proposal: Proposal, intent: Intent, book: AccountBook, last_price: Decimal, now: datetime
) -> Refusal | None:
    sign = 1 if proposal.side == Order.Side.BUY else -1
    for price, beyond, name in (
        (proposal.stop_loss, -sign, "stop"),
        (proposal.take_profit, sign, "target"),
    ):
        if price is not None and (price <= 0 or (price - proposal.price) * beyond <= 0):
            return Refusal(
                "bracket_on_wrong_side",
                f"The {name} {wording.price(price, proposal.instrument)} lies on the wrong side"
                f" of {wording.price(proposal.price, proposal.instrument)}.",
            )
    return None


def _rate(
    proposal: Proposal, intent: Intent, book: AccountBook, last_price: Decimal, now: datetime
) -> Refusal | None:
    limit = book.limits.max_orders_per_minute
    if limit is None:
        return None
    count = _last_minute(book, now)
    if count < limit:
        return None
    return Refusal("too_many_orders", f"{count} orders in the last minute; {limit} are allowed.")


def _last_minute(book: AccountBook, now: datetime) -> int:
    return sum(1 for placed in book.placed if placed.at > now - timedelta(minutes=1))


def _duplicate(
    proposal: Proposal, intent: Intent, book: AccountBook, last_price: Decimal, now: datetime
) -> Refusal | None:
    window = timedelta(seconds=book.limits.duplicate_window_s)
    if not window:
        return None
    for placed in book.placed:
        same = (placed.instrument_id, placed.side, placed.quantity) == (
            proposal.instrument.pk,
            proposal.side,
            proposal.quantity,
        )
        if same and placed.at > now - window:
            return Refusal(
                "duplicate_order",
                f"The same order was placed {(now - placed.at).total_seconds():.0f} s ago;"
                f" within {window.total_seconds():.0f} s it is taken for a duplicate.",
            )
    return None


def _positions(
    proposal: Proposal, intent: Intent, book: AccountBook, last_price: Decimal, now: datetime
) -> Refusal | None:
    limit = book.limits.max_open_positions
    others = book.instruments_with_exposure() - {proposal.instrument.pk}
    if limit is None or len(others) < limit:
        return None
    return Refusal("too_many_positions", f"{len(others)} positions are open; {limit} are allowed.")


Asked = tuple[Proposal, Intent, AccountBook, Decimal, datetime]
Limit = Callable[[Proposal, Intent, AccountBook, Decimal, datetime], Refusal | None]
# What makes an order one that nobody can have meant; it is not carried out in part either.
_MEANT: tuple[Limit, ...] = (_band, _bracket, _duplicate)
# What bars new positions; an order that also closes an old one is cut to that.
_BARRED: tuple[Limit, ...] = (_halted, _instrument, _loss, _rate, _positions)


def _largest(proposal: Proposal, book: AccountBook) -> tuple[Decimal, Refusal]:
    """The largest quantity that all size limits allow, and the one that binds."""
    currency = proposal.instrument.currency
    unit = proposal.value_of(Decimal(1))
    caps: list[tuple[Decimal, Refusal]] = []

    def cap(quantity: Decimal, code: str, text: str) -> None:
        caps.append((max(quantity, Decimal(0)), Refusal(code, text)))

    limits = book.limits
    if limits.max_order_quantity is not None:
        most = wording.quantity(limits.max_order_quantity)
        cap(limits.max_order_quantity, "order_quantity_limit", f"At most {most} units an order.")
    if limits.max_order_notional is not None:
        most = wording.money(limits.max_order_notional, currency)
        cap(limits.max_order_notional / unit, "order_notional_limit", f"At most {most} an order.")
    if limits.max_daily_notional is not None:
        left = limits.max_daily_notional - book.notional_today
        most = wording.money(limits.max_daily_notional, currency)
        cap(left / unit, "daily_notional_limit", f"At most {most} a day.")
    # Signed in the order's own direction: what is held against it is room.
    sign = 1 if proposal.side == Order.Side.BUY else -1
    held = sign * book.worst(proposal.instrument.pk, proposal.side)
    if limits.max_position_notional is not None:
        most = wording.money(limits.max_position_notional, currency)
        cap(
            limits.max_position_notional / unit - held,
            "position_notional_limit",
            f"At most {most} in one instrument.",
        )
    if limits.max_leverage is not None:
        others = book.gross_value(without=proposal.instrument.pk)
        most = wording.quantity(limits.max_leverage)
        cap(
            (book.equity * limits.max_leverage - others) / unit - held,
            "leverage_limit",
            f"Positions may be worth at most {most} times the equity.",
        )
    cap(LARGEST_VALUE / unit, "order_value_limit", "No order may be worth more than 10^12.")
    lot = proposal.instrument.lot_size
    floors = [((quantity / lot).to_integral_value(ROUND_DOWN) * lot, why) for quantity, why in caps]
    return min(
        floors, key=lambda pair: pair[0], default=(proposal.quantity, Refusal("no_limit", ""))
    )


def _record(proposal: Proposal, book: AccountBook, now: datetime) -> dict[str, Any]:
    """What is stored beside the order: that it passed, what was measured, and against what."""
    return {
        "passed": True,
        "limits": {name: _plain(getattr(book.limits, name)) for name in LIMITS},
        "equity": str(book.equity),
        "exposure_before": str(book.exposure(proposal.instrument.pk)),
        "gross_before": str(book.gross_value()),
        "order_value": str(proposal.value_of(proposal.quantity)),
        "orders_last_minute": _last_minute(book, now),
        "notional_today": str(book.notional_today),
    }


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Decimal) else value
