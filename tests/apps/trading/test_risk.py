"""Invariant 14: each limit at one unit on either side; exits pass; no way around."""

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections

from apps.accounts.models import Tenant
from apps.core.tenancy import acting_across, acting_for
from apps.marketdata.models import Instrument
from apps.trading import books, placing, risk
from apps.trading.intent import Action, Intent, Proposal, Refusal
from apps.trading.models import BrokerAccount, Order, Position, RiskLimits
from tests.apps.trading.conftest import Market
from tests.apps.trading.deciding import BTC, ETH, PRICE, at, book, intent, order, proposal
from tests.factories import NOON, make_deployment, make_instrument


def check(found: books.AccountBook, asked: Proposal, **options: Any) -> risk.Passed | Refusal:
    said = options.pop("intent", intent())
    now = options.pop("now", NOON)
    return risk.check(asked, intent=said, book=found, last_price=PRICE, now=now, **options)


def allowed(found: books.AccountBook, asked: Proposal, **options: Any) -> Any:
    """The quantity that passes, or the code of the refusal."""
    passed = check(found, asked, **options)
    return passed.code if isinstance(passed, Refusal) else passed.proposal.quantity


class TestSizeLimits:
    @pytest.mark.parametrize(
        ("limits", "held", "asked", "code"),
        [
            ({"max_order_quantity": Decimal(3)}, 0, 3, "order_quantity_limit"),
            ({"max_order_notional": Decimal(300)}, 0, 3, "order_notional_limit"),
            ({"max_daily_notional": Decimal(300)}, 0, 3, "daily_notional_limit"),
            ({"max_position_notional": Decimal(500)}, 2, 3, "position_notional_limit"),
            ({"max_leverage": Decimal("0.05")}, 2, 3, "leverage_limit"),
        ],
    )
    def test_one_lot_more_is_reduced_and_says_why(
        self, limits: dict[str, Any], held: int, asked: int, code: str
    ) -> None:
        exactly, more = proposal(quantity=asked), proposal(quantity=Decimal(asked) + BTC.lot_size)

        assert allowed(book(held, **limits), exactly) == asked
        passed = check(book(held, **limits), more)

        assert isinstance(passed, risk.Passed)
        assert passed.reduced is not None
        assert passed.proposal.quantity == asked
        assert passed.reduced.code == code
        assert passed.reduced.text.startswith(("At most", "Positions may"))

    @pytest.mark.parametrize(
        ("limits", "held", "code"),
        [
            ({"max_order_quantity": Decimal("0.09")}, 0, "order_quantity_limit"),
            ({"max_order_notional": Decimal(9)}, 0, "order_notional_limit"),
            ({"max_daily_notional": Decimal(0)}, 0, "daily_notional_limit"),
            ({"max_position_notional": Decimal(500)}, 5, "position_notional_limit"),
            ({"max_leverage": Decimal("0.05")}, 5, "leverage_limit"),
        ],
    )
    def test_not_one_lot_is_a_refusal(self, limits: dict[str, Any], held: int, code: str) -> None:
        assert allowed(book(held, **limits), proposal()) == code

    def test_what_rests_counts_at_its_worst(self) -> None:
        found = book(max_position_notional=Decimal(500))
        found.note([order("buy", 3, kind="limit")], value=PRICE)
        found.note([order("sell", 4, kind="limit")], value=PRICE)

        # A resting sale that may never fill makes no room for another purchase.
        assert allowed(found, proposal(quantity=5)) == 2
        assert allowed(found, proposal("sell", 5)) == 1

    def test_leverage_counts_all_instruments(self) -> None:
        found = book(max_leverage=Decimal("0.1"))
        found.held[ETH.pk] = Decimal(-7)

        assert allowed(found, proposal(quantity=5)) == 3

    def test_nothing_larger_than_the_books_can_hold(self) -> None:
        assert allowed(book(), proposal(quantity=Decimal(10) ** 11)) == Decimal(10) ** 10


