"""Learning: fills are booked, and our orders brought to what the venue says of them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

from apps.core.tenancy import acting_across
from apps.trading import booking, marking, progress, venue
from apps.trading.books import DOUBT_BLOCKS_AFTER
from apps.trading.brokers import BROKERS
from apps.trading.brokers.base import VenueOrder
from apps.trading.models import Order

BATCH = 500
# A send that nobody has an answer to is in doubt after this; longer than any broker's timeout.
SEND_TIMEOUT = timedelta(seconds=5)
FOLLOWED = (Order.Status.ACCEPTED, Order.Status.PARTIALLY_FILLED)
# Ends that a venue may give an order, beside filling it.
ENDS = (Order.Status.CANCELED, Order.Status.EXPIRED, Order.Status.REJECTED)


def step_paper_market(*, now: datetime) -> int:
    """Let the paper venue look at what the market has done since; how much it has changed."""
    done = 0
    accounts: set[UUID] = set()
    for instrument_id in venue.instruments_with_orders():
        stepped = venue.step(instrument_id)
        done += stepped.fills
        accounts |= stepped.quiet_changes
    if accounts:
        # What ends without a fill is not heard of as an execution.
        done += follow_open_orders("paper", accounts, now=now)
    return done


def collect(*, now: datetime) -> int:
    """Book every fill the venues report, and see what the fills canceled."""
    total = 0
    for name, broker in BROKERS.items():
        while executions := broker.executions(BATCH):
            with acting_across("desk: book fills"):
                fills = booking.book(executions, now=now)
                if fills:
                    newest = max(fill.executed_at for fill in fills)
                    marking.mark({fill.account_id for fill in fills}, at=newest)
            total += len(fills)
            accounts = {execution.account_id for execution in executions}
            follow_open_orders(name, accounts, now=now)
    return total


def follow_open_orders(
    broker: str, accounts: Iterable[UUID] | None = None, *, now: datetime
) -> int:
    """Ask the venue about open orders, all or those of some accounts: it may have ended them."""
    with acting_across("desk: open orders"):
        open_ = Order.objects.filter(account__broker=broker, status__in=FOLLOWED)
        orders = list(open_ if accounts is None else open_.filter(account__in=list(accounts)))
    if not orders:
        return 0
    found: dict[str, VenueOrder | None] = {}
    for start in range(0, len(orders), BATCH):
        found |= BROKERS[broker].find(orders[start : start + BATCH])
    return learn([order for order in orders if _is_news(order, found)], found, now=now)


def reconcile(*, now: datetime) -> int:
    """Resolve orders in doubt: ask the venue, and believe "never arrived" only after the grace.

    An order that never arrived goes back to new, with the same name. One whose fate stays unknown
    for long keeps its source out of its instrument, and its user is told.
    """
    late = Q(status=Order.Status.SUBMITTING, submitted_at__lt=now - SEND_TIMEOUT)
    with acting_across("desk: orders in doubt"):
        rows = Order.objects.filter(late | Q(status=Order.Status.UNKNOWN))
        doubtful = list(rows.select_related("account").order_by("submitted_at")[:BATCH])
        changed = list(
            Order.objects.select_for_update()
            .filter(pk__in=[order.pk for order in doubtful])
            .filter(status__in=[Order.Status.SUBMITTING, Order.Status.UNKNOWN])
            .order_by("pk")
        )
        symbols = progress.symbols_of(changed)
        for order in changed:
            if order.status == Order.Status.SUBMITTING:
                progress.doubt(order, "The send was interrupted.", now=now)
            if _must_warn(order, now=now):
                progress.warn(order, symbols[order.instrument_id], now=now)
        progress.save(changed)
    return sum(
        learn(orders, BROKERS[broker].find(orders), now=now)
        for broker, orders in progress.by_broker(doubtful).items()
    )


def _must_warn(order: Order, *, now: datetime) -> bool:
    return (
        order.parent_id is None
        and order.status_code == "in_doubt"
        and order.submitted_at is not None
        and now - order.submitted_at > DOUBT_BLOCKS_AFTER
    )


def learn(orders: Sequence[Order], found: Mapping[str, VenueOrder | None], *, now: datetime) -> int:
    """Bring our rows to what the venue says; fills themselves come as executions."""
    if not orders:
        return 0
    with acting_across("desk: learn from the venue"):
        rows = (
            Order.objects.select_for_update(of=("self",))
            .filter(pk__in=[order.pk for order in orders], status__in=Order.OPEN)
            .select_related("account", "instrument", "parent")
            .order_by("pk")
        )
        changed = [row for row in rows if _learn_one(row, found, now=now)]
        progress.save(changed)
        return len(changed)


def _is_news(order: Order, found: Mapping[str, VenueOrder | None]) -> bool:
    seen = found.get(order.client_order_id)
    return seen is not None and seen.status not in FOLLOWED


def _learn_one(order: Order, found: Mapping[str, VenueOrder | None], *, now: datetime) -> bool:
    if order.client_order_id not in found:
        return False
    seen = found[order.client_order_id]
    if seen is None:
        return _never_arrived(order, found, now=now)
    if order.status == Order.Status.UNKNOWN and seen.status not in ENDS:
        # A fill is booked from its execution, which finds the order accepted.
        order.venue_order_id = seen.venue_order_id
        progress.accept(order, order.instrument.symbol, now=now)
        return True
    if order.filled_quantity != seen.filled_quantity:
        # Fills are on their way; an order at its end could not take them.
        return False
    if seen.status in ENDS:
        # What has filled in part cannot be rejected any more.
        status = Order.Status.CANCELED if order.filled_quantity else Order.Status(seen.status)
        text = progress.CANCELED.get(seen.reason, "")
        progress.close([order], status, seen.reason, text, now=now)
        return True
    if seen.status == Order.Status.FILLED:
        # It could only reduce, and there was less to reduce than it was for.
        text = f"The position was smaller; {seen.filled_quantity.normalize():f} were filled."
        progress.close([order], Order.Status.CANCELED, "nothing_to_reduce", text, now=now)
        return True
    return False


def _never_arrived(order: Order, found: Mapping[str, VenueOrder | None], *, now: datetime) -> bool:
    grace = timedelta(seconds=BROKERS[order.account.broker].grace_s)
    in_doubt = order.status == Order.Status.UNKNOWN and order.submitted_at is not None
    if not in_doubt or now - (order.submitted_at or now) < grace:
        return False
    parent: Order | None = order.parent
    goes_again = (
        parent is None
        or parent.status == Order.Status.NEW
        or found.get(parent.client_order_id, parent) is None
    )
    if goes_again:
        progress.send_again(order, now=now)
    else:
        text = "The venue took its entry without it."
        progress.close([order], Order.Status.REJECTED, "never_arrived", text, now=now)
    return True
