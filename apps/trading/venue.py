"""The paper venue: carries the books of all accounts through the bars of one instrument.

Market orders fill the moment a bar opens, everything else when it has closed and its path is
known. The kernel guarantees that this gives the fills of the whole bar at once, which is what a
backtest does.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from uuid import UUID

from django.db.models import Exists, F, Min, OuterRef, Q

from apps.core import bulk
from apps.core.tenancy import acting_across
from apps.marketdata.models import Bar as StoredBar
from apps.marketdata.models import Instrument, Quote
from apps.trading.models import (
    ZERO,
    PaperBook,
    PaperClock,
    PaperExecution,
    PaperHolding,
    PaperOrder,
)
from ml.backtest import fills, orders
from ml.bars import Bar

KINDS = {
    "market": fills.MARKET,
    "limit": fills.LIMIT,
    "stop": fills.STOP,
    "stop_limit": fills.STOP_LIMIT,
}
REASONS = {
    fills.ASKED: "asked",
    fills.SIBLING_FILLED: "sibling_filled",
    fills.NOTHING_TO_REDUCE: "nothing_to_reduce",
    fills.PARENT_CANCELED: "parent_canceled",
}
OPEN = ("working", "asleep")
# Bars stepped in one transaction when the venue has to catch up.
BARS_AT_ONCE = 500
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PRICE_STEP = Decimal("1e-10")
QUANTITY_STEP = Decimal("1e-8")
FEE_STEP = Decimal("1e-8")


@dataclass(frozen=True, slots=True)
class Step:
    """One look of the venue at a bar: at its open only, or at the whole of it."""

    opened_at: datetime
    bar: Bar
    is_closed: bool


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a look at the market changed: fills, and accounts whose orders ended without one."""

    fills: int = 0
    quiet_changes: frozenset[UUID] = frozenset()


def advance(instrument_id: UUID) -> int:
    """Carry every open paper order of an instrument up to its newest price; fills made."""
    return step(instrument_id).fills


def step(instrument_id: UUID) -> Stepped:
    """``advance``, and whose orders ended otherwise.

    One transaction: fills, the venue's holdings and its clock move together or not at all.
    """
    with acting_across("paper venue: step"):
        clock = PaperClock.objects.select_for_update().filter(pk=instrument_id).first()
        if clock is None:
            return Stepped()
        if not (steps := list(_steps(clock))):
            return Stepped()
        instrument = Instrument.objects.get(pk=instrument_id)
        books = _books(instrument)
        count = 0
        for each in steps:
            for book in books:
                count += book.step(each)
            clock.opened_at, clock.is_closed = each.opened_at, each.is_closed
        clock.save(update_fields=["opened_at", "is_closed"])
        changed = [row for book in books for row in book.changes()]
        _save(books, changed)
        return Stepped(
            count,
            frozenset(row.account_id for row in changed if row.status == "canceled"),
        )


def instruments_with_orders() -> list[UUID]:
    """Where the venue has something to do: open orders, and a market that has moved on."""
    moved_on = Q(instrument__quote__opened_at__gt=F("opened_at")) | Q(
        is_closed=False, instrument__quote__is_forming=False
    )
    with acting_across("paper venue: look"):
        open_ = PaperOrder.objects.filter(instrument=OuterRef("instrument"), status__in=OPEN)
        clocks = PaperClock.objects.filter(moved_on).filter(Exists(open_))
        return list(clocks.values_list("instrument_id", flat=True))


class AccountBook:
    """One account's orders in one instrument, in the kernel's arrays."""

    def __init__(
        self, rows: Sequence[PaperOrder], *, instrument: Instrument, held: PaperHolding
    ) -> None:
        # Parents first: a child names its parent's slot.
        self.rows = sorted(rows, key=lambda row: (row.parent_id is not None, row.age))
        self.instrument = instrument
        self.held = held
        self.executions: list[PaperExecution] = []
        self.book = fills.Book.empty(len(self.rows))
        slots: dict[UUID, int] = {}
        groups: dict[UUID, int] = {}
        for row in self.rows:
            slots[row.pk] = self._place(row, slots, groups)

    def _place(self, row: PaperOrder, slots: dict[UUID, int], groups: dict[UUID, int]) -> int:
        oca = groups.setdefault(row.group, len(groups) + 1) if row.group else 0
        return orders.place(
            self.book,
            kind=KINDS[row.kind],
            side=fills.BUY if row.side == "buy" else fills.SELL,
            quantity=float(row.quantity),
            limit=_float(row.limit_price),
            stop=_float(row.stop_price),
            # A child that is awake has a parent that filled and left the book.
            parent=slots[row.parent_id] if row.status == "asleep" and row.parent_id else -1,
            oca=oca,
            reduce_only=row.reduce_only,
            triggered=row.is_triggered,
            age=row.age,
            active_from=_nanoseconds(row.arrived_in) + 1,
        )

    def step(self, step: Step) -> int:
        """Step one bar; the fills become executions of the venue."""
        made = orders.step_bar(
            step.bar,
            book=self.book,
            position=float(self.held.quantity),
            tick=float(self.instrument.tick_size),
            slippage_ticks=float(self.instrument.slippage_ticks),
        )
        for fill in made:
            row = self.rows[fill.order]
            quantity = _quantity(fill.quantity)
            price = Decimal(repr(fill.price)).quantize(PRICE_STEP)
            self.held.quantity += quantity if row.side == "buy" else -quantity
            self.executions.append(self._execution(row, quantity, price, step.opened_at))
        return len(made)

    def _execution(
        self, row: PaperOrder, quantity: Decimal, price: Decimal, at: datetime
    ) -> PaperExecution:
        fee = quantity * price * self.instrument.point_value * self.instrument.fee_rate
        return PaperExecution(
            tenant_id=row.tenant_id,
            account_id=row.account_id,
            client_order_id=row.client_order_id,
            instrument_id=row.instrument_id,
            side=row.side,
            quantity=quantity,
            price=price,
            fee=fee.quantize(FEE_STEP, ROUND_HALF_EVEN),
            executed_at=at,
        )

    def changes(self) -> Iterator[PaperOrder]:
        """Rows whose state the steps have changed, with the new state in them."""
        names = {
            fills.WORKING: PaperOrder.Status.WORKING,
            fills.ASLEEP: PaperOrder.Status.ASLEEP,
            fills.FILLED: PaperOrder.Status.FILLED,
            fills.CANCELED: PaperOrder.Status.CANCELED,
        }
        for slot, row in enumerate(self.rows):
            before = (row.status, row.is_triggered, row.quantity)
            row.status = names[int(self.book.status[slot])]
            row.is_triggered = bool(self.book.triggered[slot])
            row.quantity = _quantity(float(self.book.quantity[slot]))
            if (row.status, row.is_triggered, row.quantity) != before:
                row.filled_quantity = _quantity(float(self.book.filled[slot]))
                row.reason = REASONS.get(int(self.book.reason[slot]), "")
                yield row


