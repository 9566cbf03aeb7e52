"""Taking over what a broker holds where our books say something else.

The difference is booked as an order and a fill of our own making, so that a position stays the
sum of its fills and cash stays exact; the price is the last one, the fee nothing.
"""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from apps.core import events
from apps.core.errors import DomainError
from apps.core.ids import uuid7
from apps.marketdata import selectors as market
from apps.trading import booking, wording
from apps.trading.brokers.base import Execution
from apps.trading.models import ZERO, BrokerAccount, Order, Position


class NothingToAccept(DomainError):
    """Our books and the broker's agree."""

    code = "nothing_to_accept"


class NoPriceToAcceptAt(DomainError):
    """No price of the instrument is known, so the difference cannot be valued."""

    code = "no_price"


def accept(account: BrokerAccount, *, now: datetime) -> dict[str, str]:
    """Book what was found at the broker; the quantities booked, by instrument.

    The caller holds the account. The desk looks at the broker once more before entries pass.

    Raises:
        NothingToAccept, NoPriceToAcceptAt: as they say.
    """
    if not account.differences:
        raise NothingToAccept(f"{account.name} agrees with its broker.")
    found = {UUID(key): Decimal(each["venue"]) for key, each in account.differences.items()}
    account.differences = {}
    account.save(update_fields=["differences"])
    rows = Position.objects.filter(account=account, instrument__in=found)
    ours = dict(rows.values_list("instrument_id", "quantity"))
    prices = market.last_prices(found)
    booked = {}
    for instrument_id, theirs in found.items():
        missing = theirs - ours.get(instrument_id, ZERO)
        if not missing:
            continue
        if instrument_id not in prices:
            raise NoPriceToAcceptAt("No price is known of what the broker holds.")
        _book(account, instrument_id, missing, prices[instrument_id], now=now)
        booked[str(instrument_id)] = wording.quantity(missing)
    events.append(
        kind="account.position_accepted",
        subject="account",
        subject_id=account.pk,
        at=now,
        tenant_id=account.tenant_id,
        text=f"{account.name}: the broker's positions were accepted.",
        payload={"booked": booked},
    )
    return booked


def _book(
    account: BrokerAccount, instrument_id: UUID, missing: Decimal, price: Decimal, *, now: datetime
) -> None:
    order_id = uuid7()
    order = Order.objects.create(
        id=order_id,
        tenant_id=account.tenant_id,
        client_order_id=f"pl-{order_id.hex}-adjust",
        account=account,
        instrument_id=instrument_id,
        role=Order.Role.ADJUST,
        side=Order.Side.BUY if missing > 0 else Order.Side.SELL,
        kind=Order.Kind.MARKET,
        quantity=abs(missing),
        # Never to be sent: it is at the broker already.
        status=Order.Status.ACCEPTED,
        risk={"passed": True, "limits": [], "reason": "a person accepted the broker's position"},
        decision_price=price,
        created_at=now,
    )
    booking.book_adjustment(
        Execution(
            account_id=account.pk,
            tenant_id=account.tenant_id,
            sequence=0,
            execution_id=f"adjust-{order.pk.hex}",
            client_order_id=order.client_order_id,
            side=order.side,
            quantity=order.quantity,
            price=price,
            fee=ZERO,
            executed_at=now,
        ),
        now=now,
    )
