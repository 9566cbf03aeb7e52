"""What must be known of accounts to decide on orders: loaded once for a batch, then kept current.

Accounts are locked for the rest of the transaction, in one order, so that two batches cannot
together exceed what each of them may do alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db.models import Case, DecimalField, F, Min, Q, Sum, Value, When
from django.db.models.functions import Coalesce

from apps.core import bulk
from apps.marketdata.models import Quote
from apps.trading.models import (
    ZERO,
    BrokerAccount,
    Order,
    Position,
    RiskLimits,
    ServiceState,
    TradingState,
)

# An order whose fate has been unknown for longer keeps its source out of the instrument.
DOUBT_BLOCKS_AFTER = timedelta(seconds=60)
REMAINING = F("quantity") - F("filled_quantity")
MONEY: "DecimalField[Decimal, Decimal]" = DecimalField(max_digits=38, decimal_places=18)


@dataclass(frozen=True, slots=True)
class Placed:
    """An order of the last minutes, for the limits that count orders."""

    instrument_id: UUID
    side: str
    quantity: Decimal
    at: datetime


@dataclass(slots=True)
class AccountBook:
    """One account as the decisions of a batch see it.

    Quantities are signed units per instrument. Children of a bracket, and stops and limits that
    only reduce, are no exposure and count nowhere.

    Attributes:
        held: the position.
        entries: what open orders will add to it.
        leaving: what open orders would add whose cancellation is asked for.
        resting: of ``entries``, those that may or may not fill: (bought, sold), both positive.
        reducing: what market orders that only reduce will take from it.
        in_doubt: (deployment, instrument) with an order nobody knows the fate of for too long.
        marks: value of one unit per instrument, quote currency.
        halted: why entries are refused, empty when they are not.
        written: orders decided on in this batch, not in the database yet.
    """

    account: BrokerAccount
    limits: RiskLimits
    halted: str = ""
    held: dict[UUID, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    entries: dict[UUID, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    leaving: dict[UUID, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    resting: dict[UUID, tuple[Decimal, Decimal]] = field(
        default_factory=lambda: defaultdict(lambda: (ZERO, ZERO))
    )
    reducing: dict[UUID, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    in_doubt: set[tuple[UUID | None, UUID]] = field(default_factory=set)
    marks: Mapping[UUID, Decimal] = field(default_factory=dict)
    placed: list[Placed] = field(default_factory=list)
    notional_today: Decimal = ZERO
    equity: Decimal = ZERO
    written: list[Order] = field(default_factory=list)

    def exposure(self, instrument_id: UUID) -> Decimal:
        """Signed units, orders on their way included."""
        return _reduced(
            self.held[instrument_id] + self.entries[instrument_id], self.reducing[instrument_id]
        )

    def closable(self, instrument_id: UUID) -> Decimal:
        """``exposure`` and what is being canceled: a close must outlast a cancel that is late."""
        coming = self.entries[instrument_id] + self.leaving[instrument_id]
        return _reduced(self.held[instrument_id] + coming, self.reducing[instrument_id])

    def worst(self, instrument_id: UUID, side: str) -> Decimal:
        """Signed units if only the resting orders of this side fill."""
        bought, sold = self.resting[instrument_id]
        exposure = self.exposure(instrument_id)
        return exposure + sold if side == Order.Side.BUY else exposure - bought

    def instruments_with_exposure(self) -> set[UUID]:
        return {
            instrument_id
            for instrument_id in {*self.held, *self.entries}
            if self.largest(instrument_id) != 0
        }

    def largest(self, instrument_id: UUID) -> Decimal:
        """Units, positive: the largest position that open orders can lead to."""
        return max(abs(self.worst(instrument_id, "buy")), abs(self.worst(instrument_id, "sell")))

    def gross_value(self, *, without: UUID | None = None) -> Decimal:
        """Quote currency at worst; instruments without a price count nothing."""
        return sum(
            (
                self.largest(instrument_id) * self.marks.get(instrument_id, ZERO)
                for instrument_id in self.instruments_with_exposure()
                if instrument_id != without
            ),
            ZERO,
        )

    def note(self, orders: Sequence[Order], *, value: Decimal) -> None:
        """Count orders that were just decided on, the first with its children behind it."""
        order = orders[0]
        self.written += orders
        self._count(order, order.quantity)
        self.placed.append(
            Placed(order.instrument_id, order.side, order.quantity, order.created_at)
        )
        self.notional_today += value

    def take_back_entries(
        self, deployment_id: UUID | None, instrument_id: UUID, *, now: datetime
    ) -> None:
        """Ask for the cancellation of entries of this batch; those before it are in the database.

        A market would not fill in their order an entry and the exit that was meant for it: what
        only reduces comes first.
        """
        for order in self.written:
            mine = (order.deployment_id, order.instrument_id) == (deployment_id, instrument_id)
            if mine and not order.reduce_only and order.cancel_requested_at is None:
                self._count(order, -order.quantity)
                order.cancel_requested_at = now
                self._count(order, order.quantity)

    def _count(self, order: Order, quantity: Decimal) -> None:
        key = order.instrument_id
        signed = quantity if order.side == Order.Side.BUY else -quantity
        if order.reduce_only:
            if order.kind == Order.Kind.MARKET:
                self.reducing[key] += signed
        elif order.cancel_requested_at is not None:
            self.leaving[key] += signed
        else:
            self.entries[key] += signed
            if order.kind != Order.Kind.MARKET:
                bought, sold = self.resting[key]
                is_buy = order.side == Order.Side.BUY
                self.resting[key] = (
                    (bought + quantity, sold) if is_buy else (bought, sold + quantity)
                )


def _reduced(position: Decimal, by: Decimal) -> Decimal:
    """Brought nearer to zero, and never beyond it."""
    if position * by >= 0:
        return position
    after = position + by
    return after if after * position > 0 else ZERO


def load(
    account_ids: Iterable[UUID], *, marks: Mapping[UUID, Decimal], now: datetime
) -> dict[UUID, AccountBook]:
    """Lock accounts and read what decisions on them need.

    Args:
        marks: value of one unit per instrument (price · point value), quote currency.
    """
    accounts = list(
        BrokerAccount.objects.select_for_update(no_key=True)
        .filter(pk__in=set(account_ids))
        .order_by("pk")
    )
    ids = [account.pk for account in accounts]
    limits = {row.account_id: row for row in RiskLimits.objects.filter(account__in=ids)}
    books = {
        account.pk: AccountBook(
            account=account,
            limits=limits.get(account.pk)
            or RiskLimits(account=account, tenant_id=account.tenant_id),
        )
        for account in accounts
    }
    _read_halts(books)
    _read_orders(books, now=now)
    _read_recent(books, now=now)
    _read_notional(books, now=now)
    _value(books, _read_positions(books), marks)
    _begin_day(books, now=now)
    return books


def _read_halts(books: dict[UUID, AccountBook]) -> None:
    tenants = {book.account.tenant_id for book in books.values()}
    halted = {
        state.tenant_id: state.reason
        for state in TradingState.objects.filter(tenant__in=tenants, is_halted=True)
    }
    service = ServiceState.objects.filter(is_halted=True).first()
    for book in books.values():
        if service:
            book.halted = f"the service is halted: {service.reason}"
        elif book.account.tenant_id in halted:
            book.halted = f"trading is halted: {halted[book.account.tenant_id]}"
        elif book.account.state == BrokerAccount.State.HALTED:
            book.halted = f"account {book.account.name} is halted"
        elif book.account.state == BrokerAccount.State.RECONCILING:
            book.halted = f"account {book.account.name} is being reconciled with its broker"


def _read_positions(books: dict[UUID, AccountBook]) -> list[Position]:
    rows = list(Position.objects.filter(account__in=books).exclude(quantity=0))
    for row in rows:
        books[row.account_id].held[row.instrument_id] = row.quantity
    return rows


def _value(
    books: dict[UUID, AccountBook], rows: Sequence[Position], marks: Mapping[UUID, Decimal]
) -> None:
    """Complete the marks, for the batch knows only its own instruments', and sum the equity."""
    known = dict(marks)
    wanted = {key for book in books.values() for key in {*book.held, *book.entries}} - {*known}
    if wanted:
        for quote in Quote.objects.filter(pk__in=wanted).select_related("instrument"):
            known[quote.pk] = quote.price * quote.instrument.point_value
    for book in books.values():
        book.marks, book.equity = known, book.account.cash
    for row in rows:
        mark = known.get(row.instrument_id)
        # At what it cost, where no price is known.
        books[row.account_id].equity += row.cost if mark is None else row.quantity * mark


