from decimal import Decimal
from typing import Any

import pytest

from apps.trading.intent import Proposal, Refusal
from apps.trading.models import Order
from apps.trading.sizing import propose
from tests.apps.trading.deciding import BTC, PRICE, book, deployment, intent, order

LONG, SHORT, FLAT = "5", "-5", 0


def signed(found: Proposal | Refusal) -> Decimal | str:
    return found.code if isinstance(found, Refusal) else found.signed


def sized(action: str, held: Any, sizing: str = "signal", size: Any = 1, **said: Any) -> Any:
    return signed(
        propose(
            intent(action, **said), deployment=deployment(sizing, size), book=book(held),
            last_price=PRICE,
        )
    )  # fmt: skip


class TestEveryActionAgainstWhatIsHeld:
    @pytest.mark.parametrize(
        ("action", "long", "short", "flat"),
        [
            ("buy", 2, 7, 2),
            ("sell", -7, -2, -2),
            ("add", 2, -2, "nothing_to_add_to"),
            ("close", -5, 5, "nothing_to_close"),
            ("close_long", -5, "nothing_to_close", "nothing_to_close"),
            ("close_short", "nothing_to_close", 5, "nothing_to_close"),
        ],
    )
    @pytest.mark.parametrize(
        ("sizing", "size", "said"),
        [
            ("signal", 2, {}),
            ("signal", 9, {"quantity": 2}),
            ("signal", 9, {"quantity_quote": 200}),
            ("fixed", 2, {"quantity": 9}),
            ("cash", 200, {"quantity": 9}),
            ("equity", "0.02", {"quantity": 9}),
            ("risk", "0.02", {"quantity": 9}),
        ],
    )
    def test_the_signed_quantity(
        self, action: str, long: Any, short: Any, flat: Any, sizing: str, size: Any,
        said: dict[str, Any],
    ) -> None:  # fmt: skip
        if action.startswith("close"):
            said = {}
        if sizing == "risk":
            # 2 % of 10,000 at risk over 100 points: two units.
            said = said | {"stop_loss": Decimal("0.0001")}
            entry = propose(
                intent(action, **said), deployment=deployment(sizing, size), book=book(0),
                last_price=PRICE,
            )  # fmt: skip
            assert signed(entry) in (2, -2, flat)

        found = [sized(action, held, sizing, size, **said) for held in (LONG, SHORT, FLAT)]

        assert found == [long, short, flat]

    def test_a_fraction_of_equity_leaves_room_for_the_fee(self) -> None:
        assert sized("buy", FLAT, quantity_fraction="0.5") == 50

    @pytest.mark.parametrize(
        ("held", "said", "expected"),
        [
            (LONG, {"quantity_fraction": "0.5"}, Decimal("-2.5")),
            (LONG, {"quantity_fraction": "0.33"}, Decimal("-1.6")),
            (LONG, {"quantity_fraction": 3}, -5),
            (LONG, {"quantity": 2}, -2),
            (SHORT, {"quantity": 9}, 5),
            (LONG, {"quantity": "0.05"}, "quantity_below_lot"),
        ],
    )
    def test_a_part_of_a_position(self, held: str, said: dict[str, Any], expected: Any) -> None:
        assert sized("close", held, **said) == expected

    def test_the_last_odd_lot_can_be_closed(self) -> None:
        assert sized("close", "0.05") == Decimal("-0.05")

    def test_quantities_are_rounded_towards_less_risk(self) -> None:
        assert sized("buy", FLAT, quantity="1.99") == Decimal("1.9")
        assert sized("buy", FLAT, quantity="0.09") == "quantity_below_lot"

    def test_risk_without_a_stop_is_refused(self) -> None:
        assert sized("buy", FLAT, "risk", "0.02") == "no_stop_to_size_by"


