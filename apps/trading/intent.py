"""What a source asks for, in the desk's own words: an instrument, an action, sizes, prices."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from apps.marketdata.models import Instrument
from apps.trading.models import Order


class Action(StrEnum):
    BUY = "buy"
    SELL = "sell"
    CLOSE = "close"
    CLOSE_LONG = "close_long"
    CLOSE_SHORT = "close_short"
    CANCEL = "cancel"
    ADD = "add"


@dataclass(frozen=True, slots=True)
class Intent:
    """One signal as the desk sees it.

    Attributes:
        target: signed position the source holds after its order, units; None when it did not say.
        quantity_fraction: of the position for a close, of equity for an entry.
        quantity_quote: quote currency.
    """

    signal_id: UUID
    instrument: Instrument
    action: Action
    created_at: datetime
    quantity: Decimal | None = None
    quantity_fraction: Decimal | None = None
    quantity_quote: Decimal | None = None
    target: Decimal | None = None
    price: Decimal | None = None
    kind: Order.Kind = Order.Kind.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """An order that sizing suggests and risk has not seen.

    Attributes:
        quantity: units, positive, a multiple of the lot.
        closes: units of it that bring the position nearer to zero; the rest opens or adds.
        price: what it is valued at, quote currency per unit.
    """

    instrument: Instrument
    role: Order.Role
    side: Order.Side
    quantity: Decimal
    closes: Decimal
    price: Decimal
    kind: Order.Kind = Order.Kind.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None

    @property
    def opens(self) -> Decimal:
        return self.quantity - self.closes

    @property
    def signed(self) -> Decimal:
        return self.quantity if self.side == Order.Side.BUY else -self.quantity

    def value_of(self, quantity: Decimal) -> Decimal:
        """Quote currency."""
        return quantity * self.price * self.instrument.point_value


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no order follows: a stable code and the sentence a person reads."""

    code: str
    text: str


@dataclass(slots=True)
class Verdict:
    """What became of an intent at one deployment."""

    outcome: str
    code: str
    text: str
    orders: list[Order] = field(default_factory=list)
    # Open orders to cancel first.
    cancels: list[UUID] = field(default_factory=list)
