"""The paper venue through the database gives the fills of the kernel over whole bars."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from django.utils import timezone

from apps.accounts.models import Tenant
from apps.core.tenancy import acting_across, acting_for
from apps.marketdata.feed import Kind, Message, write
from apps.marketdata.models import Instrument
from apps.trading import desk, venue
from apps.trading.brokers.base import Ticket
from apps.trading.brokers.paper import PaperBroker
from apps.trading.models import (
    BrokerAccount,
    Fill,
    Order,
    PaperExecution,
    PaperHolding,
    PaperOrder,
    Position,
)
from ml.backtest import fills as kernel
from ml.backtest import orders as kernel_orders
from ml.bars import Bar
from tests.apps.trading.conftest import Market
from tests.factories import NOON, make_account, make_instrument, make_order

OrderOf = Callable[..., Order]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    return timezone.now()


def round_of_the_desk() -> None:
    desk.work(now=now())


@pytest.fixture
def status(alice: Tenant) -> Callable[[Order], tuple[str, str]]:
    def read(order: Order) -> tuple[str, str]:
        with acting_for(alice):
            order.refresh_from_db()
            return order.status, order.status_code

    return read


def filled_at(tenant: Tenant) -> list[tuple[str, str, str]]:
    """Side, quantity and price of each fill, in their order."""
    with acting_for(tenant):
        return [
            (fill.side, f"{fill.quantity.normalize():f}", f"{fill.price.normalize():f}")
            for fill in Fill.objects.order_by("id")
        ]


@pytest.fixture
def place(alice: Tenant, order_of: OrderOf) -> Callable[..., Order]:
    def make(side: str = "buy", kind: str = "market", **overrides: Any) -> Order:
        return order_of(side=side, kind=kind, created_at=now(), **overrides)

    return make


Place = Callable[..., Order]


class TestWhenOrdersAct:
    def test_one_that_arrives_in_a_forming_bar_acts_from_the_next_open(
        self, place: Place, market: Market, alice: Tenant
    ) -> None:
        market.open(100)
        place(kind="limit", limit_price=Decimal(99))
        place()
        round_of_the_desk()
        market.tick(90).close(95)
        round_of_the_desk()
        assert filled_at(alice) == []

        market.open(98)
        round_of_the_desk()
        # The market order at the open; the limit is known to fill when the bar is.
        assert filled_at(alice)[0] == ("buy", "1", "98")
        market.close(98)
        round_of_the_desk()

        assert filled_at(alice) == [("buy", "1", "98"), ("buy", "1", "98")]

    def test_one_that_arrives_between_bars_acts_at_the_next_open(
        self, place: Place, market: Market, alice: Tenant
    ) -> None:
        market.bar(100, 100)
        place()
        round_of_the_desk()
        market.open(101)
        round_of_the_desk()

        assert filled_at(alice) == [("buy", "1", "101")]

    def test_catching_up_over_many_bars_is_the_same_as_following_them(
        self, place: Place, market: Market, alice: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(venue, "BARS_AT_ONCE", 3)
        market.open(100)
        place()
        place("sell", "limit", limit_price=Decimal(107), reduce_only=True)
        round_of_the_desk()
        market.close(100)
        for price in range(101, 111):
            market.bar(price, price + 1)

        for _ in range(5):
            round_of_the_desk()

        assert filled_at(alice) == [("buy", "1", "101"), ("sell", "1", "107")]

    def test_a_restart_in_the_middle_of_a_bar_fills_nothing_twice(
        self, place: Place, market: Market, alice: Tenant, btc: Instrument
    ) -> None:
        market.open(100)
        place()
        place("sell", "stop", stop_price=Decimal(95), reduce_only=True)
        round_of_the_desk()
        market.close(100).open(101)
        for _ in range(3):
            assert venue.advance(btc.pk) in (0, 1)
        market.tick(94).close(96)
        for _ in range(3):
            venue.advance(btc.pk)
        round_of_the_desk()

        assert filled_at(alice) == [("buy", "1", "101"), ("sell", "1", "95")]


class TestBrackets:
    @pytest.fixture
    def bracket(self, place: Place) -> list[Order]:
        entry = place(quantity=Decimal(2))
        behind = {"parent": entry, "reduce_only": True, "quantity": Decimal(2)}
        return [
            entry,
            place("sell", "stop", stop_price=Decimal(95), role="stop", **behind),
            place("sell", "limit", limit_price=Decimal(110), role="target", **behind),
        ]

    def test_one_child_fills_and_the_desk_learns_that_the_other_is_gone(
        self, market: Market, bracket: list[Order], alice: Tenant, status: Any
    ) -> None:
        market.open(100)
        round_of_the_desk()
        market.close(100).bar(101, 111, 109)
        round_of_the_desk()

        assert [status(order) for order in bracket] == [
            ("filled", ""), ("canceled", "sibling_filled"), ("filled", "")
        ]  # fmt: skip
        assert filled_at(alice) == [("buy", "2", "101"), ("sell", "2", "110")]

    def test_children_sleep_until_their_entry_fills_and_go_with_it(
        self, market: Market, place: Place, status: Any
    ) -> None:
        market.open(100)
        entry = place(kind="limit", limit_price=Decimal(50))
        stop = place("sell", "stop", stop_price=Decimal(40), parent=entry, reduce_only=True)
        round_of_the_desk()
        market.tick(39).close(100).open(100)
        round_of_the_desk()
        assert [status(order)[0] for order in (entry, stop)] == ["accepted"] * 2

        with acting_for(entry.tenant_id):
            Order.objects.filter(pk=entry.pk).update(cancel_requested_at=now())
        round_of_the_desk()

        assert status(entry) == ("canceled", "asked")
        assert status(stop) == ("canceled", "parent_canceled")

    def test_a_child_is_as_large_as_what_its_entry_opened(
        self, market: Market, place: Place, account: BrokerAccount, alice: Tenant, status: Any
    ) -> None:
        """An exit that is for more than is held fills less, and both sides agree on its end."""
        market.open(100)
        place(quantity=Decimal(3))
        round_of_the_desk()
        market.close(100).open(100)
        round_of_the_desk()
        exit_ = place("sell", quantity=Decimal(8), reduce_only=True)
        round_of_the_desk()
        market.close(100).open(102)
        round_of_the_desk()

        assert status(exit_) == ("canceled", "nothing_to_reduce")
        with acting_for(alice):
            assert exit_.filled_quantity == 3
            assert Position.objects.get().quantity == 0
            seen = PaperOrder.objects.get(pk=exit_.pk)
            assert (seen.status, int(seen.filled_quantity)) == ("filled", 3)

    def test_a_shrunken_child_survives_a_restart(
        self, market: Market, place: Place, alice: Tenant
    ) -> None:
        market.open(100)
        place("sell", quantity=Decimal(2))
        round_of_the_desk()
        market.close(100).open(100)
        round_of_the_desk()
        # Buys five: two close the short, three open; its stop was sized for four.
        entry = place(quantity=Decimal(3))
        stop = place(
            "sell", "stop", stop_price=Decimal(90), parent=entry, reduce_only=True,
            quantity=Decimal(4),
        )  # fmt: skip
        round_of_the_desk()
        market.close(100).open(101)
        round_of_the_desk()

        with acting_for(alice):
            assert PaperOrder.objects.get(pk=stop.pk).quantity == 3

    def test_what_has_nothing_to_reduce_ends_without_a_fill(
        self, market: Market, place: Place, status: Any
    ) -> None:
        market.open(100)
        order = place("sell", reduce_only=True)
        round_of_the_desk()
        market.close(100).open(100)
        round_of_the_desk()

        assert status(order) == ("canceled", "nothing_to_reduce")


class TestCosts:
    def test_fees_and_slippage_are_each_instruments_own(self, alice: Tenant) -> None:
        account = make_account(alice)
        future = make_instrument(
            "ES", tick_size=Decimal("0.25"), slippage_ticks=2, fee_rate=Decimal("0.0001"),
            point_value=Decimal(50), lot_size=Decimal(1),
        )  # fmt: skip
        market = Market(future).open("5000")
        make_order(alice, account, future, quantity=Decimal(2), created_at=now())
        round_of_the_desk()
        market.close("5000").open("5001")
        round_of_the_desk()

        with acting_for(alice):
            fill = Fill.objects.get()
            assert fill.price == Decimal("5001.5")
            assert fill.fee == 2 * Decimal("5001.5") * 50 * Decimal("0.0001")

    def test_accounts_in_one_instrument_do_not_touch_each_other(
        self, alice: Tenant, bob: Tenant, btc: Instrument, market: Market
    ) -> None:
        market.open(100)
        for tenant, side in ((alice, "buy"), (alice, "sell"), (bob, "sell")):
            make_order(
                tenant, make_account(tenant, f"{side} {tenant.pk}"), btc, side=side,
                created_at=now(),
            )  # fmt: skip
        round_of_the_desk()
        market.close(100).open(101)
        round_of_the_desk()

        assert sorted(filled_at(alice)) == [("buy", "1", "101"), ("sell", "1", "101")]
        assert filled_at(bob) == [("sell", "1", "101")]


class TestTheBrokersSide:
    def test_a_repeated_submission_is_the_same_order(
        self, place: Place, market: Market, account: BrokerAccount, alice: Tenant
    ) -> None:
        market.open(100)
        ticket = Ticket(account, place())
        first, again = (PaperBroker().submit([ticket]) for _ in range(2))

        assert first == again
        with acting_for(alice):
            assert PaperOrder.objects.count() == 1

    def test_without_a_market_it_refuses(self, place: Place, btc: Instrument, status: Any) -> None:
        order = place()
        round_of_the_desk()

        assert status(order) == ("rejected", "no_market")


class TestPaperIsBacktest:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize(
        ("name", "tick", "step"),
        [("BTCUSD", "0.1", 60), ("EURUSD", "0.00001", 3600)],
    )
    def test_random_books_on_real_bars_fill_as_the_kernel_does(
        self, alice: Tenant, data: Path, name: str, tick: str, step: int, seed: int
    ) -> None:
        random = Random(seed)
        slip = random.choice([0, 2])
        instrument = make_instrument(name, tick_size=Decimal(tick), slippage_ticks=slip)
        account = make_account(alice)
        book, slots = kernel.Book.empty(200), dict[str, int]()
        expected: list[tuple[int, float, float]] = []
        position = 0.0
        for number, bar in enumerate(real_bars(data, name, seed)):
            opened_at = NOON + timedelta(seconds=step * number)
            # Both looks at a bar, or only the whole of it: it must not matter.
            for at_open in (True, False):
                feed_bar(instrument, opened_at, bar, step, at_open=at_open)
                if random.random() < 0.6:
                    round_of_the_desk()
            for fill in kernel_orders.step_bar(
                Bar(_ns(opened_at), *bar, 0.0), book=book, position=position, tick=float(tick),
                slippage_ticks=slip,
            ):  # fmt: skip
                position = fill.position
                expected.append((fill.side, round(fill.quantity, 8), round(fill.price, 10)))
            if random.random() < 0.5:
                round_of_the_desk()
                at = _ns(opened_at)
                self.place_both(random, alice, account, instrument, book, slots, bar, at)
                round_of_the_desk()
        round_of_the_desk()

        with acting_for(alice):
            got = [
                (1 if row.side == "buy" else -1, float(row.quantity), float(row.price))
                for row in PaperExecution.objects.order_by("sequence")
            ]
            held = PaperHolding.objects.get(account=account)
            assert len(expected) > 5
            assert got == expected
            assert float(held.quantity) == pytest.approx(position)
            assert Position.objects.get().quantity == held.quantity
            for order in Order.objects.all():
                assert order.status == self.end_of(order, book, slots[order.client_order_id])

    def end_of(self, order: Order, book: kernel.Book, slot: int) -> str:
        """The desk's word for where the kernel left an order."""
        match int(book.status[slot]):
            case kernel.FILLED:
                is_whole = book.filled[slot] >= float(order.quantity) - 1e-9
                return "filled" if is_whole else "canceled"
            case kernel.CANCELED:
                return "canceled"
        return "accepted"

    def place_both(
        self, random: Random, tenant: Tenant, account: BrokerAccount, instrument: Instrument,
        book: kernel.Book, slots: dict[str, int], bar: tuple[float, ...], at: int,
    ) -> None:  # fmt: skip
        side = random.choice(["buy", "sell"])
        kind = random.choice(["market", "limit", "stop", "stop_limit"])
        tick = instrument.tick_size
        close = Decimal(repr(bar[3]))
        spread = max(abs(Decimal(repr(bar[1])) - Decimal(repr(bar[2]))), tick * 10)

        def near(sign: int) -> Decimal:
            away = spread * Decimal(random.randint(0, 200)) / 100
            return max(((close + sign * away) / tick).quantize(Decimal(1)) * tick, tick)

        up = 1 if side == "buy" else -1
        limit = near(-up) if "limit" in kind else None
        stop = near(up) if "stop" in kind else None
        quantity = Decimal(random.choice(["1", "0.3", "2.5"]))
        with_bracket = random.random() < 0.4
        common: dict[str, Any] = {"created_at": now(), "quantity": quantity}
        reduce_only = not with_bracket and random.random() < 0.2
        entry = make_order(
            tenant, account, instrument, side=side, kind=kind, limit_price=limit, stop_price=stop,
            reduce_only=reduce_only, **common,
        )  # fmt: skip
        slot = slots[entry.client_order_id] = kernel_orders.place(
            book, kind=venue.KINDS[kind], side=up, quantity=float(quantity), active_from=at + 1,
            limit=venue._float(limit), stop=venue._float(stop), reduce_only=reduce_only,
        )  # fmt: skip
        if not with_bracket:
            return
        group = int(book.oca.max()) + 1
        away = "sell" if side == "buy" else "buy"
        children = []
        for child_kind, sign in (("stop", -up), ("limit", up)):
            price = near(sign)
            child = make_order(
                tenant, account, instrument, side=away, kind=child_kind, parent=entry,
                reduce_only=True, limit_price=price if child_kind == "limit" else None,
                stop_price=price if child_kind == "stop" else None, **common,
            )  # fmt: skip
            children.append((child, child_kind, price))
        # The desk sends children in the order of their names' making.
        for child, child_kind, price in sorted(children, key=lambda each: each[0].pk):
            slots[child.client_order_id] = kernel_orders.place(
                book, kind=venue.KINDS[child_kind], side=-up, quantity=float(quantity),
                active_from=at + 1, parent=slot, oca=group,
                limit=float(price) if child_kind == "limit" else float("nan"),
                stop=float(price) if child_kind == "stop" else float("nan"),
            )  # fmt: skip


