"""The fill kernel: each rule by hand, then the properties over random books and bars."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ml.backtest import orders
from ml.backtest.fills import (
    ASLEEP,
    BUY,
    CANCELED,
    FILLED,
    LIMIT,
    MARKET,
    NOTHING_TO_REDUCE,
    PARENT_CANCELED,
    REFUSED,
    SELL,
    SIBLING_FILLED,
    STOP,
    STOP_LIMIT,
    VACANT,
    WORKING,
    Book,
    Fills,
    snap,
    step,
)
from ml.backtest.orders import Fill, place, place_bracket, step_bar
from ml.bars import Bar

# Nearer the high: open, high, low, close.
HIGH_FIRST = Bar(0, 100.0, 102.0, 96.0, 99.0)
# Nearer the low: open, low, high, close.
LOW_FIRST = Bar(0, 100.0, 104.0, 98.0, 101.0)


def run(
    book: Book,
    bar: Bar = HIGH_FIRST,
    *,
    position: float = 0.0,
    tick: float = 0.01,
    slippage_ticks: float = 0.0,
) -> list[Fill]:
    return step_bar(bar, book=book, position=position, tick=tick, slippage_ticks=slippage_ticks)


def seen(fills: list[Fill]) -> list[tuple[int, float, float]]:
    return [(fill.order, fill.price, fill.quantity) for fill in fills]


def put(book: Book, *, kind: int, side: int, level: float | None, quantity: float) -> None:
    place(
        book,
        kind=kind,
        side=side,
        quantity=quantity,
        active_from=0,
        limit=level if kind == LIMIT and level is not None else float("nan"),
        stop=level if kind == STOP and level is not None else float("nan"),
    )


class TestOneOrder:
    @pytest.mark.parametrize(
        ("kind", "side", "level", "price", "point"),
        [
            (LIMIT, BUY, 97.0, 97.0, 2),  # reached on the way down
            (LIMIT, BUY, 96.0, 96.0, 2),  # the low itself
            (LIMIT, BUY, 95.99, None, None),
            (LIMIT, BUY, 100.0, 100.0, 0),  # marketable at the open
            (LIMIT, BUY, 103.0, 100.0, 0),  # better than asked, at the open
            (LIMIT, SELL, 101.0, 101.0, 1),
            (LIMIT, SELL, 102.0, 102.0, 1),
            (LIMIT, SELL, 102.01, None, None),
            (LIMIT, SELL, 98.0, 100.0, 0),
            (STOP, BUY, 101.0, 101.0, 1),
            (STOP, BUY, 102.01, None, None),
            (STOP, BUY, 99.0, 100.0, 0),  # jumped by the gap
            (STOP, SELL, 98.0, 98.0, 2),
            (STOP, SELL, 95.99, None, None),
            (STOP, SELL, 101.0, 100.0, 0),
        ],
    )
    def test_a_level_fills_where_the_path_first_meets_it(
        self, kind: int, side: int, level: float, price: float | None, point: int | None
    ) -> None:
        book = Book.empty(1)
        put(book, kind=kind, side=side, level=level, quantity=2.0)

        fills = run(book)

        expected = [] if price is None else [(price, point, side * 2.0)]
        assert [(fill.price, fill.point, fill.position) for fill in fills] == expected
        assert book.status[0] == (WORKING if price is None else FILLED)

    @pytest.mark.parametrize("side", [BUY, SELL])
    def test_a_market_order_fills_at_the_open(self, side: int) -> None:
        book = Book.empty(1)
        place(book, kind=MARKET, side=side, quantity=3.0, active_from=0)

        assert run(book) == [Fill(0, side, 100.0, 3.0, 0, side * 3.0)]

    @pytest.mark.parametrize(
        ("side", "stop", "limit", "price"),
        [
            (BUY, 101.0, 101.5, 101.0),  # triggered at 101, which is better than the limit
            (BUY, 101.0, 99.0, 99.0),  # waits for the way down
            (BUY, 101.0, 95.0, None),  # triggered, limit not reached
            (BUY, 99.0, 100.5, 100.0),  # the gap triggers, the open is within the limit
            (BUY, 99.0, 98.5, 98.5),  # the gap triggers, the open is beyond the limit
            (SELL, 98.0, 97.0, 98.0),
            (SELL, 98.0, 98.5, 98.5),  # triggered at 98, fills on the last way up
            (SELL, 98.0, 99.5, None),
            (SELL, 103.0, 101.0, 101.0),
        ],
    )
    def test_a_stop_limit_is_a_limit_from_its_trigger_on(
        self, side: int, stop: float, limit: float, price: float | None
    ) -> None:
        book = Book.empty(1)
        place(book, kind=STOP_LIMIT, side=side, quantity=1.0, stop=stop, limit=limit, active_from=0)

        fills = run(book)

        assert [fill.price for fill in fills] == ([] if price is None else [price])
        assert book.triggered[0]

    def test_a_triggered_stop_limit_stays_triggered_on_the_next_bar(self) -> None:
        book = Book.empty(1)
        place(book, kind=STOP_LIMIT, side=BUY, quantity=1.0, stop=101.0, limit=95.0, active_from=0)
        assert run(book) == []

        # This bar never sees 101 again.
        assert seen(run(book, Bar(1, 96.0, 97.0, 94.0, 96.0))) == [(0, 95.0, 1.0)]

    def test_an_order_does_nothing_before_its_bar(self) -> None:
        book = Book.empty(1)
        place(book, kind=MARKET, side=BUY, quantity=1.0, active_from=1)

        assert run(book, HIGH_FIRST) == []
        assert seen(run(book, HIGH_FIRST._replace(time=1))) == [(0, 100.0, 1.0)]

    @pytest.mark.parametrize(
        ("kind", "side", "level", "price"),
        [
            (MARKET, BUY, None, 100.03),
            (MARKET, SELL, None, 99.97),
            (STOP, BUY, 101.0, 101.03),
            (STOP, SELL, 98.0, 97.97),
            (STOP, BUY, 99.0, 100.03),
            (LIMIT, BUY, 97.0, 97.0),
            (LIMIT, SELL, 99.0, 100.0),
        ],
    )
    def test_slippage_moves_market_and_stop_fills_against_the_trader(
        self, kind: int, side: int, level: float | None, price: float
    ) -> None:
        book = Book.empty(1)
        put(book, kind=kind, side=side, level=level, quantity=1.0)

        assert [fill.price for fill in run(book, slippage_ticks=3.0)] == [price]

    def test_the_limit_part_of_a_stop_limit_does_not_slip(self) -> None:
        book = Book.empty(1)
        place(book, kind=STOP_LIMIT, side=BUY, quantity=1.0, stop=101.0, limit=101.5, active_from=0)

        assert [fill.price for fill in run(book, slippage_ticks=3.0)] == [101.0]


class TestPath:
    def test_a_bar_that_opens_midway_goes_to_its_low_first(self) -> None:
        # 0.05 up and 0.05 down; as floats the two distances differ in the last digit.
        bar = Bar(0, 100.05, 100.1, 100.0, 100.05)
        book = Book.empty(2)
        place(book, kind=LIMIT, side=SELL, quantity=1.0, limit=100.1, active_from=0)
        place(book, kind=LIMIT, side=BUY, quantity=1.0, limit=100.0, active_from=0)

        assert [fill.order for fill in run(book, bar)] == [1, 0]

    @pytest.mark.parametrize(("bar", "expected"), [(HIGH_FIRST, [0, 1]), (LOW_FIRST, [1, 0])])
    def test_the_nearer_extreme_comes_first(self, bar: Bar, expected: list[int]) -> None:
        book = Book.empty(2)
        place(book, kind=LIMIT, side=SELL, quantity=1.0, limit=102.0, active_from=0)
        place(book, kind=LIMIT, side=BUY, quantity=1.0, limit=98.0, active_from=0)

        assert [fill.order for fill in run(book, bar)] == expected

    def test_on_one_segment_the_nearer_level_comes_first_whatever_its_age(self) -> None:
        book = Book.empty(3)
        for level in (97.0, 99.0, 98.0):
            place(book, kind=LIMIT, side=BUY, quantity=1.0, limit=level, active_from=0)

        assert [fill.price for fill in run(book)] == [99.0, 98.0, 97.0]

    def test_at_one_point_exits_act_before_entries_and_old_before_young(self) -> None:
        book = Book.empty(3)
        place(book, kind=MARKET, side=SELL, quantity=1.0, active_from=0, age=2)
        place(book, kind=MARKET, side=SELL, quantity=5.0, active_from=0, age=1)
        place(book, kind=MARKET, side=SELL, quantity=9.0, active_from=0, age=3, reduce_only=True)

        fills = run(book, position=4.0)

        assert seen(fills) == [(2, 100.0, 4.0), (1, 100.0, 5.0), (0, 100.0, 1.0)]

    @pytest.mark.parametrize(
        "bar",
        [
            Bar(0, 100.0, 99.0, 98.0, 98.5),
            Bar(0, 100.0, 101.0, 99.0, 102.0),
            Bar(0, float("nan"), 101.0, 99.0, 100.0),
            Bar(0, 100.0, float("inf"), 99.0, 100.0),
        ],
    )
    def test_prices_that_are_no_bar_are_refused_and_change_nothing(self, bar: Bar) -> None:
        book = Book.empty(1)
        place(book, kind=MARKET, side=BUY, quantity=1.0, active_from=0)

        with pytest.raises(ValueError, match="must contain open and close"):
            run(book, bar)

        assert book.status[0] == WORKING

    def test_too_little_room_for_the_fills_is_refused(self) -> None:
        book = Book.empty(2)
        place(book, kind=MARKET, side=BUY, quantity=1.0, active_from=0)

        assert step(0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, book, Fills.empty(1)) == REFUSED


class TestSnap:
    @pytest.mark.parametrize(
        ("level", "tick", "up", "expected"),
        [
            (100.071, 0.01, False, 100.07),
            (100.071, 0.01, True, 100.08),
            (10007 * 0.01, 0.01, True, 100.07),  # 100.07000000000001 is noise, not a price above
            (1.0683799999999999, 0.00001, False, 1.06838),
            (4321.3, 0.25, True, 4321.5),
            (4321.3, 5.0, False, 4320.0),
            (123.456, 0.0, True, 123.456),
        ],
    )
    def test_the_grid_price_is_the_float_that_the_decimal_parses_to(
        self, level: float, tick: float, up: bool, expected: float
    ) -> None:
        assert snap(level, tick, up) == expected

    def test_a_level_between_two_ticks_must_be_passed_in_full(self) -> None:
        book = Book.empty(2)
        place(book, kind=LIMIT, side=SELL, quantity=1.0, limit=102.001, active_from=0)
        place(book, kind=STOP, side=SELL, quantity=1.0, stop=98.009, active_from=0)

        assert seen(run(book)) == [(1, 98.0, 1.0)]


class TestBracket:
    @pytest.mark.parametrize(
        ("bar", "side", "stop_loss", "take_profit", "exit_price", "point"),
        [
            (HIGH_FIRST, BUY, 98.0, 102.0, 102.0, 1),  # both touched, target first
            (LOW_FIRST, BUY, 98.0, 102.0, 98.0, 1),  # both touched, stop first
            (HIGH_FIRST, SELL, 102.0, 98.0, 102.0, 1),
            (LOW_FIRST, SELL, 102.0, 98.0, 98.0, 1),
        ],
    )
    def test_children_work_on_the_entrys_own_bar_and_one_cancels_the_other(
        self,
        bar: Bar,
        side: int,
        stop_loss: float,
        take_profit: float,
        exit_price: float,
        point: int,
    ) -> None:
        book = Book.empty(3)
        place_bracket(
            book,
            kind=MARKET,
            side=side,
            quantity=2.0,
            active_from=0,
            stop_loss=stop_loss,
            take_profit=take_profit,
        )

        entry, leave = run(book, bar)

        assert (entry.price, entry.point, entry.position) == (100.0, 0, 2.0 * side)
        assert (leave.price, leave.point, leave.position) == (exit_price, point, 0.0)
        assert sorted(book.status) == [FILLED, FILLED, CANCELED]
        assert book.reason[book.status == CANCELED] == [SIBLING_FILLED]

    def test_a_child_does_not_see_the_path_before_its_parents_fill(self) -> None:
        # Open 100, high 102, low 96: the target at 101 was passed before the entry at 97.
        book = Book.empty(3)
        place_bracket(
            book,
            kind=LIMIT,
            side=BUY,
            quantity=1.0,
            limit=97.0,
            active_from=0,
            stop_loss=95.0,
            take_profit=101.0,
        )

        assert seen(run(book)) == [(0, 97.0, 1.0)]
        assert list(book.status) == [FILLED, WORKING, WORKING]

    def test_a_child_that_is_passed_already_acts_where_its_parent_filled(self) -> None:
        # The stop of 101.5 lies above the entry: it is reached the moment it wakes.
        book = Book.empty(2)
        place_bracket(
            book,
            kind=STOP,
            side=BUY,
            quantity=1.0,
            stop=101.0,
            active_from=0,
            stop_loss=101.5,
        )

        assert [(f.price, f.point) for f in run(book)] == [(101.0, 1), (101.0, 1)]

    def test_children_sleep_until_the_parent_fills(self) -> None:
        book = Book.empty(3)
        place_bracket(
            book,
            kind=LIMIT,
            side=BUY,
            quantity=1.0,
            limit=90.0,
            active_from=0,
            stop_loss=98.0,
            take_profit=101.0,
        )

        assert run(book) == []
        assert list(book.status) == [WORKING, ASLEEP, ASLEEP]

    def test_a_canceled_parent_takes_its_children_along(self) -> None:
        book = Book.empty(3)
        entry, *_ = place_bracket(
            book,
            kind=LIMIT,
            side=BUY,
            quantity=1.0,
            limit=90.0,
            active_from=0,
            stop_loss=89.0,
            take_profit=101.0,
        )

        assert orders.cancel(book, entry)
        assert list(book.status) == [CANCELED] * 3
        assert list(book.reason[1:]) == [PARENT_CANCELED] * 2
        assert not orders.cancel(book, entry)

    def test_a_parent_that_only_closes_leaves_no_children(self) -> None:
        book = Book.empty(3)
        place_bracket(
            book,
            kind=MARKET,
            side=BUY,
            quantity=2.0,
            active_from=0,
            stop_loss=90.0,
            take_profit=110.0,
        )

        assert seen(run(book, position=-2.0)) == [(0, 100.0, 2.0)]
        assert list(book.reason[1:]) == [NOTHING_TO_REDUCE] * 2

    def test_a_child_is_at_most_as_large_as_what_its_parent_filled(self) -> None:
        book = Book.empty(2)
        entry = place(book, kind=MARKET, side=BUY, quantity=1.0, active_from=0)
        place(book, kind=STOP, side=SELL, quantity=5.0, stop=98.0, parent=entry, active_from=0)

        assert seen(run(book, position=3.0)) == [(0, 100.0, 1.0), (1, 98.0, 1.0)]

    def test_a_childs_child_is_canceled_too_whatever_slot_it_has(self) -> None:
        book = Book.empty(3)
        for parent in (-1, 0, 1):
            place(book, kind=MARKET, side=BUY, quantity=1.0, parent=parent, active_from=0)
        backwards = book.copy()
        backwards.status[:] = book.status[::-1]
        backwards.parent[:] = [1, 2, -1]

        assert orders.cancel(backwards, 2)
        assert list(backwards.status) == [CANCELED] * 3

    def test_children_of_a_reversal_close_the_new_position_only(self) -> None:
        # Sell 3 while long 1: short 2, so the stop of 3 buys 2.
        book = Book.empty(2)
        place_bracket(book, kind=MARKET, side=SELL, quantity=3.0, active_from=0, stop_loss=101.0)

        assert seen(run(book, position=1.0)) == [(0, 100.0, 3.0), (1, 101.0, 2.0)]

    def test_two_brackets_in_one_position_leave_each_other_alone(self) -> None:
        book = Book.empty(6)
        for stop_loss, take_profit in ((95.0, 101.0), (97.0, 110.0)):
            place_bracket(
                book,
                kind=MARKET,
                side=BUY,
                quantity=1.0,
                active_from=0,
                stop_loss=stop_loss,
                take_profit=take_profit,
            )

        fills = run(book)

        assert [(f.price, f.position) for f in fills] == [
            (100.0, 1.0),
            (100.0, 2.0),
            (101.0, 1.0),
            (97.0, 0.0),
        ]


class TestReduceOnly:
    def test_it_shrinks_to_the_position(self) -> None:
        book = Book.empty(1)
        place(book, kind=MARKET, side=SELL, quantity=5.0, active_from=0, reduce_only=True)

        assert seen(run(book, position=2.0)) == [(0, 100.0, 2.0)]

    @pytest.mark.parametrize("position", [0.0, -2.0])
    def test_it_is_canceled_when_it_acts_with_nothing_to_reduce(self, position: float) -> None:
        book = Book.empty(1)
        place(book, kind=MARKET, side=SELL, quantity=5.0, active_from=0, reduce_only=True)

        assert run(book, position=position) == []
        assert (book.status[0], book.reason[0]) == (CANCELED, NOTHING_TO_REDUCE)

    def test_it_waits_for_an_entry_of_the_same_bar(self) -> None:
        book = Book.empty(2)
        place(book, kind=STOP, side=SELL, quantity=1.0, stop=98.0, active_from=0, reduce_only=True)
        place(book, kind=MARKET, side=BUY, quantity=1.0, active_from=0)

        assert seen(run(book)) == [(1, 100.0, 1.0), (0, 98.0, 1.0)]

    @pytest.mark.parametrize("quantity", [1.0, 3.0])
    def test_it_does_not_outlive_its_position(self, quantity: float) -> None:
        # The stop would otherwise wait for the next long position, which it was not made for.
        book = Book.empty(2)
        place(book, kind=STOP, side=SELL, quantity=1.0, stop=90.0, active_from=0, reduce_only=True)
        place(book, kind=MARKET, side=SELL, quantity=quantity, active_from=0)

        run(book, position=1.0)

        assert book.reason[0] == NOTHING_TO_REDUCE

    def test_tenths_add_up_to_flat(self) -> None:
        book = Book.empty(4)
        for _ in range(3):
            place(book, kind=MARKET, side=SELL, quantity=0.1, active_from=0)
        place(book, kind=STOP, side=SELL, quantity=1.0, stop=90.0, active_from=0, reduce_only=True)

        fills = run(book, position=0.3)

        assert fills[-1].position == 0.0
        assert book.status[3] == CANCELED


class TestGroups:
    def test_the_first_fill_cancels_the_rest(self) -> None:
        book = Book.empty(3)
        place(book, kind=STOP, side=BUY, quantity=1.0, stop=101.0, oca=7, active_from=0)
        place(book, kind=STOP, side=SELL, quantity=1.0, stop=99.0, oca=7, active_from=0)
        place(book, kind=STOP, side=SELL, quantity=1.0, stop=97.0, active_from=0)

        assert seen(run(book)) == [(0, 101.0, 1.0), (2, 97.0, 1.0)]
        assert book.reason[1] == SIBLING_FILLED

    def test_two_stops_that_the_open_reaches_go_by_age(self) -> None:
        book = Book.empty(2)
        place(book, kind=STOP, side=SELL, quantity=1.0, stop=100.0, oca=1, age=1, active_from=0)
        place(book, kind=STOP, side=BUY, quantity=1.0, stop=100.0, oca=1, age=0, active_from=0)

        assert seen(run(book)) == [(1, 100.0, 1.0)]


class TestPosition:
    @pytest.mark.parametrize(
        ("position", "side", "quantity", "after"),
        [
            (0.0, BUY, 2.0, 2.0),
            (1.0, BUY, 2.0, 3.0),
            (3.0, SELL, 1.0, 2.0),
            (3.0, SELL, 3.0, 0.0),
            (3.0, SELL, 5.0, -2.0),
            (-3.0, BUY, 5.0, 2.0),
            (-1.0, SELL, 1.0, -2.0),
        ],
    )
    def test_open_add_reduce_close_and_reverse(
        self, position: float, side: int, quantity: float, after: float
    ) -> None:
        book = Book.empty(1)
        place(book, kind=MARKET, side=side, quantity=quantity, active_from=0)

        assert [fill.position for fill in run(book, position=position)] == [after]


# --- Random books and bars ---------------------------------------------------------------------

TICK = 0.25
grid = st.integers(360, 440).map(lambda k: k * TICK)
loose = st.floats(90.0, 110.0)
price = st.one_of(grid, loose)
# The promise that paper trading rests on gets most of the time.
thorough = settings(max_examples=1000, deadline=None)
some = settings(max_examples=250, deadline=None)


@st.composite
def bars(draw: st.DrawFn, time: int = 0) -> Bar:
    four = sorted(draw(st.lists(grid, min_size=4, max_size=4)))
    middle = [four[1], four[2]]
    if draw(st.booleans()):
        middle.reverse()
    # Opens and closes at an extreme, and bars without a range, are the interesting ones.
    open_ = draw(st.sampled_from([*middle, four[0], four[3]]))
    close = draw(st.sampled_from([*middle, four[0], four[3]]))
    return Bar(time, open_, four[3], four[0], close)


@st.composite
def books(draw: st.DrawFn, active_from: tuple[int, ...] = (0,)) -> Book:
    count = draw(st.integers(1, 7))
    book = Book.empty(count + 1)
    for slot in range(count):
        kind = draw(st.sampled_from([MARKET, LIMIT, STOP, STOP_LIMIT]))
        parent = draw(st.integers(-1, slot - 1)) if draw(st.booleans()) else -1
        place(
            book,
            kind=kind,
            side=draw(st.sampled_from([BUY, SELL])),
            quantity=draw(st.sampled_from([0.1, 0.3, 1.0, 2.0, 3.0])),
            limit=draw(price) if kind in (LIMIT, STOP_LIMIT) else float("nan"),
            stop=draw(price) if kind in (STOP, STOP_LIMIT) else float("nan"),
            parent=parent,
            oca=draw(st.sampled_from([0, 0, 1, 2])),
            reduce_only=draw(st.booleans()),
            age=draw(st.integers(0, 3)),
            active_from=draw(st.sampled_from(active_from)),
        )
    return book


positions = st.sampled_from([-2.0, -0.3, 0.0, 0.0, 0.3, 1.0, 2.0])


def same(left: Book, right: Book) -> None:
    for name, ours, theirs in zip(Book._fields, left, right, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


class TestLiveEqualsBacktest:
    @thorough
    @given(book=books(active_from=(0, 0, 0, 1)), bar=bars(), position=positions)
    def test_the_opening_step_and_the_closing_step_are_the_whole_bar(
        self, book: Book, bar: Bar, position: float
    ) -> None:
        live, whole = book.copy(), book.copy()

        first = run(live, Bar.opened(bar.time, bar.open), position=position, tick=TICK)
        held = first[-1].position if first else position
        second = run(live, bar, position=held, tick=TICK)

        assert first + second == run(whole, bar, position=position, tick=TICK)
        same(live, whole)

    @thorough
    @given(
        book=books(), late=books(active_from=(1,)), bar=bars(), after=bars(time=1), data=st.data()
    )
    def test_orders_accepted_while_the_bar_forms_wait_for_the_next_open(
        self, book: Book, late: Book, bar: Bar, after: Bar, data: st.DataObject
    ) -> None:
        # Backtest: the late orders join the book between the bars. Live: in the middle of the bar.
        position = data.draw(positions)
        # A group may not span both books: a fill of this bar would cancel the late order live, and
        # in the backtest the late order did not exist yet.
        late.oca[late.oca > 0] += 10
        exits = late.reduce_only & (late.status == WORKING)
        assume(not exits.any())
        live, backtest = book.copy(), book.copy()

        first = run(live, Bar.opened(0, bar.open), position=position, tick=TICK)
        held = first[-1].position if first else position
        live = joined(live, late)
        second = run(live, bar, position=held, tick=TICK)
        held = second[-1].position if second else held
        third = run(live, after, position=held, tick=TICK)

        expected = run(backtest, bar, position=position, tick=TICK)
        held = expected[-1].position if expected else position
        backtest = joined(backtest, late)
        expected += run(backtest, after, position=held, tick=TICK)
        assert first + second + third == expected
        same(live, backtest)


def joined(book: Book, late: Book) -> Book:
    shifted = late._replace(
        parent=np.where(late.parent >= 0, late.parent + book.status.size, -1).astype(np.int32)
    )
    pairs: Any = zip(book, shifted, strict=True)
    columns: list[Any] = [np.concatenate(pair) for pair in pairs]
    return Book(*columns)


class TestProperties:
    @some
    @given(book=books(), bar=bars(), position=positions, slippage=st.sampled_from([0.0, 1.0, 4.0]))
    def test_every_fill_keeps_the_rules(
        self, book: Book, bar: Bar, position: float, slippage: float
    ) -> None:
        before = book.copy()

        fills = run(book, bar, position=position, tick=TICK, slippage_ticks=slippage)

        held, slip = position, slippage * TICK
        for fill in fills:
            kind = book.kind[fill.order]
            moved = fill.side * slip if kind in (MARKET, STOP) else 0.0
            unslipped = fill.price - moved
            assert bar.low <= unslipped <= bar.high
            if kind in (LIMIT, STOP_LIMIT):  # never worse than the limit
                assert (fill.price - book.limit[fill.order]) * fill.side <= 0.0
            if kind == STOP:  # never better than the stop
                assert (unslipped - book.stop[fill.order]) * fill.side >= 0.0
            if book.reduce_only[fill.order]:
                assert held * fill.side < 0.0
                assert abs(fill.position) < abs(held)
                assert fill.position * held >= 0.0
            else:
                assert fill.quantity == book.quantity[fill.order]
            assert fill.position == pytest.approx(held + fill.side * fill.quantity, abs=1e-12)
            held = fill.position
        filled = [fill.order for fill in fills]
        assert len(filled) == len(set(filled))
        assert set(filled) == set(np.flatnonzero(book.status == FILLED))
        groups = [int(book.oca[slot]) for slot in filled if book.oca[slot]]
        assert len(groups) == len(set(groups))
        assert [fill.point for fill in fills] == sorted(fill.point for fill in fills)
        np.testing.assert_array_equal(book.status == VACANT, before.status == VACANT)
        orphans = (book.status == ASLEEP) & np.isin(book.status[book.parent], [FILLED, CANCELED])
        assert not orphans.any()

    @some
    @given(book=books(), bar=bars(), position=positions)
    def test_a_second_look_at_the_same_bar_finds_nothing_at_its_open(
        self, book: Book, bar: Bar, position: float
    ) -> None:
        opened = Bar.opened(bar.time, bar.open)
        fills = run(book, opened, position=position, tick=TICK)
        held = fills[-1].position if fills else position

        assert run(book, opened, position=held, tick=TICK) == []

    @some
    @given(book=books(), bar=bars(), position=positions, exponent=st.integers(-20, 20))
    def test_the_unit_of_price_does_not_matter(
        self, book: Book, bar: Bar, position: float, exponent: int
    ) -> None:
        scale = 2.0**exponent
        scaled = book._replace(limit=book.limit * scale, stop=book.stop * scale).copy()
        wide = Bar(0, *(value * scale for value in bar[1:5]))

        ours = run(book, bar, position=position, tick=TICK)
        theirs = run(scaled, wide, position=position, tick=TICK * scale)

        assert [(f.order, f.price * scale, f.quantity, f.point) for f in ours] == [
            (f.order, f.price, f.quantity, f.point) for f in theirs
        ]

    @some
    @given(book=books(active_from=(0, 1)), bar=bars(), later=bars(time=1), other=bars(time=1))
    def test_a_fill_never_depends_on_a_later_bar(
        self, book: Book, bar: Bar, later: Bar, other: Bar
    ) -> None:
        one, two = book.copy(), book.copy()

        first = [run(one, bar, tick=TICK), run(one, later, tick=TICK)]
        second = [run(two, bar, tick=TICK), run(two, other, tick=TICK)]

        assert first[0] == second[0]

    @some
    @given(book=books(), bar=bars(), position=positions)
    def test_buying_and_selling_are_mirror_images(
        self, book: Book, bar: Bar, position: float
    ) -> None:
        # Reflect all prices at 200; a bar that opens midway is the one asymmetric case.
        assume(bar.high - bar.open != bar.open - bar.low)
        mirrored = book._replace(
            side=-book.side, limit=200.0 - book.limit, stop=200.0 - book.stop
        ).copy()
        seen_from_below = Bar(
            0, 200.0 - bar.open, 200.0 - bar.low, 200.0 - bar.high, 200.0 - bar.close
        )

        ours = run(book, bar, position=position, tick=TICK)
        theirs = run(mirrored, seen_from_below, position=-position, tick=TICK)

        assert [(f.order, 200.0 - f.price, f.quantity, f.point) for f in ours] == [
            (f.order, f.price, f.quantity, f.point) for f in theirs
        ]


PARITY = """
import hashlib
import numpy as np
from ml.backtest.fills import Book, Fills, step

