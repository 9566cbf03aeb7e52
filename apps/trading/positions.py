"""The arithmetic of a position: exact, so that profit and cash agree to the last decimal.

A position keeps what it cost, not an average: the average is a quotient and would round. When
part of it is closed, the cost that leaves with it is rounded once, and what is left keeps the
rest; so at every moment, whatever the sequence of fills,

    cash = starting cash + realized − fees − cost
    equity = cash + quantity · point value · price
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

ZERO = Decimal(0)
MONEY_STEP = Decimal("1e-18")
# Python's usual 28 digits would round a large account's cash; the columns hold 38.
EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held: signed units, and the signed cash that was paid for them."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Effect:
    """What one fill does.

    Attributes:
        holding: afterwards.
        closed: units that brought the position nearer to zero.
        opened: units that opened or added.
        realized: gross profit of the closed part, quote currency.
        closed_value: quantity · price of the closed part, quote currency; opened_value likewise.
    """

    holding: Holding
    closed: Decimal
    opened: Decimal
    realized: Decimal
    closed_value: Decimal
    opened_value: Decimal

    @property
    def value(self) -> Decimal:
        """Quote currency that changed hands, positive."""
        return self.closed_value + self.opened_value


def apply_fill(
    holding: Holding, *, signed: Decimal, price: Decimal, point_value: Decimal = Decimal(1)
) -> Effect:
    """Book one fill against a holding.

        closed   = min(|signed|, |q|)  where the signs differ, else 0
        realized = closed · price · point value · sign(q) − cost · closed / |q|

    Args:
        signed: units filled, negative for a sale.
        price: quote currency per unit.
        point_value: quote currency per unit and 1.0 of price.
    """
    against = holding.quantity * signed < 0
    closed = min(abs(signed), abs(holding.quantity)) if against else ZERO
    opened = abs(signed) - closed
    sign = 1 if signed > 0 else -1
    with localcontext(EXACT):
        # Rounded once and then only added: what leaves the cash is what the holding cost.
        value = (abs(signed) * price * point_value).quantize(MONEY_STEP)
        closed_value = (closed * price * point_value).quantize(MONEY_STEP)
        opened_value = value - closed_value
        cost_out = _cost_of(holding, closed)
        # Closing a long sells (sign −1) for closed_value; closing a short buys it back.
        realized = -sign * closed_value - cost_out if closed else ZERO
        return Effect(
            holding=Holding(
                holding.quantity + signed, holding.cost - cost_out + sign * opened_value
            ),
            closed=closed,
            opened=opened,
            realized=realized,
            closed_value=closed_value,
            opened_value=opened_value,
        )


def _cost_of(holding: Holding, closed: Decimal) -> Decimal:
    """The part of the cost that leaves with ``closed`` units; all of it with the last one."""
    if not closed:
        return ZERO
    if closed == abs(holding.quantity):
        return holding.cost
    return (holding.cost * closed / abs(holding.quantity)).quantize(MONEY_STEP)
