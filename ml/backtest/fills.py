"""The one fill kernel: what an order book does during one bar, for paper, backtest and GPU alike.

The rules are TradingView's broker emulator, because that is what users compare with. Those marked
*measured* were checked against trade lists exported from TradingView's own strategy tester.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from ml.jit import bare_kernel
from ml.types import BoolVector, CodeVector, FloatVector, IndexVector, IntVector

MARKET: Final = 0
LIMIT: Final = 1
STOP: Final = 2
STOP_LIMIT: Final = 3

BUY: Final = 1
SELL: Final = -1

VACANT: Final = 0
"""No order in this slot."""
ASLEEP: Final = 1
"""A bracket's child whose parent has not filled."""
WORKING: Final = 2
FILLED: Final = 3
CANCELED: Final = 4

ASKED: Final = 1
"""Canceled because the owner said so."""
SIBLING_FILLED: Final = 2
"""Canceled because another order of its group filled."""
NOTHING_TO_REDUCE: Final = 3
"""Canceled because the position it was to reduce is gone."""
PARENT_CANCELED: Final = 4
"""Canceled because the order it was waiting for will never fill."""

REFUSED: Final = -1
"""``step``'s answer to prices that are no bar, or to too little room for the fills."""

NEVER: Final = 3
"""One past the last of a bar's three segments: the level is not reached in this bar."""

GRID_NOISE: Final = 1e-4
"""Ticks: a price this near the grid is on it, and differs by float noise only."""


class Book(NamedTuple):
    """The orders of one account in one instrument: N slots, one array per column.

    A slot's number is the order's name inside the kernel. ``ml.backtest.orders`` fills the slots.

    Attributes:
        status: (N,) VACANT, ASLEEP, WORKING, FILLED or CANCELED.
        kind: (N,) MARKET, LIMIT, STOP or STOP_LIMIT.
        side: (N,) BUY or SELL.
        quantity: (N,) ordered, base units, positive.
        filled: (N,) filled so far, base units. A fill takes all that is left; a column of its own
            leaves room for fills in parts, and for orders a venue has filled in part.
        limit: (N,) limit price, NaN where the kind has none.
        stop: (N,) stop price, NaN where the kind has none.
        triggered: (N,) a stop_limit whose stop was reached and which is a limit order since.
        reduce_only: (N,) may only bring the position nearer to zero.
        parent: (N,) slot whose fill wakes this order, -1 for none.
        oca: (N,) group of which the first fill cancels the rest, 0 for none.
        active_from: (N,) int64 ns UTC, open time of the first bar the order may act in.
        age: (N,) order of arrival, smaller is older.
        reason: (N,) why a CANCELED order was canceled, else 0.
    """

    status: CodeVector
    kind: CodeVector
    side: CodeVector
    quantity: FloatVector
    filled: FloatVector
    limit: FloatVector
    stop: FloatVector
    triggered: BoolVector
    reduce_only: BoolVector
    parent: IndexVector
    oca: IndexVector
    active_from: IntVector
    age: IntVector
    reason: CodeVector

    @classmethod
    def empty(cls, n: int) -> "Book":
        """A book of ``n`` vacant slots."""
        return cls(
            status=np.zeros(n, np.int8),
            kind=np.zeros(n, np.int8),
            side=np.zeros(n, np.int8),
            quantity=np.zeros(n),
            filled=np.zeros(n),
            limit=np.full(n, np.nan),
            stop=np.full(n, np.nan),
            triggered=np.zeros(n, np.bool_),
            reduce_only=np.zeros(n, np.bool_),
            parent=np.full(n, -1, np.int32),
            oca=np.zeros(n, np.int32),
            active_from=np.zeros(n, np.int64),
            age=np.zeros(n, np.int64),
            reason=np.zeros(n, np.int8),
        )

    def copy(self) -> "Book":
        """The same orders in arrays of their own."""
        return Book(
            status=self.status.copy(),
            kind=self.kind.copy(),
            side=self.side.copy(),
            quantity=self.quantity.copy(),
            filled=self.filled.copy(),
            limit=self.limit.copy(),
            stop=self.stop.copy(),
            triggered=self.triggered.copy(),
            reduce_only=self.reduce_only.copy(),
            parent=self.parent.copy(),
            oca=self.oca.copy(),
            active_from=self.active_from.copy(),
            age=self.age.copy(),
            reason=self.reason.copy(),
        )


