"""Real prices, every kind of alert, and at the end books that agree to the last decimal.

The market is played through the feed; intake, pipeline and desk are the service's own, run between
its steps. What they booked is then reckoned again from the fills alone.
"""

import base64
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest

from ml.bars import Bar, Bars
from pinelab.embedded import Services
from tests.e2e.history import BTCUSD, EURUSD, History
from tests.e2e.trader import Trader
from tests.factories import make_account, make_deployment, make_endpoint

if TYPE_CHECKING:
    from apps.accounts.models import Tenant
    from apps.marketdata.feed import Message
    from apps.marketdata.models import Instrument
    from apps.trading.models import BrokerAccount, Fill, Order

SEED = 20
CASH = Decimal(1_000_000)
STEP = Decimal("1e-10")
STORE = "SELECT outcome, alert_id FROM app.store_alerts(%s, %b, %b, %s, %s, '30 s') ORDER BY place"


@dataclass
class Floor:
    """A trading day of one tenant.

    Attributes:
        intake: a connection of the role that may only store.
        corpus: what is still to be posted of the collected bodies.
        faulty: alerts whose body is known to be no order.
    """

    history: History
    tenant: "Tenant"
    instrument: "Instrument"
    account: "BrokerAccount"
    intake: "psycopg.Connection[Any]"
    trader: Trader
    chance: random.Random
    corpus: list[dict[str, Any]]
    posted: list[UUID] = field(default_factory=list)
    faulty: set[UUID] = field(default_factory=set)

    def post(self, *bodies: bytes) -> list[UUID]:
        """Through the intake's own function, as one batch."""
        from apps.core.ids import uuid7
        from apps.webhooks import services

        ids, n = [uuid7() for _ in bodies], len(bodies)
        tokens = [services.digest("token")] * n
        stored = self.intake.execute(STORE, [ids, tokens, list(bodies), [""] * n, [""] * n])
        found = [alert_id for outcome, alert_id in stored.fetchall() if outcome == "stored"]
        self.posted += found
        return found

    def after(self, message: "Message") -> None:
        """What happens between two steps of the market."""
        from django.utils import timezone

        from apps.signals import pipeline
        from apps.trading import desk

        if message.kind == "tick" and self.chance.random() < 0.7:
            return
        if self.chance.random() < 0.45:
            self.post(*(self.trader.says(message.price) for _ in range(self.chance.choice((1, 2)))))
            if self.corpus and self.chance.random() < 0.7:
                self.post_from_corpus()
            pipeline.take()
        desk.work(now=timezone.now())

    def settle(self, message: "Message") -> None:
        """Between two steps after the last alert."""
        from django.utils import timezone

        from apps.signals import pipeline
        from apps.trading import desk

        while pipeline.take():
            pass
        desk.work(now=timezone.now())

    def post_from_corpus(self) -> None:
        row = self.corpus.pop()
        raw = row["body"]
        ids = self.post(base64.b64decode(row["body_b64"]) if raw is None else raw.encode())
        if row["expect"]["error"]:
            self.faulty |= set(ids)