class TestBars:
    def test_orders_per_minute(self) -> None:
        found = book(max_orders_per_minute=2)
        found.note([order(created_at=at(-59))], value=PRICE)
        assert allowed(found, proposal()) == 1

        found.note([order(created_at=at(-1))], value=PRICE)
        assert allowed(found, proposal()) == "too_many_orders"
        assert allowed(found, proposal(), now=at(1.1)) == 1

    def test_open_positions(self) -> None:
        found = book(max_open_positions=1)
        assert allowed(found, proposal()) == 1
        found.held[ETH.pk] = Decimal(1)
        assert allowed(found, proposal()) == "too_many_positions"
        found.held[BTC.pk] = Decimal(1)
        found.limits.max_open_positions = 2
        assert allowed(found, proposal()) == 1

    def test_the_list_of_instruments(self) -> None:
        assert allowed(book(allowed_instruments=[BTC.pk]), proposal()) == 1
        refused = allowed(book(allowed_instruments=[ETH.pk]), proposal())
        assert refused == "instrument_not_allowed"

    @pytest.mark.parametrize(("equity", "expected"), [(9_501, 1), (9_500, "daily_loss_limit")])
    def test_the_days_loss(self, equity: int, expected: Any) -> None:
        found = book(max_daily_loss=Decimal("0.05"))
        found.equity = Decimal(equity)

        assert allowed(found, proposal()) == expected

    @pytest.mark.parametrize(
        ("price", "expected"),
        [("110", 1), ("90", 1), ("110.01", "price_out_of_band"), ("89.99", "price_out_of_band")],
    )
    def test_the_price_band(self, price: str, expected: Any) -> None:
        found = book(price_band=Decimal("0.1"))

        assert allowed(found, proposal(), intent=intent(price=price)) == expected
        limit = proposal(kind=Order.Kind.LIMIT, limit_price=Decimal(price))
        assert allowed(found, limit) == expected

    def test_duplicates(self) -> None:
        found = book(duplicate_window_s=10)
        found.note([order(created_at=at(-9))], value=PRICE)

        assert allowed(found, proposal()) == "duplicate_order"
        assert allowed(found, proposal(), now=at(1)) == 1
        assert allowed(found, proposal("sell")) == 1
        assert allowed(found, proposal(quantity=2)) == 2

    def test_an_order_in_doubt_keeps_its_own_source_out(self) -> None:
        found = book()
        found.in_doubt.add((None, BTC.pk))

        assert allowed(found, proposal()) == "order_in_doubt"
        assert allowed(found, proposal(), deployment_id=BTC.pk) == 1

    @pytest.mark.parametrize(
        ("side", "bracket", "is_right"),
        [
            ("buy", {"stop_loss": "99"}, True),
            ("buy", {"stop_loss": "100"}, False),
            ("buy", {"stop_loss": "-1"}, False),
            ("buy", {"take_profit": "101"}, True),
            ("buy", {"take_profit": "100"}, False),
            ("sell", {"stop_loss": "101"}, True),
            ("sell", {"stop_loss": "99"}, False),
            ("sell", {"take_profit": "99"}, True),
            ("sell", {"take_profit": "-5"}, False),
        ],
    )
    def test_brackets(self, side: str, bracket: dict[str, str], is_right: bool) -> None:
        prices: dict[str, Any] = {name: Decimal(each) for name, each in bracket.items()}
        asked = proposal(side, **prices)

        assert allowed(book(), asked) == (1 if is_right else "bracket_on_wrong_side")


BARRED: list[tuple[str, dict[str, Any]]] = [
    ("halted", {}),
    ("instrument_not_allowed", {"allowed_instruments": [ETH.pk]}),
    ("daily_loss_limit", {"max_daily_loss": Decimal(0)}),
    ("too_many_orders", {"max_orders_per_minute": 0}),
    ("too_many_positions", {"max_open_positions": 0}),
    ("order_notional_limit", {"max_order_notional": Decimal(0)}),
    ("position_notional_limit", {"max_position_notional": Decimal(0)}),
    ("leverage_limit", {"max_leverage": Decimal(0)}),
]


class TestExits:
    @pytest.mark.parametrize(("code", "limits"), BARRED)
    def test_pass_whatever_bars_entries(self, code: str, limits: dict[str, Any]) -> None:
        found = book(5, **limits)
        found.halted = "test" if code == "halted" else ""

        assert allowed(found, proposal()) == code
        assert allowed(found, proposal("sell", 5, closes=5)) == 5

    @pytest.mark.parametrize(("code", "limits"), BARRED)
    def test_a_reversal_still_closes(self, code: str, limits: dict[str, Any]) -> None:
        found = book(5, **limits)
        found.halted = "test" if code == "halted" else ""

        passed = check(found, proposal("sell", 8, closes=5, stop_loss=Decimal(110)))

        assert isinstance(passed, risk.Passed)
        assert passed.reduced is not None
        assert passed.reduced.code == code
        assert passed.proposal.quantity == passed.proposal.closes == 5
        assert (passed.proposal.role, passed.proposal.stop_loss) == ("exit", None)

    def test_every_pass_is_recorded(self) -> None:
        for asked in (proposal(), proposal("sell", 5, closes=5)):
            passed = check(book(5, max_leverage=Decimal(2)), asked)
            assert isinstance(passed, risk.Passed)
            assert passed.record["passed"] is True
            assert passed.record["limits"]["max_leverage"] == "2"