class Fills(NamedTuple):
    """Room for what one ``step`` reports; rows beyond the number it returns mean nothing.

    Attributes:
        order: (N,) slot of the order that filled.
        price: (N,) quote currency per unit, slippage included.
        quantity: (N,) base units, positive; the side is the order's.
        point: (N,) where on the path: 0 at the open, 1 on the way to the first extreme, 2 on the
            way to the second, 3 on the way to the close; each includes its end.
        position: (N,) signed position after the fill, base units.
    """

    order: IndexVector
    price: FloatVector
    quantity: FloatVector
    point: CodeVector
    position: FloatVector

    @classmethod
    def empty(cls, n: int) -> "Fills":
        """Room for ``n`` fills; a book of n slots never needs more in one step."""
        return cls(
            order=np.zeros(n, np.int32),
            price=np.zeros(n),
            quantity=np.zeros(n),
            point=np.zeros(n, np.int8),
            position=np.zeros(n),
        )


class Path(NamedTuple):
    """The assumed way through one bar: three straight segments between four prices."""

    open: float
    first: float
    second: float
    close: float
    high_first: bool


@bare_kernel
def snap(level: float, tick: float, up: bool) -> float:
    """Move a price onto the tick grid.

        up:    min { k·tick ≥ level }        down:  max { k·tick ≤ level }

    A level that the price must rise to (buy stop, sell limit) goes up and one it must fall to goes
    down, so a fill is never claimed at a price that was only nearly reached (*measured*: 144 sell
    limits, 135 sell stops, 387 buy stops; buy limits follow by symmetry).

    Where 1/tick is whole, k is divided by it instead of multiplied by tick: 10007 / 100 is the
    float that "100.07" parses to, 10007 · 0.01 is not, and a touched level would be missed.

    Args:
        level: quote currency per unit; NaN stays NaN.
        tick: grid step, quote currency; zero means no grid.
        up: direction.
    """
    if not tick > 0.0 or math.isnan(level):
        return level
    per_unit = math.floor(1.0 / tick + 0.5)
    whole = abs(per_unit * tick - 1.0) < 1e-9
    steps = level * per_unit if whole else level / tick
    k = math.floor(steps + 0.5)
    if abs(steps - k) > GRID_NOISE:
        k = math.ceil(steps) if up else math.floor(steps)
    return k / per_unit if whole else k * tick


@bare_kernel
def tidy(price: float, tick: float) -> float:
    """Take float noise off a price that lies on the tick grid; leave any other as it is."""
    nearest = snap(price, tick, False)
    if abs(nearest - price) <= GRID_NOISE * tick:
        return nearest
    return price


@bare_kernel
def cancel(order: int, reason: int, book: Book) -> bool:
    """Cancel one order, and the children that wait for it.

    Args:
        order: slot.
        reason: ASKED, or one of the kernel's own.
        book: changed in place.

    Returns:
        False, and nothing done, when the order is neither asleep nor working.
    """
    if book.status[order] != ASLEEP and book.status[order] != WORKING:
        return False
    book.status[order] = CANCELED
    book.reason[order] = reason
    orphaned = True
    while orphaned:  # A child may itself be a parent, in any slot.
        orphaned = False
        for child in range(book.status.size):
            parent = book.parent[child]
            if book.status[child] == ASLEEP and parent >= 0 and book.status[parent] == CANCELED:
                book.status[child] = CANCELED
                book.reason[child] = PARENT_CANCELED
                orphaned = True
    return True


@bare_kernel
def _acts(order: int, time: int, book: Book) -> bool:
    # The whole defence against look-ahead: an order decided during a bar, or at its close, carries
    # the open time of a later bar and is not even looked at before.
    return bool(book.status[order] == WORKING and book.active_from[order] <= time)


@bare_kernel
def _level(order: int, book: Book) -> tuple[float, bool]:
    # The price the order waits for, and whether the market must rise to reach it.
    buys = book.side[order] == BUY
    if book.kind[order] == LIMIT or (book.kind[order] == STOP_LIMIT and book.triggered[order]):
        return book.limit[order], not buys
    return book.stop[order], buys


@bare_kernel
def _anything_in_reach(time: int, high: float, low: float, tick: float, book: Book) -> bool:
    # On most bars nothing happens. One tick of margin covers the snapping, so this never says no
    # to an order that the path would touch.
    for order in range(book.status.size):
        if _acts(order, time, book):
            if book.kind[order] == MARKET:
                return True
            level, rising = _level(order, book)
            if (level <= high + tick) if rising else (level >= low - tick):
                return True
    return False


@bare_kernel
def _reaches(end: float, level: float, rising: bool) -> bool:
    return end >= level if rising else end <= level


