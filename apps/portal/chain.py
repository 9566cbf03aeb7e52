"""From alert to trade and back: every step of one decision, a sentence and a link each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse

from apps.portal.templatetags import figures
from apps.signals.models import Decision, Signal
from apps.trading.models import Fill, Order, Trade
from apps.webhooks import selectors as webhooks
from apps.webhooks.models import Alert

# In the chain itself, and in the tables beneath it.
MOST_SHOWN = 6
MOST_READ = 30


@dataclass(frozen=True, slots=True)
class Link:
    """One step, as partials/chain.html draws it."""

    label: str
    text: str = ""
    url: str = ""
    state: str = ""
    at: datetime | None = None
    here: bool = False
    bad: bool = False
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class Steps:
    """The rows of a chain; ``here`` is the one whose page this is."""

    here: UUID
    alert: Alert | None
    signal: Signal | None
    decisions: Sequence[Decision]
    orders: Sequence[Order]
    fills: Sequence[Fill]
    trades: Sequence[Trade]

    def links(self) -> list[Link]:
        found = [
            *([self._alert(self.alert)] if self.alert else []),
            *([self._signal(self.signal)] if self.signal else []),
            *map(self._decision, self.decisions),
            *map(self._order, self.orders[:MOST_SHOWN]),
            *map(self._fill, self.fills[:MOST_SHOWN]),
            *map(self._trade, self.trades[:MOST_SHOWN]),
        ]
        return [*found, *self._ahead()]

    def _alert(self, alert: Alert) -> Link:
        explanation, _ = webhooks.explained(alert.message_code)
        return Link(
            "Alert",
            explanation or f"Received at {alert.endpoint.name}.",
            reverse("alert", args=[alert.pk]),
            at=alert.received_at,
            here=alert.pk == self.here,
            bad=bool(alert.message_code),
        )

    def _signal(self, signal: Signal) -> Link:
        return Link(
            "Signal",
            sentence(signal),
            reverse("signal", args=[signal.pk]),
            at=signal.created_at,
            here=signal.pk == self.here,
        )

    def _decision(self, decision: Decision) -> Link:
        where = f"{decision.deployment.name}: " if decision.deployment else ""
        return Link(
            "Decision",
            f"{where}{decision.text}",
            reverse("decision", args=[decision.pk]),
            state=decision.outcome,
            at=decision.decided_at,
            bad=decision.outcome == Decision.Outcome.REJECTED,
        )

    def _order(self, order: Order) -> Link:
        return Link(
            f"Order, {order.get_role_display().lower()}",
            order_sentence(order),
            reverse("order", args=[order.pk]),
            state=order.status,
            at=order.created_at,
            here=order.pk == self.here,
            bad=order.status in (Order.Status.REJECTED, Order.Status.DENIED),
        )

    def _fill(self, fill: Fill) -> Link:
        price = figures.price(fill.price, fill.instrument)
        fee = figures.money(fill.fee, fill.instrument.currency)
        return Link(
            "Fill",
            f"{figures.quantity(fill.quantity)} at {price}, fee {fee}.",
            f"{reverse('order', args=[fill.order_id])}#fills",
            at=fill.booked_at,
        )

    def _trade(self, trade: Trade) -> Link:
        return Link(
            "Trade",
            trade_sentence(trade),
            reverse("trade", args=[trade.pk]),
            state="closed" if trade.closed_at else "open",
            at=max((fill.booked_at for fill in self.fills), default=None),
            here=trade.pk == self.here,
        )

    def _ahead(self) -> list[Link]:
        """What has not come yet, as far as it still can."""
        if self.alert and not self.decisions and self.alert.status == Alert.Status.STORED:
            return [Link("Decision", "It is about to be read and decided.", ahead=True)]
        if self.orders and not self.fills and any(order.is_open for order in self.orders):
            return [Link("Fill", "The order waits at the market.", ahead=True)]
        return []


def of_alert(alert: Alert) -> Steps:
    signal = Signal.objects.select_related("instrument").filter(alert=alert).first()
    return _forward(alert.pk, alert, signal)


def of_signal(signal: Signal) -> Steps:
    return _forward(signal.pk, signal.alert, signal)


def of_order(order: Order) -> Steps:
    """Back to the signal that it carries out, forward to what it filled."""
    signal = _signals([order.signal_id]).get(order.signal_id) if order.signal_id else None
    fills = _fills([order])
    family = [order] if order.parent_id is None else [*_orders(pk=order.parent_id), order]
    return Steps(
        here=order.pk,
        alert=signal.alert if signal else None,
        signal=signal,
        decisions=_decisions(signal=signal, deployment=order.deployment_id) if signal else [],
        orders=family,
        fills=fills,
        trades=_trades(fills),
    )


def of_trade(trade: Trade) -> Steps:
    """Back from its fills to the orders and to the signal that opened it."""
    rows = Fill.objects.select_related("instrument", "order__instrument", "order__account")
    fills = list(rows.filter(trade=trade).order_by("executed_at", "pk")[:MOST_READ])
    orders = list({fill.order_id: fill.order for fill in fills}.values())
    opened_by = next((order for order in orders if order.signal_id), None)
    signal = _signals([opened_by.signal_id]).get(opened_by.signal_id) if opened_by else None
    return Steps(
        here=trade.pk,
        alert=signal.alert if signal else None,
        signal=signal,
        decisions=_decisions(signal=signal, deployment=trade.deployment_id) if signal else [],
        orders=orders,
        fills=fills,
        trades=[trade],
    )


def _forward(here: UUID, alert: Alert, signal: Signal | None) -> Steps:
    orders = _orders(signal_id=signal.pk) if signal else []
    fills = _fills(orders)
    return Steps(
        here=here,
        alert=alert,
        signal=signal,
        decisions=_decisions(alert=alert),
        orders=orders,
        fills=fills,
        trades=_trades(fills),
    )


def _signals(ids: Iterable[UUID | None]) -> dict[UUID | None, Signal]:
    rows = Signal.objects.select_related("instrument", "alert__endpoint")
    return {row.pk: row for row in rows.filter(pk__in=[pk for pk in ids if pk])}


def _decisions(**which: Any) -> list[Decision]:
    rows = Decision.objects.select_related("deployment").filter(**which)
    return list(rows.order_by("decided_at", "pk"))


def _orders(**which: Any) -> list[Order]:
    rows = Order.objects.select_related("instrument", "account").filter(**which)
    return list(rows.order_by("created_at", "client_order_id")[:MOST_READ])


def _fills(orders: Sequence[Order]) -> list[Fill]:
    if not orders:
        return []
    rows = Fill.objects.select_related("instrument", "trade").filter(order__in=orders)
    return list(rows.order_by("executed_at", "pk")[:MOST_READ])


def _trades(fills: Iterable[Fill]) -> list[Trade]:
    ids = {fill.trade_id for fill in fills}
    if not ids:
        return []
    rows = Trade.objects.select_related("instrument", "account").filter(pk__in=ids)
    return list(rows.order_by("opened_at"))


def sentence(signal: Signal) -> str:
    """What a signal asks for: Buy 2 BTCUSD at 102.00."""
    words = [figures.words(signal.action)]
    if signal.quantity is not None:
        words.append(figures.quantity(signal.quantity))
    words.append(signal.ticker)
    if signal.price is not None:
        words.append(f"at {figures.price(signal.price, signal.instrument)}")
    return f"{' '.join(words)}."


def order_sentence(order: Order) -> str:
    """What an order is and how far it has come."""
    said = f"{figures.words(order.side)} {figures.quantity(order.quantity)}"
    said += f" {order.instrument.symbol}, {figures.words(order.kind).lower()}"
    if order.filled_quantity and order.average_price is not None:
        point = order.instrument.point_value
        average = figures.price(order.average_price / point, order.instrument)
        said += f"; {figures.quantity(order.filled_quantity)} filled at {average}"
    return f"{said}. {order.status_text}".strip()


def trade_sentence(trade: Trade) -> str:
    currency = trade.instrument.currency
    profit = figures.signed_money(trade.profit, currency) or figures.money(trade.profit, currency)
    what = f"{trade.get_direction_display()} {figures.quantity(trade.entry_quantity)}"
    result = f"closed with {profit} net" if trade.closed_at else "still open"
    return f"{what} {trade.instrument.symbol}, {result}."
