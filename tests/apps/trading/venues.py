"""A broker of the tests' own: it breaks in every way a line to a venue can break."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

import psycopg

from apps.trading.brokers.base import (
    Accepted,
    Answer,
    Execution,
    InDoubt,
    Refused,
    Ticket,
    VenueOrder,
)
from apps.trading.models import BrokerAccount, Order


@dataclass
class FakeVenue:
    """Takes orders without looking whether it has them already: we must not send them twice.

    Attributes:
        mood: what becomes of the next submissions: ok, refuse, cut_before, cut_after, silent.
        late: orders on their way that arrive when ``deliver`` is called.
        is_away: nothing can be asked.
    """

    grace_s: float = 10.0
    mood: str = "ok"
    is_away: bool = False
    orders: list[VenueOrder] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    holdings: dict[UUID, Decimal] = field(default_factory=dict)
    made: list[Execution] = field(default_factory=list)
    canceled: list[str] = field(default_factory=list)
    # Looks at the database on a connection of its own, for each order that is posted.
    on_post: Callable[[Order], None] | None = None
    posts: int = 0

    def submit(self, tickets: Sequence[Ticket]) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        for ticket in tickets:
            for order in (ticket.order, *ticket.children):
                self.posts += 1
                if self.on_post:
                    self.on_post(order)
            answer = self._answer(ticket)
            if answer is not None:
                answers[ticket.order.client_order_id] = answer
        return answers

    def _answer(self, ticket: Ticket) -> Answer | None:
        names = [order.client_order_id for order in (ticket.order, *ticket.children)]
        match self.mood:
            case "refuse":
                return Refused("margin", "Not enough margin.")
            case "cut_before":
                return InDoubt("connection reset")
            case "late":
                self.late += names
                return InDoubt("timed out")
        self.orders += [self._taken(name) for name in names]
        match self.mood:
            case "cut_after":
                return InDoubt("timed out")
            case "silent":
                return None
            case "crash":
                raise KeyboardInterrupt
        return Accepted(f"v-{names[0]}")

    def _taken(self, name: str) -> VenueOrder:
        return VenueOrder(name, f"v-{name}", "accepted", Decimal(0))

    def deliver(self) -> None:
        self.orders += [self._taken(name) for name in self.late]
        self.late = []

    def cancel(self, orders: Sequence[Order]) -> None:
        self.canceled += [order.client_order_id for order in orders]
        self.orders = [
            VenueOrder(row.client_order_id, row.venue_order_id, "canceled", Decimal(0), "asked")
            if row.client_order_id in self.canceled
            else row
            for row in self.orders
        ]

    def find(self, orders: Sequence[Order]) -> Mapping[str, VenueOrder | None]:
        if self.is_away:
            return {}
        known = {row.client_order_id: row for row in self.orders}
        return {order.client_order_id: known.get(order.client_order_id) for order in orders}

    def executions(self, limit: int) -> Sequence[Execution]:
        made, self.made = self.made, []
        return made

    def positions(self, account: BrokerAccount) -> Mapping[UUID, Decimal]:
        return self.holdings

    def names(self) -> list[str]:
        return [row.client_order_id for row in self.orders]


def committed(order: Order, url: str) -> tuple[str, bool]:
    """Status and passed risk check of an order, as another connection sees them."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT status, risk->>'passed' = 'true' FROM trading_order WHERE id = %s", [order.pk]
        ).fetchone()
    assert row is not None
    return row[0], row[1]