@bare_kernel
def _touch(
    order: int,
    segment: int,
    price: float,
    path: Path,
    tick: float,
    book: Book,
) -> tuple[int, float]:
    # Segment and price at which the order next acts, from (segment, price) onwards. An order that
    # is marketable where the path stands acts there and at that price: this is the gap rule at the
    # open, and the rule for a child or a limit that comes alive in the middle of a bar.
    if book.kind[order] == MARKET:
        return segment, price
    raw, rising = _level(order, book)
    level = snap(raw, tick, rising)
    if _reaches(price, level, rising):
        return segment, price
    if segment <= 0 and _reaches(path.first, level, rising):
        return 0, level
    if segment <= 1 and _reaches(path.second, level, rising):
        return 1, level
    if _reaches(path.close, level, rising):
        return 2, level
    return NEVER, level


@bare_kernel
def _precedes(
    order: int,
    segment: int,
    price: float,
    other: int,
    other_segment: int,
    other_price: float,
    high_first: bool,
    book: Book,
) -> bool:
    # Order of the path, then exits before entries, then age, then slot.
    if segment != other_segment:
        return segment < other_segment
    if price != other_price:
        rising = (segment % 2 == 0) == high_first
        return price < other_price if rising else price > other_price
    if book.reduce_only[order] != book.reduce_only[other]:
        return bool(book.reduce_only[order])
    if book.age[order] != book.age[other]:
        return bool(book.age[order] < book.age[other])
    return order < other


@bare_kernel
def _next(
    time: int, segment: int, price: float, path: Path, tick: float, book: Book
) -> tuple[int, int, float]:
    # The order that acts first from (segment, price) onwards, and where; -1 when none does.
    chosen, chosen_segment, chosen_price = -1, NEVER, price
    for order in range(book.status.size):
        if not _acts(order, time, book):
            continue
        when, at = _touch(order, segment, price, path, tick, book)
        if when == NEVER:
            continue
        if chosen < 0 or _precedes(
            order, when, at, chosen, chosen_segment, chosen_price, path.high_first, book
        ):
            chosen, chosen_segment, chosen_price = order, when, at
    return chosen, chosen_segment, chosen_price


@bare_kernel
def _fillable(order: int, position: float, book: Book) -> float:
    # What is left of the order, and of the position where the order may only reduce.
    left = book.quantity[order] - book.filled[order]
    if book.reduce_only[order]:
        return float(min(left, max(0.0, -book.side[order] * position)))
    return float(left)


@bare_kernel
def _moved(position: float, side: int, quantity: float) -> float:
    # 0.3 - 0.1 - 0.1 - 0.1 must be flat, or reduce-only orders would outlive their position.
    after = position + side * quantity
    if abs(after) <= 1e-12 * max(abs(position), quantity):
        return 0.0
    return after


@bare_kernel
def _cancel_siblings(order: int, book: Book) -> None:
    if book.oca[order] == 0:
        return
    for other in range(book.status.size):
        if book.oca[other] == book.oca[order]:
            cancel(other, SIBLING_FILLED, book)


@bare_kernel
def _cancel_exits(side: int, book: Book) -> None:
    # The position these orders were to reduce is closed or turned round. Without this a stop would
    # wait for the next position, which it was not made for. Sleeping children have their own.
    for other in range(book.status.size):
        reduces = book.reduce_only[other] and book.side[other] == side
        if book.status[other] == WORKING and reduces:
            cancel(other, NOTHING_TO_REDUCE, book)


@bare_kernel
def _wake_children(order: int, quantity: float, position: float, book: Book) -> None:
    for child in range(book.status.size):
        if book.status[child] != ASLEEP or book.parent[child] != order:
            continue
        # A parent that only closed an opposite position leaves its children nothing to guard.
        if position * book.side[child] < 0.0:
            book.status[child] = WORKING
            book.quantity[child] = min(book.quantity[child], quantity)
        else:
            cancel(child, NOTHING_TO_REDUCE, book)


@bare_kernel
def _settle(order: int, quantity: float, position: float, book: Book) -> float:
    # Book one fill and everything that follows from it; the new position.
    after = _moved(position, book.side[order], quantity)
    book.filled[order] += quantity
    book.status[order] = FILLED
    _cancel_siblings(order, book)
    if position != 0.0 and after * position <= 0.0:
        _cancel_exits(SELL if position > 0.0 else BUY, book)
    _wake_children(order, quantity, after, book)
    return after


@bare_kernel
def _paid(order: int, price: float, tick: float, slippage_ticks: float, book: Book) -> float:
    # A limit promises its price, so it cannot slip; the others take what is there.
    if book.kind[order] == MARKET or book.kind[order] == STOP:
        return tidy(price + book.side[order] * slippage_ticks * tick, tick)
    return price