def _read_orders(books: dict[UUID, AccountBook], *, now: datetime) -> None:
    open_ = Order.objects.filter(account__in=books, status__in=Order.OPEN, parent=None).exclude(
        reduce_only=True, kind__in=["stop", "stop_limit", "limit"]
    )
    # Summed by the database: an account may have thousands of orders open.
    alike = open_.values("account_id", "instrument_id", "side", "kind", "reduce_only").annotate(
        asked_at=Min("cancel_requested_at"),
        kept=Sum(REMAINING, filter=Q(cancel_requested_at=None)),
        leaving=Sum(REMAINING, filter=Q(cancel_requested_at__isnull=False)),
    )
    for row in alike:
        book = books[row["account_id"]]
        order = Order(
            instrument_id=row["instrument_id"],
            side=row["side"],
            kind=row["kind"],
            reduce_only=row["reduce_only"],
        )
        book._count(order, row["kept"] or ZERO)
        order.cancel_requested_at = row["asked_at"]
        book._count(order, row["leaving"] or ZERO)

    doubtful = open_.filter(status=Order.Status.UNKNOWN, submitted_at__lt=now - DOUBT_BLOCKS_AFTER)
    for account_id, *where in doubtful.values_list("account_id", "deployment_id", "instrument_id"):
        books[account_id].in_doubt.add((where[0], where[1]))


