from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from apps.accounts.models import Tenant
from apps.core.tenancy import acting_across
from apps.marketdata import feed, replay, store
from apps.marketdata.models import Instrument
from apps.marketdata.sessions import to_datetime
from ml.bars import MINUTE_NS, SECOND_NS
from tests.apps.marketdata.market import MONDAY, make_bars, make_instrument


@pytest.fixture
def browser(alice: Tenant, client_for: Callable[[Tenant], Client]) -> Client:
    return client_for(alice)


@pytest.fixture
def listed(bitcoin: Instrument) -> Instrument:
    """A hundred closed bars, the last ten of them in the hot tail, and one that is forming."""
    store.merge(instrument_id=bitcoin.pk, interval_s=60, bars=make_bars(range(90)))
    replay.play(bitcoin, make_bars(range(90, 100)), interval_s=60)
    opened_at = to_datetime(MONDAY + 100 * MINUTE_NS)
    with acting_across("test"):
        feed.open_bar(bitcoin, opened_at, Decimal(100))
        feed.tick(bitcoin, opened_at + timedelta(seconds=5), Decimal("101.5"))
    return bitcoin


def minute(number: int) -> int:
    return (MONDAY + number * MINUTE_NS) // SECOND_NS


def get(browser: Client, address: str, **query: Any) -> Any:
    return browser.get(f"/api/v1/{address}", query)


class TestInstruments:
    @pytest.fixture
    def three(self, bitcoin: Instrument) -> None:
        with acting_across("test"):
            make_instrument("EURUSD", "OANDA", asset_class="forex", name="Euro")
            make_instrument("OLDUSD", "TEST", is_active=False)

    @pytest.mark.parametrize(
        ("query", "symbols"),
        [
            ({}, ["EURUSD", "BTCUSD"]),
            ({"search": "btc"}, ["BTCUSD"]),
            ({"search": "euro"}, ["EURUSD"]),
            ({"asset_class": "forex"}, ["EURUSD"]),
            ({"exchange": "test"}, ["BTCUSD"]),
            ({"is_active": "false"}, ["OLDUSD"]),
        ],
    )
    def test_they_are_searched_and_filtered(
        self, browser: Client, three: None, query: dict[str, str], symbols: list[str]
    ) -> None:
        answer = get(browser, "instruments", **query)

        assert [each["symbol"] for each in answer.json()["data"]] == symbols

    def test_pages_follow_each_other(self, browser: Client, three: None) -> None:
        first = get(browser, "instruments", limit=1).json()
        second = get(
            browser, "instruments", limit=1, cursor=first["pagination"]["next_cursor"]
        ).json()

        symbols = [page["data"][0]["symbol"] for page in (first, second)]
        assert symbols == ["EURUSD", "BTCUSD"]
        assert second["pagination"]["has_more"] is False

    def test_a_filter_that_does_not_exist_is_refused(self, browser: Client) -> None:
        assert get(browser, "instruments", asset_class="art").status_code == 422

    def test_one_says_its_steps_as_decimals(self, browser: Client, bitcoin: Instrument) -> None:
        answer = get(browser, f"instruments/{bitcoin.pk}").json()

        assert answer["tick_size"] == "0.0100000000"
        assert answer["calendar"] == "24/7"

    def test_bob_sees_the_same_as_alice(
        self,
        browser: Client,
        bob: Tenant,
        client_for: Callable[[Tenant], Client],
        three: None,
    ) -> None:
        his = get(client_for(bob), "instruments").json()

        assert his == get(browser, "instruments").json()

    @pytest.mark.parametrize("address", ["", "/{}", "/{}/bars", "/{}/quote"])
    def test_nobody_reads_without_a_key(self, database: None, address: str) -> None:
        answer = Client().get(f"/api/v1/instruments{address.format(uuid4())}")

        assert answer.status_code == 401

    @pytest.mark.parametrize("address", ["", "/bars", "/quote"])
    def test_an_unknown_one_is_not_found(self, browser: Client, address: str) -> None:
        assert get(browser, f"instruments/{uuid4()}{address}").status_code == 404


