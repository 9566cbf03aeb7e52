"""The paper broker: the desk's side of the paper venue, which lives in tables of its own.

Each call is a transaction of its own, as a request to a broker would be: what the desk does
before and after it can be lost, and what the venue has taken stays.
"""

from collections.abc import Mapping, Sequence, Set
from decimal import Decimal
from uuid import UUID

from django.db.models import F

from apps.core import bulk
from apps.core.ids import uuid7
from apps.core.tenancy import acting_across
from apps.marketdata.models import Quote
from apps.trading.brokers.base import Accepted, Answer, Execution, Refused, Ticket, VenueOrder
from apps.trading.models import (
    BrokerAccount,
    Order,
    PaperBook,
    PaperClock,
    PaperExecution,
    PaperHolding,
    PaperOrder,
)

OPEN = ("working", "asleep")
STATUS = {
    PaperOrder.Status.WORKING: Order.Status.ACCEPTED,
    PaperOrder.Status.ASLEEP: Order.Status.ACCEPTED,
    PaperOrder.Status.FILLED: Order.Status.FILLED,
    PaperOrder.Status.CANCELED: Order.Status.CANCELED,
}


class PaperBroker:
    """Fills come from stored and live bars by the backtest's own kernel (venue.py)."""

    grace_s = 0.0

    def submit(self, tickets: Sequence[Ticket]) -> dict[str, Answer]:
        with acting_across("paper venue: take orders"):
            floor = _Floor({ticket.order.instrument_id for ticket in tickets})
            answers: dict[str, Answer] = {}
            rows: list[PaperOrder] = []
            for ticket in tickets:
                name = ticket.order.client_order_id
                if ticket.order.instrument_id in floor.clocks:
                    rows += floor.orders_of(ticket)
                    answers[name] = Accepted(name)
                else:
                    answers[name] = Refused("no_market", "The paper venue has no market for it.")
            # The unique name makes a repeated send the same order.
            bulk.insert(rows, on_conflict="DO NOTHING")
            bulk.update(floor.clocks.values(), ["arrivals"])
        return answers

    def cancel(self, orders: Sequence[Order]) -> None:
        with acting_across("paper venue: cancel"):
            # With the clocks held no bar is stepped in between.
            _Floor({order.instrument_id for order in orders})
            open_ = [row.pk for row in _known(orders) if row.status in OPEN]
            PaperOrder.objects.filter(pk__in=open_).update(status="canceled", reason="asked")
            PaperOrder.objects.filter(parent__in=open_, status="asleep").update(
                status="canceled", reason="parent_canceled"
            )

    def find(self, orders: Sequence[Order]) -> Mapping[str, VenueOrder | None]:
        found: dict[str, VenueOrder | None] = {order.client_order_id: None for order in orders}
        with acting_across("paper venue: find"):
            for row in _known(orders):
                name, status = row.client_order_id, STATUS[PaperOrder.Status(row.status)]
                found[name] = VenueOrder(name, name, status, row.filled_quantity, row.reason)
        return found

    def executions(self, limit: int) -> Sequence[Execution]:
        with acting_across("paper venue: executions"):
            # The accounts' counters say cheaply whether there is any.
            news = list(
                PaperBook.objects.filter(sequence__gt=F("account__execution_cursor"))
                .order_by("account_id")
                .values_list("tenant_id", "account_id")[:limit]
            )
            rows = (
                PaperExecution.objects.filter(
                    tenant__in={tenant_id for tenant_id, _ in news},
                    account__in={account_id for _, account_id in news},
                    sequence__gt=F("account__execution_cursor"),
                )
                .order_by("account_id", "sequence")[:limit]
                .values_list(
                    "account_id",
                    "tenant_id",
                    "sequence",
                    "client_order_id",
                    "side",
                    "quantity",
                    "price",
                    "fee",
                    "executed_at",
                )
            )
            return [
                Execution(
                    account_id=account_id,
                    tenant_id=tenant_id,
                    sequence=sequence,
                    execution_id=f"paper-{sequence}",
                    client_order_id=client_order_id,
                    side=side,
                    quantity=quantity,
                    price=price,
                    fee=fee,
                    executed_at=executed_at,
                )
                for (
                    account_id,
                    tenant_id,
                    sequence,
                    client_order_id,
                    side,
                    quantity,
                    price,
                    fee,
                    executed_at,
                ) in rows
            ]

    def positions(self, account: BrokerAccount) -> Mapping[UUID, Decimal]:
        with acting_across("paper venue: positions"):
            held = PaperHolding.objects.filter(account=account).exclude(quantity=0)
            return dict(held.values_list("instrument_id", "quantity"))


class _Floor:
    """The venue's clocks of some instruments, held until the end of the transaction.

    The locks put arrivals and steps in line: an order is either in the book before a bar is
    stepped, or it has seen that bar and acts from the next.
    """

    def __init__(self, instruments: Set[UUID]) -> None:
        known = Quote.objects.filter(pk__in=instruments)
        bulk.insert(
            [
                PaperClock(instrument_id=quote.pk, opened_at=quote.opened_at, is_closed=True)
                for quote in known.order_by("pk")
            ],
            on_conflict="DO NOTHING",
        )
        locked = PaperClock.objects.select_for_update().filter(pk__in=instruments)
        self.clocks = {clock.instrument_id: clock for clock in locked.order_by("pk")}
        # Read under the locks: a bar that has opened meanwhile is one the order arrives in.
        self.forming = dict(Quote.objects.filter(pk__in=self.clocks).values_list("pk", "opened_at"))

    def orders_of(self, ticket: Ticket) -> list[PaperOrder]:
        """The rows of one submission; children sleep until their entry fills."""
        group = uuid7() if len(ticket.children) > 1 else None
        entry = self._order(ticket.order, status="working")
        return [
            entry,
            *(
                self._order(child, status="asleep", parent_id=entry.pk, group=group)
                for child in ticket.children
            ),
        ]

    def _order(
        self,
        order: Order,
        *,
        status: str,
        parent_id: UUID | None = None,
        group: UUID | None = None,
    ) -> PaperOrder:
        clock = self.clocks[order.instrument_id]
        clock.arrivals += 1
        return PaperOrder(
            # The same name and the same row: children find their entry when a send is repeated.
            id=order.pk,
            tenant_id=order.tenant_id,
            account_id=order.account_id,
            client_order_id=order.client_order_id,
            instrument_id=order.instrument_id,
            parent_id=parent_id,
            group=group,
            side=order.side,
            kind=order.kind,
            quantity=order.quantity,
            limit_price=order.limit_price,
            stop_price=order.stop_price,
            reduce_only=order.reduce_only,
            status=status,
            arrived_in=max(clock.opened_at, self.forming[order.instrument_id]),
            age=clock.arrivals,
        )


def _known(orders: Sequence[Order]) -> list[PaperOrder]:
    return list(PaperOrder.objects.filter(pk__in=[order.pk for order in orders]))
