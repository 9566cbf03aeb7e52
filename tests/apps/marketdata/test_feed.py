import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import ProgrammingError, connection, transaction

from apps.core.tenancy import NoTenant, acting_across
from apps.marketdata import feed
from apps.marketdata.feed import Kind, Message, OutOfOrder
from apps.marketdata.models import Bar, Instrument, Quote
from tests.apps.marketdata.market import NOON, make_instrument
from tests.stage import STAGE

MINUTE = timedelta(minutes=1)


def write_bar(instrument: Instrument, *, opened_at: Any = NOON) -> None:
    """Open at 100, up to 103, down to 98, close at 101."""
    feed.open_bar(instrument, opened_at, Decimal(100))
    for second, price in ((20, 103), (40, 98)):
        feed.tick(instrument, opened_at + timedelta(seconds=second), Decimal(price))
    feed.close_bar(instrument, opened_at, Decimal(101), volume=Decimal(7))


def prices(*values: int) -> list[Decimal]:
    return [Decimal(value) for value in values]


class TestWrite:
    def test_an_open_is_a_forming_bar_of_one_price(self, bitcoin: Instrument, ops: None) -> None:
        feed.open_bar(bitcoin, NOON, Decimal(100))

        quote = Quote.objects.get()
        assert [quote.open, quote.high, quote.low, quote.price] == prices(100, 100, 100, 100)
        assert (quote.opened_at, quote.at, quote.is_forming) == (NOON, NOON, True)
        assert not Bar.objects.exists()

    def test_ticks_widen_the_forming_bar(self, bitcoin: Instrument, ops: None) -> None:
        feed.open_bar(bitcoin, NOON, Decimal(100))
        feed.tick(bitcoin, NOON + timedelta(seconds=20), Decimal(103), volume=Decimal(3))
        feed.tick(bitcoin, NOON + timedelta(seconds=40), Decimal(98))

        quote = Quote.objects.get()
        assert [quote.open, quote.high, quote.low, quote.price] == prices(100, 103, 98, 98)
        assert quote.volume == 3
        assert quote.at == NOON + timedelta(seconds=40)
        assert not Bar.objects.exists()

    def test_a_close_makes_the_bar(self, bitcoin: Instrument, ops: None) -> None:
        write_bar(bitcoin)

        bar = Bar.objects.get()
        assert [bar.open, bar.high, bar.low, bar.close] == prices(100, 103, 98, 101)
        assert (bar.opened_at, bar.interval_s, bar.volume) == (NOON, 60, Decimal(7))
        assert Quote.objects.get().is_forming is False

    def test_the_next_open_follows(self, bitcoin: Instrument, ops: None) -> None:
        write_bar(bitcoin)
        write_bar(bitcoin, opened_at=NOON + MINUTE)

        assert [bar.opened_at for bar in Bar.objects.order_by("opened_at")] == [NOON, NOON + MINUTE]

    def test_received_at_is_what_the_wall_clock_said(self, bitcoin: Instrument, ops: None) -> None:
        told = NOON + timedelta(days=900)

        feed.open_bar(bitcoin, NOON, Decimal(100), received_at=told)

        assert Quote.objects.get().received_at == told

    def test_a_batch_is_all_or_nothing(self, bitcoin: Instrument, ops: None) -> None:
        euro = make_instrument("EURUSD")
        feed.open_bar(bitcoin, NOON, Decimal(100))
        opening = Message(Kind.OPEN, euro.pk, NOON, Decimal(1), NOON)
        again = Message(Kind.OPEN, bitcoin.pk, NOON, Decimal(1), NOON)

        with pytest.raises(OutOfOrder):
            feed.write([opening, again])

        assert [quote.instrument_id for quote in Quote.objects.all()] == [bitcoin.pk]

    def test_outside_of_a_scope_it_refuses(self, bitcoin: Instrument) -> None:
        with pytest.raises(NoTenant):
            feed.open_bar(bitcoin, NOON, Decimal(100))

        assert not Quote.objects.exists()