def _read_recent(books: dict[UUID, AccountBook], *, now: datetime) -> None:
    window_s = max((book.limits.duplicate_window_s for book in books.values()), default=0)
    since = now - timedelta(seconds=max(60, window_s))
    counts = [
        pk
        for pk, book in books.items()
        if book.limits.max_orders_per_minute is not None or book.limits.duplicate_window_s
    ]
    if counts:
        recent = Order.objects.filter(account__in=counts, created_at__gte=since, parent=None)
        for account_id, *placed in recent.values_list(
            "account_id", "instrument_id", "side", "quantity", "created_at"
        ):
            books[account_id].placed.append(Placed(*placed))


def _read_notional(books: dict[UUID, AccountBook], *, now: datetime) -> None:
    counted = [pk for pk, book in books.items() if book.limits.max_daily_notional is not None]
    if counted:
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        # What was closed unfilled has used nothing up.
        used = Case(When(status__in=Order.OPEN, then=F("quantity")), default=F("filled_quantity"))
        price = Coalesce("limit_price", "stop_price", "decision_price", Value(ZERO))
        rows = (
            Order.objects.filter(account__in=counted, created_at__gte=midnight, parent=None)
            .values("account_id")
            .annotate(value=Sum(used * price * F("instrument__point_value"), output_field=MONEY))
        )
        for row in rows:
            books[row["account_id"]].notional_today = row["value"] or ZERO


def _begin_day(books: dict[UUID, AccountBook], *, now: datetime) -> None:
    """The first decision of a UTC day notes the equity that the day's loss is measured from."""
    today = now.astimezone(UTC).date()
    begun = [book.account for book in books.values() if book.account.day_on != today]
    for account in begun:
        account.day_on, account.day_equity = today, books[account.pk].equity
    if begun:
        bulk.update(begun, ["day_on", "day_equity"])