chance = np.random.default_rng(7)
digest = hashlib.sha256()
book, fills, position, total = Book.empty(8), Fills.empty(8), 0.0, 0
for bar in range(2000):
    if bar % 3 == 0:
        book.status[:] = chance.integers(1, 3, 8)
        book.kind[:] = chance.integers(0, 4, 8)
        book.side[:] = chance.choice([-1, 1], 8)
        book.quantity[:] = chance.choice([0.1, 1.0, 2.5], 8)
        book.filled[:] = 0.0
        book.limit[:] = chance.uniform(95.0, 105.0, 8)
        book.stop[:] = chance.uniform(95.0, 105.0, 8)
        book.triggered[:] = False
        book.reduce_only[:] = chance.random(8) < 0.4
        book.parent[:] = np.where(book.status == 1, chance.integers(0, 8, 8), -1)
        book.oca[:] = chance.integers(0, 3, 8)
        book.active_from[:] = bar + chance.integers(0, 2, 8)
        book.age[:] = chance.permutation(8)
    low, one, two, high = np.sort(chance.uniform(95.0, 105.0, 4)).round(2)
    count = step(bar, one, high, low, two, 0.01, 2.0, position, book, fills)
    if count:
        position = float(fills.position[count - 1])
    total += count
    for column in (*fills, *book):
        digest.update(column[:count].tobytes() if column is fills.price else column.tobytes())
print(total, digest.hexdigest())
"""


class TestCompiler:
    def test_compiled_and_plain_python_agree_to_the_last_bit(self) -> None:
        answers = []
        for switch in ("0", "1"):
            done = subprocess.run(  # noqa: S603
                [sys.executable, "-c", PARITY],
                capture_output=True,
                check=True,
                text=True,
                cwd=Path(__file__).parents[3],
                env={**os.environ, "NUMBA_DISABLE_JIT": switch},
            )
            answers.append(done.stdout.split())

        assert int(answers[0][0]) > 1000
        assert answers[0] == answers[1]