def _ns(at: datetime) -> int:
    return int((at - EPOCH).total_seconds()) * 1_000_000_000


def real_bars(data: Path, name: str, seed: int) -> list[tuple[float, float, float, float]]:
    if name == "BTCUSD":
        frame = pd.read_parquet(data / "ohlcv/crypto_minute/BTCUSD_1m_2018_bitfinex.parquet")
    else:
        frame = pd.read_csv(data / "ohlcv/fx_hourly/EURUSD_1h_oanda_bidask.csv.gz", nrows=5_000)
    frame = frame[["open", "high", "low", "close"]]
    start = 1_000 + 500 * seed
    rows = frame.iloc[start : start + 60].itertuples(index=False)
    return [(float(row[0]), float(row[1]), float(row[2]), float(row[3])) for row in rows]


def feed_bar(
    instrument: Instrument, at: datetime, bar: tuple[float, ...], step: int, *, at_open: bool
) -> None:
    open_, high, low, close = (Decimal(repr(price)) for price in bar)
    ends = at + timedelta(seconds=step)
    messages = [Message(Kind.OPEN, instrument.pk, at, open_, at, step)]
    if not at_open:
        messages = [
            Message(Kind.TICK, instrument.pk, at, high, at, step),
            Message(Kind.TICK, instrument.pk, at, low, at, step),
            Message(Kind.CLOSE, instrument.pk, at, close, ends, step),
        ]
    with acting_across("test: feed"):
        write(messages)
