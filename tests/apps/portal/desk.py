"""A tenant's whole day, written straight into the tables: one of everything that has a page."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.factories import (
    NOON,
    make_account,
    make_deployment,
    make_endpoint,
    make_instrument,
    make_order,
)

if TYPE_CHECKING:
    from apps.accounts.models import Tenant
    from apps.marketdata.models import Instrument


@dataclass
class Day:
    """The objects of a day, by the name of their page."""

    instrument: Any
    account: Any
    endpoint: Any
    deployment: Any
    alert: Any
    unreadable: Any
    signal: Any
    rejected: Any
    decision: Any
    order: Any
    stop: Any
    position: Any
    trade: Any

    def addresses(self) -> list[str]:
        return [
            f"/signals/{self.signal.pk}/",
            f"/signals/{self.rejected.pk}/",
            f"/orders/{self.order.pk}/",
            f"/orders/{self.stop.pk}/",
            f"/positions/{self.position.pk}/",
            f"/trades/{self.trade.pk}/",
            f"/accounts/{self.account.pk}/",
            f"/accounts/{self.account.pk}/limits/",
            f"/accounts/{self.account.pk}/equity.json",
            f"/deployments/{self.deployment.pk}/",
            f"/webhooks/{self.endpoint.pk}/",
            f"/webhooks/{self.endpoint.pk}/delete/",
            f"/alerts/{self.alert.pk}/",
            f"/alerts/{self.unreadable.pk}/",
        ]


LISTS = [
    "/", "/signals/", "/orders/", "/positions/", "/trades/", "/charts/", "/deployments/",
    "/accounts/", "/webhooks/", "/webhooks/log/", "/switch/", "/search/?q=BTC",
    "/accounts/new/", "/webhooks/new/", "/deployments/new/",
]  # fmt: skip
EXPORTS = [
    "/signals/", "/orders/", "/positions/", "/trades/", "/deployments/", "/accounts/",
    "/webhooks/log/",
]  # fmt: skip


def market() -> "Instrument":
    """An instrument with two bars and a price."""
    from apps.core.tenancy import acting_across
    from apps.marketdata import feed

    btc = make_instrument()
    with acting_across("test: market"):
        feed.open_bar(btc, NOON, Decimal(100))
        feed.close_bar(btc, NOON, Decimal(101))
        feed.open_bar(btc, NOON + timedelta(minutes=1), Decimal(102))
    return btc


def live_through(tenant: "Tenant", btc: "Instrument", *, signals: int = 1) -> Day:
    """A day of one accepted and filled signal, one rejected and one unreadable alert.

    Args:
        signals: how many accepted signals with an order each.
    """
    from apps.core import events
    from apps.core.tenancy import acting_for
    from apps.signals.models import Decision, Signal
    from apps.trading.models import EquityPoint, Fill, Order, Position, Trade
    from apps.webhooks.models import Alert, Refusal

    account = make_account(tenant)
    endpoint = make_endpoint(tenant, f"token-{tenant.pk}")
    deployment = make_deployment(tenant, endpoint, account)
    with acting_for(tenant):
        rows = [
            Alert(endpoint=endpoint, body=b'{"action":"buy"}', status="decided",
                  decided_at=NOON, received_at=NOON)
            for _ in range(signals + 1)
        ]  # fmt: skip
        Alert.objects.bulk_create(rows)
        unreadable = Alert.objects.create(
            endpoint=endpoint, body=b"\xff<script>alert(1)</script>", status="decided",
            decided_at=NOON, received_at=NOON, message_code="no_action",
        )  # fmt: skip
        made = [
            Signal(alert=alert, instrument=btc, ticker="BTCUSD", action="buy",
                   quantity=Decimal(2), price=Decimal(101), created_at=NOON,
                   reading={"action": "buy"}, features={"rsi_14": 55.5})
            for alert in rows
        ]  # fmt: skip
        Signal.objects.bulk_create(made)
        *accepted, rejected = made
        decisions = [
            Decision(alert=signal.alert, signal=signal, deployment=deployment,
                     outcome="rejected" if signal is rejected else "accepted",
                     code="daily_loss_limit" if signal is rejected else "ok",
                     text="Daily loss limit reached, 2.10 % of 2.00 %."
                     if signal is rejected else "Buy 2 BTCUSD at the market.",
                     decided_at=NOON)
            for signal in made
        ]  # fmt: skip
        Decision.objects.bulk_create(decisions)
        Decision.objects.create(
            alert=unreadable, outcome="rejected", code="no_action",
            text="The message does not say what to do.", decided_at=NOON,
        )  # fmt: skip
        Refusal.objects.create(
            endpoint=endpoint, minute=NOON, code="method-not-allowed", status=405, last_at=NOON
        )
        trades = [
            Trade(account=account, instrument=btc, deployment=deployment, direction="long",
                  opened_at=NOON, entry_quantity=Decimal(2), entry_value=Decimal(202),
                  # All but the first are over.
                  **({"closed_at": NOON, "exit_quantity": Decimal(2), "profit": Decimal(3),
                      "exit_value": Decimal(205)} if place else {}))
            for place in range(signals)
        ]  # fmt: skip
        Trade.objects.bulk_create(trades)
        position = Position.objects.create(
            account=account, instrument=btc, quantity=Decimal(2), cost=Decimal(202),
            updated_at=NOON,
        )  # fmt: skip
    with acting_for(tenant):
        orders = [
            Order(client_order_id=f"pl-{signal.pk.hex}-0", account=account, instrument=btc,
                  signal_id=signal.pk, deployment=deployment, side="buy", kind="market",
                  status="filled", quantity=Decimal(2), filled_quantity=Decimal(2),
                  filled_value=Decimal(202), risk={"passed": True}, created_at=NOON)
            for signal in accepted
        ]  # fmt: skip
        Order.objects.bulk_create(orders)
    stop = make_order(
        tenant, account, btc, signal_id=accepted[0].pk, parent=orders[0], role="stop",
        kind="stop", side="sell", quantity=Decimal(2), stop_price=Decimal(90), reduce_only=True,
        status="accepted", deployment=deployment,
    )  # fmt: skip
    with acting_for(tenant):
        Fill.objects.bulk_create(
            Fill(order=order, account=account, instrument=btc, trade=trades[place],
                 execution_id=f"e{place}", side="buy", quantity=Decimal(2), price=Decimal(101),
                 fee=Decimal("0.2"), executed_at=NOON, booked_at=NOON)
            for place, order in enumerate(orders)
        )  # fmt: skip
        EquityPoint.objects.create(
            account=account, at=NOON, cash=Decimal(99_798), equity=Decimal(100_002)
        )
        events.append(
            kind="order.filled", subject="order", subject_id=orders[0].pk, at=NOON,
            text="Bought 2 BTCUSD at 101.00",
        )  # fmt: skip
    return Day(
        instrument=btc, account=account, endpoint=endpoint, deployment=deployment,
        alert=rows[0], unreadable=unreadable, signal=accepted[0], rejected=rejected,
        decision=decisions[0], order=orders[0], stop=stop, position=position, trade=trades[0],
    )  # fmt: skip