def _steps(clock: PaperClock) -> Iterator[Step]:
    """What happened since the clock: closed bars in order, then the open of the forming one."""
    first = PaperOrder.objects.filter(instrument=clock.instrument_id, status__in=OPEN).aggregate(
        at=Min("arrived_in")
    )["at"]
    # Bars that no order could act in are not walked through.
    since = max(clock.opened_at, first) if first else clock.opened_at
    reopened = not clock.is_closed and since == clock.opened_at
    quote = Quote.objects.filter(pk=clock.instrument_id).first()
    if quote is None:
        return
    bars = StoredBar.objects.filter(
        instrument=clock.instrument_id,
        interval_s=quote.interval_s,
        **{"opened_at__gte" if reopened else "opened_at__gt": since},
    ).order_by("opened_at")[:BARS_AT_ONCE]
    last = None
    for row in bars:
        last = row.opened_at
        prices = (float(row.open), float(row.high), float(row.low), float(row.close))
        yield Step(
            row.opened_at, Bar(_nanoseconds(row.opened_at), *prices, float(row.volume)), True
        )
    behind = len(bars) == BARS_AT_ONCE
    newest = max(filter(None, (last, since)))
    if quote.is_forming and quote.opened_at > newest and not behind:
        opened = Bar.opened(_nanoseconds(quote.opened_at), float(quote.open))
        yield Step(quote.opened_at, opened, False)


def _books(instrument: Instrument) -> list[AccountBook]:
    by_account: dict[UUID, list[PaperOrder]] = defaultdict(list)
    for row in PaperOrder.objects.filter(instrument=instrument, status__in=OPEN):
        by_account[row.account_id].append(row)
    holdings = {
        row.account_id: row
        for row in PaperHolding.objects.filter(instrument=instrument, account__in=by_account)
    }
    books = []
    for account_id, rows in sorted(by_account.items()):
        held = holdings.get(account_id) or PaperHolding(
            tenant_id=rows[0].tenant_id, account_id=account_id, instrument=instrument, quantity=ZERO
        )
        books.append(AccountBook(rows, instrument=instrument, held=held))
    return books


def _save(books: Sequence[AccountBook], changed: Sequence[PaperOrder]) -> None:
    bulk.update(
        changed,
        ["status", "reason", "is_triggered", "quantity", "filled_quantity"],
    )
    filled = [book for book in books if book.executions]
    if not filled:
        return
    accounts = [book.held.account_id for book in filled]
    PaperBook.objects.bulk_create(
        [
            PaperBook(tenant_id=book.held.tenant_id, account_id=book.held.account_id)
            for book in filled
        ],
        ignore_conflicts=True,
    )
    counters = {
        row.account_id: row
        for row in PaperBook.objects.select_for_update()
        .filter(account__in=accounts)
        .order_by("account_id")
    }
    for book in filled:
        counter = counters[book.held.account_id]
        for execution in book.executions:
            counter.sequence += 1
            execution.sequence = counter.sequence
    bulk.update(counters.values(), ["sequence"])
    bulk.insert(row for book in filled for row in book.executions)
    PaperHolding.objects.bulk_create(
        [book.held for book in filled],
        update_conflicts=True,
        unique_fields=["tenant", "account", "instrument"],
        update_fields=["quantity"],
    )


def _quantity(value: float) -> Decimal:
    return Decimal(repr(value)).quantize(QUANTITY_STEP)


def _float(value: Decimal | None) -> float:
    return float("nan") if value is None else float(value)


def _nanoseconds(at: datetime) -> int:
    delta = at - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1_000
