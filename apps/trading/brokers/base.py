"""What the desk asks of any broker, and the three things a broker can answer.

A broker never retries and never guesses: what is not certain is ``InDoubt``, and the desk asks
again with ``find`` before it sends anything twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from apps.trading.models import BrokerAccount, Order


@dataclass(frozen=True, slots=True)
class Ticket:
    """One submission: an order and, for a bracket, its children."""

    account: BrokerAccount
    order: Order
    children: tuple[Order, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The venue has the order."""

    venue_order_id: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The venue has said, definitely, that it will not take the order."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class InDoubt:
    """Timeout, cut line, 5xx, 429, an answer nobody can read: nobody knows."""

    text: str


Answer = Accepted | Refused | InDoubt


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the venue sees it; ``status`` in our own words."""

    client_order_id: str
    venue_order_id: str
    status: str
    filled_quantity: Decimal
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill as the venue reports it; ``sequence`` grows per account without a gap."""

    account_id: UUID
    tenant_id: UUID
    sequence: int
    execution_id: str
    client_order_id: str
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    executed_at: datetime


class Broker(Protocol):
    """One kind of venue."""

    # How long after the last send "no such order" must still be the answer to be believed:
    # at least our timeout, the venue's validity window and the difference of the clocks.
    grace_s: float

    def submit(self, tickets: Sequence[Ticket]) -> dict[str, Answer]:
        """Send each ticket once; answers by client_order_id of the ticket's order."""
        ...

    def cancel(self, orders: Sequence[Order]) -> None:
        """Ask for cancellation; what became of it is seen by ``find``."""
        ...

    def find(self, orders: Sequence[Order]) -> Mapping[str, VenueOrder | None]:
        """What the venue knows of each order; None when it has never heard of it.

        An order that is missing from the answer could not be asked for.
        """
        ...

    def executions(self, limit: int) -> Sequence[Execution]:
        """Fills not booked yet, in each account's own order, across all accounts of this kind."""
        ...

    def positions(self, account: BrokerAccount) -> Mapping[UUID, Decimal]:
        """Signed quantity per instrument, as the venue sees it."""
        ...
