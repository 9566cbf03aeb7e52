"""The arithmetic against an independent ledger: cash paid, units held, nothing else."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.trading.positions import EXACT, Holding, apply_fill

ZERO = Decimal(0)
quantities = st.integers(1, 10**13).map(lambda n: Decimal(n).scaleb(-8))
few = st.sampled_from([Decimal("0.1"), Decimal("0.3"), Decimal(1), Decimal(3)])
prices = st.integers(1, 10**15).map(lambda n: Decimal(n).scaleb(-10))
fills = st.lists(
    st.tuples(st.sampled_from([1, -1]), st.one_of(quantities, few), prices), min_size=1, max_size=30
)
point_values = st.sampled_from([Decimal(1), Decimal(50), Decimal("12.5"), Decimal("0.3333333333")])


class TestAgainstAnIndependentLedger:
    @settings(max_examples=3_000, deadline=None)
    @given(fills=fills, point_value=point_values)
    def test_profit_and_cash_agree_to_the_last_decimal(
        self, fills: list[tuple[int, Decimal, Decimal]], point_value: Decimal
    ) -> None:
        holding, realized, cash, units = Holding(), ZERO, ZERO, ZERO
        with localcontext(EXACT):
            for sign, quantity, price in fills:
                effect = apply_fill(
                    holding, signed=sign * quantity, price=price, point_value=point_value
                )
                holding, realized = effect.holding, realized + effect.realized
                cash -= sign * (quantity * price * point_value).quantize(Decimal("1e-18"))
                units += sign * quantity

                assert holding.quantity == units
                assert cash == realized - holding.cost
                assert effect.closed + effect.opened == quantity
                assert (holding.cost > 0) == (units > 0) or abs(units) < Decimal("1e-7")
                if not units:
                    assert holding.cost == 0
                    assert cash == realized

    @settings(max_examples=500, deadline=None)
    @given(fills=fills)
    def test_a_mirrored_sequence_earns_the_opposite(
        self, fills: list[tuple[int, Decimal, Decimal]]
    ) -> None:
        ours, theirs = Holding(), Holding()
        with localcontext(EXACT):
            for sign, quantity, price in fills:
                one = apply_fill(ours, signed=sign * quantity, price=price)
                other = apply_fill(theirs, signed=-sign * quantity, price=price)
                ours, theirs = one.holding, other.holding

                assert one.realized == -other.realized
                assert ours.cost == -theirs.cost


class TestByHand:
    @pytest.mark.parametrize(
        ("held", "cost", "signed", "price", "realized", "after"),
        [
            # Open, add, reduce, close, reverse, from both sides.
            (0, 0, 2, 100, 0, (2, 200)),
            (2, 200, 1, 130, 0, (3, 330)),
            (3, 330, -1, 120, 10, (2, 220)),
            (2, 220, -2, 100, -20, (0, 0)),
            (2, 220, -5, 100, -20, (-3, -300)),
            (-3, -300, 1, 90, 10, (-2, -200)),
            (-2, -200, 2, 110, -20, (0, 0)),
            (-2, -200, 3, 90, 20, (1, 90)),
        ],
    )
    def test_each_kind_of_fill(
        self, held: int, cost: int, signed: int, price: int, realized: int, after: tuple[int, int]
    ) -> None:
        effect = apply_fill(
            Holding(Decimal(held), Decimal(cost)), signed=Decimal(signed), price=Decimal(price)
        )

        assert effect.realized == realized
        assert [effect.holding.quantity, effect.holding.cost] == list(after)

    def test_a_large_value_is_not_rounded_to_28_digits(self) -> None:
        # 123,456,789.12345678 · 98,765.4321098765 has 31 digits.
        quantity, price = Decimal("123456789.12345678"), Decimal("98765.4321098765")

        effect = apply_fill(Holding(), signed=quantity, price=price)

        with localcontext(EXACT):
            assert effect.holding.cost == quantity * price
