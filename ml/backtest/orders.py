"""A book and its fills for callers who want names and objects: place, cancel, step one bar."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ml.backtest import fills as kernel_fills
from ml.backtest.fills import (
    ASKED,
    ASLEEP,
    BUY,
    CANCELED,
    LIMIT,
    MARKET,
    SELL,
    STOP,
    STOP_LIMIT,
    VACANT,
    WORKING,
    Book,
    Fills,
)
from ml.bars import Bar


class BookFull(ValueError):
    """Every slot of the book holds an order; make a larger book."""


@dataclass(frozen=True)
class Fill:
    """One execution.

    Attributes:
        order: slot in the book.
        side: BUY or SELL.
        price: quote currency per unit, slippage included.
        quantity: base units, positive.
        point: where on the bar's path, 0 (the open) to 3 (on the way to the close).
        position: signed position after the fill, base units.
    """

    order: int
    side: int
    price: float
    quantity: float
    point: int
    position: float


class Bracket(NamedTuple):
    """Slots of an entry and its two children; -1 for a child that was not asked for."""

    parent: int
    stop: int
    target: int


def place(
    book: Book,
    *,
    kind: int,
    side: int,
    quantity: float,
    active_from: int,
    limit: float = math.nan,
    stop: float = math.nan,
    parent: int = -1,
    oca: int = 0,
    reduce_only: bool = False,
    age: int | None = None,
    filled: float = 0.0,
    triggered: bool = False,
) -> int:
    """Write an order into the first vacant slot.

    An order with a parent sleeps until the parent fills; where it has filled already, it works.

    Args:
        book: changed in place.
        kind: MARKET, LIMIT, STOP or STOP_LIMIT.
        side: BUY or SELL.
        quantity: base units, positive.
        active_from: int64 ns UTC, open time of the first bar the order may act in: the bar after
            the one during which, or at whose close, it was decided.
        limit: quote currency per unit; required for LIMIT and STOP_LIMIT, refused elsewhere.
        stop: quote currency per unit; required for STOP and STOP_LIMIT, refused elsewhere.
        parent: slot of the order to wait for, -1 for none.
        oca: group of which the first fill cancels the rest, 0 for none.
        reduce_only: never open or turn a position; every child is.
        age: order of arrival; younger than all others when left out.
        filled: base units already filled, less than ``quantity``.
        triggered: the stop of a STOP_LIMIT was already reached.

    Returns:
        The slot.

    Raises:
        BookFull: no vacant slot.
        ValueError: a value outside what is said above.
    """
    _check(kind=kind, side=side, quantity=quantity, filled=filled, limit=limit, stop=stop)
    if triggered and kind != STOP_LIMIT:
        raise ValueError("only a stop_limit can have been triggered")
    status = _status_under(book, parent)
    vacant = np.flatnonzero(book.status == VACANT)
    if vacant.size == 0:
        raise BookFull(f"all {book.status.size} slots are taken")
    slot = int(vacant[0])
    if age is None:
        taken = book.age[book.status != VACANT]
        age = int(taken.max()) + 1 if taken.size else 0

    book.kind[slot], book.side[slot] = kind, side
    book.quantity[slot], book.filled[slot] = quantity, filled
    book.limit[slot], book.stop[slot] = limit, stop
    book.triggered[slot] = triggered
    book.reduce_only[slot] = reduce_only or parent >= 0
    book.parent[slot], book.oca[slot] = parent, oca
    book.active_from[slot], book.age[slot] = active_from, age
    book.reason[slot] = 0
    book.status[slot] = status
    return slot


def place_bracket(
    book: Book,
    *,
    kind: int,
    side: int,
    quantity: float,
    active_from: int,
    limit: float = math.nan,
    stop: float = math.nan,
    stop_loss: float = math.nan,
    take_profit: float = math.nan,
) -> Bracket:
    """Place an entry with a protecting stop, a target, or both, of which one cancels the other.

    Args:
        book: changed in place.
        kind: of the entry, as in ``place``.
        side: of the entry.
        quantity: of all three, base units.
        active_from: as in ``place``.
        limit: of the entry.
        stop: of the entry.
        stop_loss: stop price of the protecting order, NaN for none.
        take_profit: limit price of the target, NaN for none.

    Raises:
        BookFull: fewer vacant slots than orders; nothing was placed.
        ValueError: as in ``place``, or neither stop_loss nor take_profit given.
    """
    children = (not math.isnan(stop_loss)) + (not math.isnan(take_profit))
    if children == 0:
        raise ValueError("a bracket needs a stop_loss or a take_profit")
    if np.count_nonzero(book.status == VACANT) < 1 + children:
        raise BookFull(f"a bracket of {1 + children} orders needs as many vacant slots")
    for name, price in (("stop_loss", stop_loss), ("take_profit", take_profit)):
        if not (math.isnan(price) or 0.0 < price < math.inf):
            raise ValueError(f"{name} must be a positive price, was {price}")
    entry = place(
        book,
        kind=kind,
        side=side,
        quantity=quantity,
        active_from=active_from,
        limit=limit,
        stop=stop,
    )
    exit_side, group = (SELL if side == BUY else BUY), int(book.oca.max()) + 1
    guard = target = -1
    if not math.isnan(stop_loss):
        guard = place(
            book,
            kind=STOP,
            side=exit_side,
            quantity=quantity,
            active_from=active_from,
            stop=stop_loss,
            parent=entry,
            oca=group,
        )
    if not math.isnan(take_profit):
        target = place(
            book,
            kind=LIMIT,
            side=exit_side,
            quantity=quantity,
            active_from=active_from,
            limit=take_profit,
            parent=entry,
            oca=group,
        )
    return Bracket(entry, guard, target)


def cancel(book: Book, slot: int) -> bool:
    """Cancel an order and the children waiting for it; False when it is not open any more.

    Raises:
        ValueError: no such slot.
    """
    if not 0 <= slot < book.status.size:
        raise ValueError(f"slot must be below {book.status.size}, was {slot}")
    return bool(kernel_fills.cancel(slot, ASKED, book))


def step_bar(
    bar: Bar, *, book: Book, position: float, tick: float, slippage_ticks: float = 0.0
) -> list[Fill]:
    """Carry ``book`` through ``bar`` and return the fills in order; rules: ``fills.step``.

    A paper account calls it twice a bar: with ``Bar.opened(time, price)`` when the bar opens and
    with the whole bar when it has closed. The position to pass the second time is the one after
    the first call's last fill.

    Args:
        bar: prices in quote currency per unit; its time decides which orders may act.
        book: changed in place.
        position: signed, base units, before the bar.
        tick: price step of the instrument, quote currency; zero for no grid.
        slippage_ticks: against the trader, on market and stop fills.

    Raises:
        ValueError: ``bar`` is no bar (high and low do not contain the others, or a NaN); a
            negative tick or slippage; slippage without a tick; a position that is no number.
    """
    if not (0.0 <= tick < math.inf and 0.0 <= slippage_ticks < math.inf):
        raise ValueError(f"tick and slippage_ticks must not be negative: {tick}, {slippage_ticks}")
    if slippage_ticks > 0.0 and tick == 0.0:
        raise ValueError("slippage is counted in ticks, and there is no tick")
    if not math.isfinite(position):
        raise ValueError(f"position must be a number, was {position}")
    out = Fills.empty(book.status.size)
    count = kernel_fills.step(
        int(bar.time),
        float(bar.open),
        float(bar.high),
        float(bar.low),
        float(bar.close),
        float(tick),
        float(slippage_ticks),
        float(position),
        book,
        out,
    )
    if count < 0:
        raise ValueError(f"high and low must contain open and close: {bar}")
    return [
        Fill(
            order=int(out.order[n]),
            side=int(book.side[out.order[n]]),
            price=float(out.price[n]),
            quantity=float(out.quantity[n]),
            point=int(out.point[n]),
            position=float(out.position[n]),
        )
        for n in range(count)
    ]


def _check(
    *, kind: int, side: int, quantity: float, filled: float, limit: float, stop: float
) -> None:
    if kind not in (MARKET, LIMIT, STOP, STOP_LIMIT):
        raise ValueError(f"kind must be MARKET, LIMIT, STOP or STOP_LIMIT, was {kind}")
    if side not in (BUY, SELL):
        raise ValueError(f"side must be BUY or SELL, was {side}")
    if not 0.0 < quantity < math.inf:
        raise ValueError(f"quantity must be positive, was {quantity}")
    if not 0.0 <= filled < quantity:
        raise ValueError(f"filled must be at least 0 and below {quantity}, was {filled}")
    for name, price, wanted in (
        ("limit", limit, kind in (LIMIT, STOP_LIMIT)),
        ("stop", stop, kind in (STOP, STOP_LIMIT)),
    ):
        if wanted and not 0.0 < price < math.inf:
            raise ValueError(f"{name} must be a positive price, was {price}")
        if not wanted and not math.isnan(price):
            raise ValueError(f"an order of kind {kind} has no {name} price")


def _status_under(book: Book, parent: int) -> int:
    if parent == -1:
        return WORKING
    if not 0 <= parent < book.status.size or book.status[parent] == VACANT:
        raise ValueError(f"parent {parent} is no order of this book")
    if book.status[parent] == CANCELED:
        raise ValueError(f"parent {parent} is canceled, its children would never wake")
    return ASLEEP if book.status[parent] in (ASLEEP, WORKING) else WORKING