class TestTargets:
    @pytest.mark.parametrize(
        ("action", "held", "target", "expected"),
        [
            ("buy", FLAT, 3, 3),
            ("buy", LONG, 8, 3),
            ("buy", SHORT, 2, 7),
            ("sell", LONG, 2, -3),
            ("sell", LONG, -2, -7),
            ("buy", LONG, 5, "already_there"),
            ("buy", LONG, 3, "already_there"),
            ("sell", SHORT, -5, "already_there"),
        ],
    )
    def test_the_difference_is_traded(
        self, action: str, held: Any, target: int, expected: Any
    ) -> None:
        assert sized(action, held, target=target) == expected

    def test_scaling_out_closes_the_same_part_under_another_sizing(self) -> None:
        # The source sold one of three and holds two: a third of what is held here.
        assert sized("sell", "6", "fixed", 6, target=2, quantity=1) == -2
        assert sized("sell", FLAT, "fixed", 6, target=2, quantity=1) == "nothing_to_close"

    @pytest.mark.parametrize(
        ("held", "target", "expected"),
        [(LONG, None, -5), (LONG, 2, -3), (LONG, -3, -5), (FLAT, None, "short_not_allowed")],
    )
    def test_without_shorts_a_sale_only_closes(
        self, held: Any, target: int | None, expected: Any
    ) -> None:
        found = propose(
            intent("sell", **({} if target is None else {"target": target})),
            deployment=deployment(allows_short=False), book=book(held), last_price=PRICE,
        )  # fmt: skip

        assert signed(found) == expected


class TestOrdersOnTheirWay:
    def test_an_entry_that_waits_counts_as_held(self) -> None:
        found = book()
        found.note([order("buy", 3)], value=Decimal(300))

        reversal = propose(
            intent("sell", quantity=1), deployment=deployment(), book=found, last_price=PRICE
        )

        assert signed(reversal) == -4

    def test_an_exit_on_its_way_is_not_sized_again(self) -> None:
        found = book(5)
        found.note([order("sell", 5, reduce_only=True)], value=Decimal(500))

        again = propose(intent("close"), deployment=deployment(), book=found, last_price=PRICE)
        entry = propose(
            intent("buy", quantity=2), deployment=deployment(), book=found, last_price=PRICE
        )

        assert signed(again) == "nothing_to_close"
        assert signed(entry) == 2

    def test_an_exit_larger_than_the_position_leaves_no_phantom_behind(self) -> None:
        found = book(3)
        found.note([order("sell", 8, reduce_only=True)], value=Decimal(800))

        assert found.exposure(BTC.pk) == 0

    def test_an_entry_that_is_taken_back_is_closed_but_not_built_upon(self) -> None:
        found = book(2)
        entry = order("buy", 3)
        found.note([entry], value=Decimal(300))
        found.take_back_entries(None, BTC.pk, now=entry.created_at)

        close = propose(intent("close"), deployment=deployment(), book=found, last_price=PRICE)

        assert entry.cancel_requested_at is not None
        assert signed(close) == -5
        assert found.exposure(BTC.pk) == 2

    def test_brackets_do_not_count(self) -> None:
        found = book(2)
        found.note([order("buy", 1), order("sell", 1, reduce_only=True, kind="stop")], value=PRICE)

        assert found.exposure(BTC.pk) == 3


class TestRoles:
    @pytest.mark.parametrize(
        ("action", "held", "target", "role", "closes"),
        [
            ("sell", LONG, 0, Order.Role.EXIT, 5),
            ("sell", LONG, 2, Order.Role.EXIT, 3),
            ("sell", LONG, -1, Order.Role.ENTRY, 5),
            ("buy", FLAT, 1, Order.Role.ENTRY, 0),
        ],
    )
    def test_what_only_closes_is_an_exit_without_a_bracket(
        self, action: str, held: Any, target: int, role: str, closes: int
    ) -> None:
        found = propose(
            intent(action, target=target, stop_loss=90),
            deployment=deployment(), book=book(held), last_price=PRICE,
        )  # fmt: skip

        assert isinstance(found, Proposal)
        assert (found.role, int(found.closes)) == (role, closes)
        assert (found.stop_loss is None) == (role == Order.Role.EXIT)