@bare_kernel
def _path(open_: float, high: float, low: float, close: float, tick: float) -> Path:
    open_, high, low, close = (
        tidy(open_, tick),
        tidy(high, tick),
        tidy(low, tick),
        tidy(close, tick),
    )
    high_first = (open_ - low) - (high - open_) > GRID_NOISE * tick
    if high_first:
        return Path(open_, high, low, close, high_first)
    return Path(open_, low, high, close, high_first)


@bare_kernel
def step(
    time: int,
    open_: float,
    high: float,
    low: float,
    close: float,
    tick: float,
    slippage_ticks: float,
    position: float,
    book: Book,
    fills: Fills,
) -> int:
    """Carry an order book through one bar and report its fills in the order they happen.

    The path inside a bar, x₀ x₁ x₂ x₃, moves straight from point to point:

        open, high, low, close      where high − open < open − low
        open, low, high, close      otherwise

    so a bar that opens exactly midway goes to its low first. TradingView promises the high first
    only when the open is *nearer* to it, and no exported trade decides the tie (of 151 such bars in
    two exports none fills two orders); PyneCore, which reproduces those exports, does the same.

    Rules, each order looked at from where the path stands:

    - A market order fills at once; so does a limit at its price or better, and a stop at its price
      or worse. At the open this is the gap: the fill is at the open, not at the level.
    - Otherwise a level fills at the level, when the path reaches it.
    - Limits and stops are snapped to the grid first (see ``snap``).
    - Market and stop fills then move by ``slippage_ticks`` against the trader; limit fills, and the
      limit part of a stop_limit, never move. Slippage may carry a price outside the bar, as it
      does in TradingView; it has no effect on the path.
    - A stop_limit whose stop is reached is a limit order from that point on, also on later bars.
    - A reduce_only order fills min(what is left of it, |position|). It is canceled when it would
      act with nothing to reduce, and when the position it could reduce is closed or reversed.
    - A fill wakes the order's children: reduce_only, at most as large as the fill, working from
      this point of the path on the same bar. It cancels the other orders of its group.
    - At one point of the path exits (reduce_only) act before entries, then older before younger.

    **Live and backtest are the same.** Stepping (o, o, o, o) when a bar opens and (o, h, l, c),
    with the same ``time``, when it closes gives the fills of stepping (o, h, l, c) once. All that
    can act at the open has acted when the first call returns, so to look at the open again finds
    nothing; and an order accepted while the bar forms has ``active_from`` greater than ``time`` and
    waits for the next bar's open. There is no valid step in between: the path of a forming bar is
    not known.

    Args:
        time: open time of the bar, int64 ns UTC (a backtest may count bars instead).
        open_: quote currency per unit, as are high, low and close.
        high: highest price, at least every other.
        low: lowest price, at most every other.
        close: last price.
        tick: grid step, quote currency; zero for no grid (then slippage is zero as well).
        slippage_ticks: ticks lost per market or stop fill, not negative.
        position: signed, base units, negative is short.
        book: (N,) orders, changed in place.
        fills: room for N fills, written in place.

    Returns:
        The number of fills, or REFUSED, with nothing changed, where the prices are no bar or
        ``fills`` has fewer rows than ``book``. A kernel that also runs on a GPU cannot raise;
        ``ml.backtest.orders.step_bar`` does.

    Source:
        TradingView, Pine Script user manual, "Strategies: broker emulator"; the measured parts in
        tests/ml/backtest/test_tradingview.py.
    """
    if not (low <= open_ <= high and low <= close <= high and high - low < np.inf):
        return REFUSED
    if fills.order.size < book.status.size:
        return REFUSED
    if not _anything_in_reach(time, high, low, tick, book):
        return 0

    path = _path(open_, high, low, close, tick)
    segment, price, count = 0, path.open, 0
    while True:
        order, segment, price = _next(time, segment, price, path, tick, book)
        if order < 0:
            return count
        if book.kind[order] == STOP_LIMIT and not book.triggered[order]:
            book.triggered[order] = True
            continue
        quantity = _fillable(order, position, book)
        if not quantity > 0.0:
            cancel(order, NOTHING_TO_REDUCE, book)
            continue

        position = _settle(order, quantity, position, book)
        fills.order[count] = order
        fills.price[count] = _paid(order, price, tick, slippage_ticks, book)
        fills.quantity[count] = quantity
        fills.point[count] = 0 if segment == 0 and price == path.open else segment + 1
        fills.position[count] = position
        count += 1