class TestLoading:
    @pytest.fixture
    def load(self, account: BrokerAccount) -> Callable[..., books.AccountBook]:
        def read(**options: Any) -> books.AccountBook:
            with acting_across("test: load"):
                return books.load([account.pk], marks={}, now=options.get("now", at(0)))[account.pk]

        return read

    def test_equity_counts_what_the_batch_does_not_trade(
        self, load: Any, alice: Tenant, account: BrokerAccount, btc: Instrument, market: Market
    ) -> None:
        market.open(120)
        other = make_instrument("ETHUSD")
        with acting_for(alice):
            Position.objects.create(
                account=account, instrument=btc, quantity=Decimal(3), cost=Decimal(300)
            )
            Position.objects.create(
                account=account, instrument=other, quantity=Decimal(1), cost=Decimal(50)
            )

        # The second has no price yet and counts at what it cost.
        assert load().equity == 100_000 + 360 + 50

    def test_the_days_notional_leaves_out_what_was_closed_unfilled(
        self, load: Any, alice: Tenant, account: BrokerAccount, order_of: Any
    ) -> None:
        with acting_for(alice):
            RiskLimits.objects.create(account=account, max_daily_notional=Decimal(10_000))
        order_of(decision_price=PRICE, quantity=Decimal(3))
        order_of(decision_price=PRICE, quantity=Decimal(5), status="rejected")
        order_of(
            decision_price=PRICE, quantity=Decimal(5), status="canceled",
            filled_quantity=Decimal(1),
        )  # fmt: skip
        order_of(decision_price=PRICE, created_at=at(-86_400))

        assert load().notional_today == 400

    def test_an_order_in_doubt_for_a_minute_is_noticed(
        self, load: Any, order_of: Any, btc: Instrument
    ) -> None:
        order_of(status="unknown", submitted_at=at(0))

        assert load(now=at(60)).in_doubt == set()
        assert load(now=at(60.1)).in_doubt == {(None, btc.pk)}

    def test_the_day_begins_with_its_first_decision(
        self, load: Any, alice: Tenant, account: BrokerAccount
    ) -> None:
        load()
        with acting_for(alice):
            BrokerAccount.objects.update(cash=Decimal(90_000))

        assert load().account.day_equity == 100_000
        assert load(now=at(86_400)).account.day_equity == 90_000


class TestTogether:
    def test_concurrent_signals_cannot_jointly_exceed_a_limit(
        self, alice: Tenant, account: BrokerAccount, btc: Instrument, market: Market
    ) -> None:
        """Mutant, tried: without the accounts' row lock all of them pass."""
        market.open(100)
        deployment = make_deployment(alice, account.pk, account)
        with acting_for(alice):
            RiskLimits.objects.create(
                account=account, max_position_notional=Decimal(1_000), max_orders_per_minute=None
            )
        prices = {btc.pk: PRICE}
        start = threading.Barrier(20)

        def decide() -> None:
            start.wait()
            for _ in range(10):
                with acting_across("test: signal"):
                    found = books.load([account.pk], marks=prices, now=NOON)[account.pk]
                    said = Intent(
                        signal_id=deployment.pk, instrument=btc, action=Action.BUY,
                        created_at=NOON, quantity=Decimal(1),
                    )  # fmt: skip
                    verdict = placing.decide(
                        said, deployment=deployment, book=found, prices=prices, now=NOON
                    )
                    for row in verdict.orders:
                        row.client_order_id = f"t-{row.pk.hex}"
                    Order.objects.bulk_create(verdict.orders)
            connections["ops"].close()

        threads = [threading.Thread(target=decide) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        with acting_for(alice):
            rows = list(Order.objects.all())
            assert sum(row.quantity for row in rows) == 10
            assert all(row.risk["passed"] for row in rows)