class TestOrder:
    def test_a_second_open_before_the_close(self, bitcoin: Instrument, ops: None) -> None:
        feed.open_bar(bitcoin, NOON, Decimal(100))

        with pytest.raises(OutOfOrder, match="is not closed"):
            feed.open_bar(bitcoin, NOON + MINUTE, Decimal(101))

    @pytest.mark.parametrize("offset", [timedelta(0), -MINUTE, timedelta(seconds=59)])
    def test_a_bar_that_has_been(self, bitcoin: Instrument, ops: None, offset: timedelta) -> None:
        write_bar(bitcoin)

        with pytest.raises(OutOfOrder, match="has been"):
            feed.open_bar(bitcoin, NOON + offset, Decimal(100))

    def test_a_tick_without_a_forming_bar(self, bitcoin: Instrument, ops: None) -> None:
        with pytest.raises(OutOfOrder, match="no bar is forming"):
            feed.tick(bitcoin, NOON, Decimal(100))

        write_bar(bitcoin)
        with pytest.raises(OutOfOrder, match="no bar is forming"):
            feed.tick(bitcoin, NOON, Decimal(100))

    @pytest.mark.parametrize("second", [19, 61])
    def test_a_tick_outside_its_bar_or_back_in_time(
        self, bitcoin: Instrument, ops: None, second: int
    ) -> None:
        feed.open_bar(bitcoin, NOON, Decimal(100))
        feed.tick(bitcoin, NOON + timedelta(seconds=20), Decimal(101))

        with pytest.raises(OutOfOrder, match="not between"):
            feed.tick(bitcoin, NOON + timedelta(seconds=second), Decimal(999))

        assert Quote.objects.get().high == 101

    def test_a_close_of_another_bar(self, bitcoin: Instrument, ops: None) -> None:
        feed.open_bar(bitcoin, NOON, Decimal(100))

        with pytest.raises(OutOfOrder, match="not the forming bar"):
            feed.close_bar(bitcoin, NOON + MINUTE, Decimal(100))

        assert not Bar.objects.exists()


class TestNews:
    def heard(self, listener: "psycopg.Connection[Any]") -> list[Any]:
        return [json.loads(news.payload) for news in listener.notifies(timeout=0.3)]

    @pytest.fixture
    def listener(self, database: None) -> Any:
        assert STAGE.admin_url
        with psycopg.connect(STAGE.admin_url, autocommit=True) as listener:
            listener.execute("LISTEN pinelab_bars")
            yield listener

    def test_each_step_is_told_in_its_order(
        self, bitcoin: Instrument, listener: "psycopg.Connection[Any]"
    ) -> None:
        for step in ("open", "tick", "close"):
            with acting_across("test"):
                if step == "open":
                    feed.open_bar(bitcoin, NOON, Decimal(100))
                elif step == "tick":
                    feed.tick(bitcoin, NOON + timedelta(seconds=20), Decimal(103))
                else:
                    feed.close_bar(bitcoin, NOON, Decimal(101))

        news = {"i": str(bitcoin.pk), "t": int(NOON.timestamp()), "s": 60}
        assert self.heard(listener) == [
            {**news, "k": "open"},
            {**news, "k": "tick"},
            {**news, "k": "close"},
        ]

    def test_nothing_is_told_of_what_was_not_committed(
        self, bitcoin: Instrument, listener: "psycopg.Connection[Any]"
    ) -> None:
        with acting_across("test"):
            feed.open_bar(bitcoin, NOON, Decimal(100))
            transaction.set_rollback(True, using="ops")

        assert self.heard(listener) == []
        assert not Quote.objects.exists()


class TestWhoMayWrite:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE marketdata_quote SET price = price + 1",
            "DELETE FROM marketdata_bar",
            "UPDATE marketdata_instrument SET tick_size = 1",
            "UPDATE marketdata_replay SET speed = 9",
        ],
    )
    def test_the_applications_role_may_not(self, bitcoin: Instrument, statement: str) -> None:
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            connection.cursor().execute(statement)

    def test_the_applications_role_reads(self, bitcoin: Instrument) -> None:
        with acting_across("test"):
            write_bar(bitcoin)

        assert Bar.objects.get().close == 101
        assert Quote.objects.get().price == 101
