"""What decisions are made of in these tests: an account's book, an intent, a deployment."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from apps.core.ids import uuid7
from apps.marketdata.models import Instrument
from apps.trading.books import AccountBook
from apps.trading.intent import Action, Intent, Proposal
from apps.trading.models import BrokerAccount, Deployment, Order, RiskLimits
from tests.factories import NOON

TENANT = uuid4()
BTC = Instrument(
    symbol="BTCUSD", exchange="TEST", currency="USD", tick_size=Decimal("0.01"),
    lot_size=Decimal("0.1"), point_value=Decimal(1), fee_rate=Decimal(0),
)  # fmt: skip
ETH = Instrument(
    symbol="ETHUSD", exchange="TEST", currency="USD", tick_size=Decimal("0.01"),
    lot_size=Decimal("0.1"), point_value=Decimal(1), fee_rate=Decimal(0),
)  # fmt: skip
NO_LIMITS: dict[str, Any] = {
    "max_order_notional": None, "max_daily_notional": None, "max_position_notional": None,
    "max_order_quantity": None, "max_open_positions": None, "max_orders_per_minute": None,
    "price_band": None, "max_leverage": None, "duplicate_window_s": 0, "max_daily_loss": None,
}  # fmt: skip
PRICE = Decimal(100)


def book(held: str | int = 0, equity: int = 10_000, **limits: Any) -> AccountBook:
    account = BrokerAccount(
        tenant_id=TENANT, name="Paper", cash=Decimal(equity), day_equity=Decimal(equity)
    )
    rows = RiskLimits(tenant_id=TENANT, account=account, **(NO_LIMITS | limits))
    found = AccountBook(account=account, limits=rows, equity=Decimal(equity))
    found.marks = {BTC.pk: PRICE, ETH.pk: PRICE}
    if held:
        found.held[BTC.pk] = Decimal(held)
    return found


def order(side: str = "buy", quantity: str | int = 1, **overrides: Any) -> Order:
    values: dict[str, Any] = {
        "tenant_id": TENANT, "instrument_id": BTC.pk, "side": side, "kind": "market",
        "quantity": Decimal(quantity), "created_at": NOON,
    }  # fmt: skip
    return Order(**(values | overrides))


def deployment(sizing: str = "signal", size: str | int = 1, **overrides: Any) -> Deployment:
    return Deployment(tenant_id=TENANT, name="d", sizing=sizing, size=Decimal(size), **overrides)


def intent(action: str = "buy", **overrides: Any) -> Intent:
    values: dict[str, Any] = {
        name: Decimal(value) if isinstance(value, int | str) else value
        for name, value in overrides.items()
    }
    return Intent(
        signal_id=uuid7(), instrument=BTC, action=Action(action), created_at=NOON, **values,
    )  # fmt: skip


def proposal(
    side: str = "buy", quantity: Decimal | str | int = 1, closes: str | int = 0, **overrides: Any
) -> Proposal:
    made = Proposal(
        instrument=BTC, role=Order.Role.ENTRY, side=Order.Side(side), quantity=Decimal(quantity),
        closes=Decimal(closes), price=PRICE,
    )  # fmt: skip
    return replace(made, **overrides)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)