class TestQuote:
    def test_it_tells_both_times(self, browser: Client, listed: Instrument) -> None:
        answer = get(browser, f"instruments/{listed.pk}/quote").json()

        assert Decimal(answer["price"]) == Decimal("101.5")
        assert answer["at"] == "2024-01-01T01:40:05Z"
        assert datetime.fromisoformat(answer["received_at"]) > datetime(2025, 1, 1, tzinfo=UTC)

    def test_before_the_first_price_there_is_none(
        self, browser: Client, bitcoin: Instrument
    ) -> None:
        assert get(browser, f"instruments/{bitcoin.pk}/quote").status_code == 404


class TestBars:
    def bars(self, browser: Client, instrument: Instrument, **query: Any) -> Any:
        answer = get(browser, f"instruments/{instrument.pk}/bars", **query)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def test_the_newest_closed_ones_and_the_forming_one_by_name(
        self, browser: Client, listed: Instrument
    ) -> None:
        answer = self.bars(browser, listed, limit=3)

        bars = make_bars([97, 98, 99])
        assert answer["data"] == {
            "time": [minute(97), minute(98), minute(99)],
            **{
                name: getattr(bars, name).tolist()
                for name in ("open", "high", "low", "close", "volume")
            },
        }
        assert answer["forming"] == {
            "interval_s": 60,
            "time": minute(100),
            "open": 100.0,
            "high": 101.5,
            "low": 100.0,
            "price": 101.5,
            "volume": 0.0,
        }

    def test_rows_are_the_same_by_row(self, browser: Client, listed: Instrument) -> None:
        columns = self.bars(browser, listed, limit=3)["data"]
        rows = self.bars(browser, listed, limit=3, shape="rows")["data"]

        assert rows == [list(row) for row in zip(*columns.values(), strict=True)]

    @pytest.mark.parametrize(("interval", "count"), [("5m", 20), ("15m", 6), ("1h", 1), ("1d", 0)])
    def test_longer_ones_are_made_of_closed_ones(
        self, browser: Client, listed: Instrument, interval: str, count: int
    ) -> None:
        answer = self.bars(browser, listed, interval=interval)

        assert len(answer["data"]["time"]) == count
        assert answer["forming"]["interval_s"] == 60

    def test_pages_forward_join_without_gap_or_repeat(
        self, browser: Client, listed: Instrument
    ) -> None:
        query: dict[str, Any] = {"start": minute(3), "end": minute(95), "limit": 40}
        times: list[int] = []
        while True:
            page = self.bars(browser, listed, **query)
            times += page["data"]["time"]
            if not page["pagination"]["has_more"]:
                break
            query["start"] = page["pagination"]["next_cursor"]

        assert times == [minute(number) for number in range(3, 95)]
        assert page["pagination"]["next_cursor"] is None

    @pytest.mark.parametrize(("interval", "step", "count"), [("1m", 1, 100), ("5m", 5, 20)])
    def test_pages_back_join_without_gap_or_repeat(
        self, browser: Client, listed: Instrument, interval: str, step: int, count: int
    ) -> None:
        query: dict[str, Any] = {"limit": 7, "interval": interval}
        times: list[int] = []
        while True:
            page = self.bars(browser, listed, **query)
            times = page["data"]["time"] + times
            if not page["pagination"]["has_more"]:
                break
            query["end"] = page["pagination"]["next_cursor"]

        assert times == [minute(number * step) for number in range(count)]

    @pytest.mark.parametrize(
        "query",
        [
            {"interval": "7m"},
            {"limit": "0"},
            {"limit": "5001"},
            {"start": "yesterday"},
            {"start": "2024-01-01T00:00:00"},
            {"start": "99999999999999999999"},
            {"start": "2024-01-02T00:00:00Z", "end": "2024-01-01T00:00:00Z"},
            {"shape": "triangle"},
        ],
    )
    def test_a_question_without_sense_is_refused(
        self, browser: Client, listed: Instrument, query: dict[str, str]
    ) -> None:
        answer = get(browser, f"instruments/{listed.pk}/bars", **query)

        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")

    def test_an_instrument_without_bars_answers_with_none(
        self, browser: Client, bitcoin: Instrument
    ) -> None:
        answer = self.bars(browser, bitcoin)

        assert answer["data"]["time"] == []
        assert answer["forming"] is None
        assert answer["pagination"]["has_more"] is False