@pytest.fixture
def corpus(data: Path) -> list[dict[str, Any]]:
    lines = (data / "alerts" / "corpus.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("history", [EURUSD, BTCUSD], ids=lambda history: history.symbol)
def test_the_books_agree_to_the_last_decimal(
    history: History, alice: "Tenant", stage: Services, data: Path, corpus: list[dict[str, Any]]
) -> None:
    bars = history.bars(data)
    with psycopg.connect(stage.databases.hooks, autocommit=True) as intake:
        floor = open_floor(history, alice, intake, corpus)

        play(floor, bars)

    from apps.core.tenancy import acting_for

    with acting_for(alice):
        every_alert_has_one_decision(floor)
        no_fault_was_traded(floor)
        orders_are_where_the_venue_has_them(floor)
        positions_are_their_fills_and_the_venues(floor)
        cash_is_what_was_paid_and_received(floor)
        trades_are_their_fills(floor)
        equity_is_cash_and_holdings(floor)
        fills_have_prices_of_their_bar(floor, bars)
        all_kinds_have_happened()


def open_floor(
    history: History,
    tenant: "Tenant",
    intake: "psycopg.Connection[Any]",
    corpus: list[dict[str, Any]],
) -> Floor:
    from apps.core.tenancy import acting_for
    from apps.trading.models import RiskLimits

    account = make_account(tenant, cash=CASH)
    with acting_for(tenant):
        # Only the price band: the others bind by the clock of the test's machine, or by chance.
        names = ("max_orders_per_minute", "max_leverage", "max_daily_loss")
        RiskLimits.objects.create(account=account, **dict.fromkeys(names))
    make_deployment(tenant, make_endpoint(tenant, "token"), account, size=history.lot)
    chance = random.Random(SEED)
    chance.shuffle(corpus)
    instrument = history.instrument()
    return Floor(
        history, tenant, instrument, account, intake, Trader(history, SEED), chance, corpus
    )


def play(floor: Floor, bars: Bars) -> None:
    """All bars but that all alerts of the corpus come in; then one bar more for what is left."""
    from apps.marketdata import replay

    interval_s = floor.history.interval_s
    replay.play(floor.instrument, bars[:-1], interval_s=interval_s, after=floor.after)
    while floor.corpus:
        floor.post_from_corpus()
    replay.play(floor.instrument, bars[-1:], interval_s=interval_s, after=floor.settle)


def every_alert_has_one_decision(floor: Floor) -> None:
    from apps.signals.models import Decision
    from apps.webhooks.models import Alert

    decided = Counter(Decision.objects.values_list("alert_id", flat=True))
    assert set(Alert.objects.values_list("status", flat=True)) == {"decided"}
    assert decided == Counter(floor.posted)


def no_fault_was_traded(floor: Floor) -> None:
    from apps.signals.models import Decision
    from apps.trading.models import Order

    assert floor.faulty
    decisions = Decision.objects.filter(alert__in=floor.faulty)
    assert {decision.outcome for decision in decisions} == {"rejected"}
    signals = [decision.signal_id for decision in decisions if decision.signal_id]
    assert not Order.objects.filter(signal_id__in=signals).exists()


def orders_are_where_the_venue_has_them(floor: Floor) -> None:
    from apps.trading.models import Order, PaperOrder

    named = {"working": "accepted", "asleep": "accepted", "filled": "filled"}
    venue = {row.pk: row for row in PaperOrder.objects.all()}
    for order in Order.objects.all():
        there = venue.pop(order.pk, None)
        if there is None:
            assert (order.sends, order.filled_quantity) == (0, 0)
            assert order.status in ("canceled", "denied"), order
        else:
            assert order.filled_quantity == there.filled_quantity
            # What may only reduce fills as far as there is something; the rest is canceled.
            is_cut = order.reduce_only and 0 < order.filled_quantity < order.quantity
            ended = "canceled" if is_cut else named.get(there.status, "canceled")
            assert order.status == ended, order.status_text
    assert not venue


def signed(fill: "Fill") -> Decimal:
    quantity: Decimal = fill.quantity
    return quantity if fill.side == "buy" else -quantity


def positions_are_their_fills_and_the_venues(floor: Floor) -> None:
    from apps.trading.models import Fill, Order, PaperHolding, Position

    fills = list(Fill.objects.all())
    position = Position.objects.get()
    assert position.quantity == sum(map(signed, fills))
    assert position.quantity == PaperHolding.objects.get().quantity
    assert position.fees == sum(fill.fee for fill in fills)
    assert position.realized == sum(fill.realized for fill in fills)
    filled = Counter[UUID]()
    for fill in fills:
        filled[fill.order_id] += fill.quantity
    for order in Order.objects.all():
        assert order.filled_quantity == filled[order.pk]
        assert (order.status == "filled") == (filled[order.pk] == order.quantity)


def cash_is_what_was_paid_and_received(floor: Floor) -> None:
    from apps.trading.models import Fill, Position

    floor.account.refresh_from_db()
    fills, position = list(Fill.objects.all()), Position.objects.get()
    paid = sum(signed(fill) * fill.price for fill in fills)
    assert floor.account.cash == CASH - paid - sum(fill.fee for fill in fills)
    assert floor.account.cash == CASH + position.realized - position.fees - position.cost
    rate = floor.instrument.fee_rate
    assert all(
        fill.fee == (fill.quantity * fill.price * rate).quantize(Decimal("1e-8")) for fill in fills
    )


def trades_are_their_fills(floor: Floor) -> None:
    from apps.trading.models import Fill, Position, Trade

    position, trades = Position.objects.get(), list(Trade.objects.all())
    assert sum(trade.profit for trade in trades) == position.realized - position.fees
    assert sum(trade.fees for trade in trades) == sum(fill.fee for fill in Fill.objects.all())
    for trade in trades:
        if trade.closed_at is None:
            assert trade.entry_quantity - trade.exit_quantity == abs(position.quantity)
            continue
        assert trade.entry_quantity == trade.exit_quantity
        gained = trade.exit_value - trade.entry_value
        assert trade.profit == (gained if trade.direction == "long" else -gained) - trade.fees
    assert sum(trade.closed_at is None for trade in trades) == (1 if position.quantity else 0)


def equity_is_cash_and_holdings(floor: Floor) -> None:
    from django.utils import timezone

    from apps.marketdata import selectors as market
    from apps.trading import selectors
    from apps.trading.models import Position

    position, quote = Position.objects.get(), market.quote(floor.instrument.pk)
    assert quote
    value = position.quantity * quote.price
    (summary,) = selectors.summaries(now=timezone.now())
    assert summary.equity == floor.account.cash + value
    assert summary.equity == CASH + position.realized - position.fees + (value - position.cost)


def fills_have_prices_of_their_bar(floor: Floor, bars: Bars) -> None:
    from apps.marketdata.sessions import to_ns
    from apps.trading.models import Fill

    by_time = {bar.time: bar for bar in (bars[row] for row in range(len(bars)))}
    entered = {fill.order_id: fill.executed_at for fill in Fill.objects.all()}
    for fill in Fill.objects.select_related("order"):
        order, bar = fill.order, by_time[to_ns(fill.executed_at)]
        woken = entered.get(order.parent_id) == fill.executed_at if order.parent_id else False
        slip = floor.instrument.tick_size * floor.instrument.slippage_ticks
        slip = slip if order.side == "buy" else -slip
        assert fill.price in allowed(order, bar, slip=slip) or (
            # A child that its entry has woken inside the bar never saw the bar's open.
            woken
            and exact(bar.low) <= fill.price - slip * (order.kind != "limit") <= exact(bar.high)
        ), (order.kind, order.role, fill.price, order.limit_price, order.stop_price, bar, woken)


def allowed(order: "Order", bar: Bar, *, slip: Decimal) -> set[Decimal]:
    """What an order may have paid in a bar: its price, or the open if that is beyond it."""
    opened, low, high = exact(bar.open), exact(bar.low), exact(bar.high)
    if order.kind == "market":
        return {opened + slip}
    rises = (order.side == "buy") == (order.kind == "stop")
    level = order.stop_price if order.kind == "stop" else order.limit_price
    assert level is not None
    paid = slip if order.kind == "stop" else Decimal(0)
    if (opened >= level) if rises else (opened <= level):
        return {opened + paid}
    return {level + paid} if low <= level <= high else set()


def exact(price: float) -> Decimal:
    return Decimal(repr(price)).quantize(STEP)


def all_kinds_have_happened() -> None:
    """Else the day proves little."""
    from apps.signals.models import Decision
    from apps.trading.models import Order, Trade

    outcomes = Counter(Decision.objects.values_list("outcome", flat=True))
    assert outcomes["accepted"] > 100, outcomes
    ends = Counter(Order.objects.values_list("role", "kind", "status"))
    for wanted in (
        ("entry", "market", "filled"),
        ("entry", "limit", "filled"),
        ("entry", "limit", "canceled"),
        ("entry", "stop", "filled"),
        ("exit", "market", "filled"),
        ("stop", "stop", "filled"),
        ("stop", "stop", "canceled"),
        ("target", "limit", "filled"),
        ("target", "limit", "canceled"),
    ):
        assert ends[wanted], (wanted, ends)
    closed = Trade.objects.exclude(closed_at=None)
    assert {*closed.values_list("direction", flat=True)} == {"long", "short"}
    assert closed.count() > 30
