"""Fills through the real database: cash, positions and trades agree exactly, whatever comes."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal, localcontext
from random import Random
from typing import Any

import pytest
from django.db.models import Sum

from apps.accounts.models import Tenant
from apps.core.models import Event
from apps.core.tenancy import acting_across, acting_for
from apps.marketdata.models import Instrument
from apps.trading import booking
from apps.trading.brokers.base import Execution
from apps.trading.models import BrokerAccount, Fill, Order, Position, Trade
from apps.trading.positions import EXACT
from tests.factories import NOON, make_account, make_instrument, make_order


def execution(order: Order, sequence: int, **overrides: Any) -> Execution:
    values: dict[str, Any] = {
        "account_id": order.account_id,
        "tenant_id": order.tenant_id,
        "sequence": sequence,
        "execution_id": f"e{sequence}",
        "client_order_id": order.client_order_id,
        "side": order.side,
        "quantity": order.quantity,
        "price": Decimal(100),
        "fee": Decimal("0.1"),
        "executed_at": NOON + timedelta(minutes=sequence),
    }
    return Execution(**(values | overrides))


def book(*executions: Execution) -> list[Fill]:
    with acting_across("test: book"):
        return booking.book(executions, now=NOON)


OrderOf = Callable[..., Order]


class TestWhateverComes:
    @pytest.mark.parametrize("seed", range(8))
    def test_cash_positions_and_trades_agree_exactly(self, alice: Tenant, seed: int) -> None:
        random = Random(seed)
        account = make_account(alice, cash=Decimal("12345.67"))
        instruments = [
            make_instrument("BTCUSD"),
            make_instrument("ES", point_value=Decimal("12.5"), lot_size=Decimal(1)),
        ]
        executions = self.random_executions(random, alice, account, instruments)
        # Batches of any size, each told again with the one after it.
        start = 0
        while start < len(executions):
            size = random.randint(1, 7)
            book(*executions[max(0, start - 3) : start + size])
            start += size

        with acting_for(alice), localcontext(EXACT):
            account.refresh_from_db()
            rows = list(Position.objects.all())
            realized = sum(row.realized for row in rows)
            fees = sum(row.fees for row in rows)
            cost = sum(row.cost for row in rows)
            assert account.cash == Decimal("12345.67") + realized - fees - cost
            assert fees == sum(each.fee for each in executions)
            for row in rows:
                signed = sum(
                    fill.quantity if fill.side == "buy" else -fill.quantity
                    for fill in Fill.objects.filter(instrument=row.instrument_id)
                )
                assert row.quantity == signed
            totals = Trade.objects.aggregate(profit=Sum("profit"), fees=Sum("fees"))
            assert totals["profit"] == realized - fees
            assert totals["fees"] == fees
            assert Fill.objects.count() == len(executions)
            for trade in Trade.objects.all():
                flat = trade.exit_quantity == trade.entry_quantity
                assert (trade.closed_at is not None) == flat

    def random_executions(
        self, random: Random, tenant: Tenant, account: BrokerAccount, instruments: list[Instrument]
    ) -> list[Execution]:
        found, sequence = [], 0
        for _ in range(30):
            quantity = Decimal(random.choice(["0.3", "1", "2.7", "3", "0.00000007"]))
            order = make_order(
                tenant, account, random.choice(instruments), quantity=quantity, status="accepted",
                side=random.choice(["buy", "sell"]),
            )  # fmt: skip
            parts = [quantity]
            if random.random() < 0.4 and quantity > Decimal("0.1"):
                first = (quantity / 3).quantize(Decimal("1e-8"))
                parts = [first, quantity - first]
            for part in parts:
                sequence += 1
                price = Decimal(random.randint(1, 10**14)).scaleb(-10)
                fee = Decimal(random.randint(0, 10**9)).scaleb(-8)
                found.append(execution(order, sequence, quantity=part, price=price, fee=fee))
        return found


class TestBook:
    def test_a_repeated_execution_books_once(
        self, order_of: OrderOf, alice: Tenant, account: BrokerAccount
    ) -> None:
        order = order_of(status="accepted")

        assert len(book(execution(order, 1), execution(order, 1))) == 1
        assert book(execution(order, 1)) == []

        with acting_for(alice):
            assert Fill.objects.count() == 1

    def test_a_part_leaves_the_order_open_and_the_rest_closes_it(
        self, order_of: OrderOf, alice: Tenant
    ) -> None:
        order = order_of(status="accepted", quantity=Decimal(3))

        book(execution(order, 1, quantity=Decimal(1), price=Decimal(90)))
        with acting_for(alice):
            order.refresh_from_db()
            assert order.status == "partially_filled"
            assert order.remaining_quantity == 2
        book(execution(order, 2, quantity=Decimal(2), price=Decimal(120)))

        with acting_for(alice):
            order.refresh_from_db()
            assert order.status == "filled"
            assert order.average_price == 110

    def test_averages_are_prices_whatever_a_point_is_worth(self, alice: Tenant) -> None:
        future = make_instrument("ES", point_value=Decimal(50))
        account = make_account(alice)
        order = make_order(alice, account, future, status="accepted", quantity=Decimal(2))

        book(execution(order, 1, price=Decimal(5000)))

        with acting_for(alice):
            order.refresh_from_db()
            position = Position.objects.select_related("instrument").get()
            assert order.average_price == 5000
            assert position.average_price == 5000
            assert position.cost == 500_000

    @pytest.mark.parametrize(
        "overrides",
        [
            {"quantity": Decimal(9)},
            {"client_order_id": "foreign"},
            {"side": "sell"},
        ],
        ids=["too much", "foreign", "wrong side"],
    )
    def test_what_no_order_can_take_is_told_and_stops_entries_but_nothing_else(
        self, order_of: OrderOf, alice: Tenant, account: BrokerAccount, overrides: dict[str, Any]
    ) -> None:
        order, next_one = order_of(status="accepted"), order_of(status="accepted")

        fills = book(execution(order, 1, **overrides), execution(next_one, 2))

        with acting_for(alice):
            account.refresh_from_db()
            assert [fill.order_id for fill in fills] == [next_one.pk]
            assert (account.state, account.execution_cursor) == ("reconciling", 2)
            assert Event.objects.filter(kind="execution.set_aside").count() == 1

    def test_a_fill_of_an_order_at_its_end_is_set_aside(
        self, order_of: OrderOf, alice: Tenant
    ) -> None:
        order = order_of(status="canceled")

        assert book(execution(order, 1)) == []

    @pytest.mark.parametrize("status", ["submitting", "unknown"])
    def test_a_fill_ends_the_doubt(self, order_of: OrderOf, alice: Tenant, status: str) -> None:
        order = order_of(status=status, status_code="in_doubt")

        book(execution(order, 1))

        with acting_for(alice):
            order.refresh_from_db()
            assert (order.status, order.status_code) == ("filled", "")

    def test_a_reversal_closes_one_trade_and_opens_the_next(
        self, order_of: OrderOf, alice: Tenant
    ) -> None:
        long = order_of(status="accepted", quantity=Decimal(1))
        turn = order_of(status="accepted", quantity=Decimal(3), side="sell")

        book(execution(long, 1), execution(turn, 2, price=Decimal(110), fee=Decimal("0.3")))

        with acting_for(alice):
            closed, opened = Trade.objects.order_by("opened_at")
            assert (closed.direction, opened.direction) == ("long", "short")
            # A third of the fee closed, two thirds opened.
            assert closed.profit == Decimal(10) - Decimal("0.1") - Decimal("0.1")
            assert (opened.fees, opened.entry_quantity) == (Decimal("0.2"), 2)
            assert opened.closed_at is None
