from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from apps.core.errors import Invalid
from apps.core.tenancy import acting_across
from apps.marketdata import feed, replay, selectors, services, store
from apps.marketdata.feed import Kind, Message
from apps.marketdata.models import Bar, Instrument
from apps.marketdata.sessions import to_datetime
from ml.bars import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, Bars
from tests.apps.marketdata.market import MONDAY, make_bars, make_instrument, real_file, same


class TestFindInstrument:
    @pytest.fixture
    def listed(self, database: None) -> None:
        with acting_across("test"):
            make_instrument("BTCUSDT", "BINANCE")
            make_instrument("BTCUSDT.P", "BINANCE")
            make_instrument("ETHUSDT.P", "BYBIT")
            make_instrument("BTCUSD", "BITFINEX")
            make_instrument("BTCUSD", "COINBASE")
            make_instrument("EURUSD", "OANDA", asset_class="forex")
            make_instrument("AAPL", "NASDAQ", asset_class="stock")
            make_instrument("BRK.B", "NYSE", asset_class="stock")
            make_instrument("ES1!", "CME_MINI", asset_class="future")
            make_instrument("OLDUSD", "BITFINEX", is_active=False)

    @pytest.mark.parametrize(
        ("ticker", "exchange", "meant"),
        [
            ("BTCUSDT", "BINANCE", "BINANCE:BTCUSDT"),
            ("btcusdt", "binance", "BINANCE:BTCUSDT"),
            ("BINANCE:BTCUSDT", None, "BINANCE:BTCUSDT"),
            ("BINANCE:BTCUSDT", "BINANCE", "BINANCE:BTCUSDT"),
            ("BTC-USDT", None, "BINANCE:BTCUSDT"),
            ("BTC/USDT", "", "BINANCE:BTCUSDT"),
            ("BTC_USDT", None, "BINANCE:BTCUSDT"),
            (" btc usdt ", None, "BINANCE:BTCUSDT"),
            ("BTCUSDT.P", "BINANCE", "BINANCE:BTCUSDT.P"),
            ("BINANCE:BTCUSDT.P", None, "BINANCE:BTCUSDT.P"),
            ("BTC/USDT:USDT", "BINANCE", "BINANCE:BTCUSDT.P"),
            ("EUR/USD", None, "OANDA:EURUSD"),
            ("OANDA:EUR_USD", None, "OANDA:EURUSD"),
            ("ES1!", "CME_MINI_DL", "CME_MINI:ES1!"),
            ("CME_MINI_DLY:ES1!", None, "CME_MINI:ES1!"),
            ("AAPL", "BATS", "NASDAQ:AAPL"),
            ("AAPL", "NASDAQ_DLY", "NASDAQ:AAPL"),
            ("BRK.B", None, "NYSE:BRK.B"),
            ("BTCUSD", "COINBASE", "COINBASE:BTCUSD"),
        ],
    )
    def test_the_spellings_of_the_field_are_one(
        self, listed: None, ticker: str, exchange: str | None, meant: str
    ) -> None:
        assert str(selectors.find_instrument(ticker, exchange)) == meant

    @pytest.mark.parametrize(
        ("ticker", "exchange"),
        [
            ("BTCUSD", None),  # Listed twice.
            ("BTCUSD", "KRAKEN"),  # Another market, with other prices.
            ("ETHUSDT", "BYBIT"),  # Only the perpetual is listed.
            ("EURUSD.P", None),  # Only the spot market is.
            ("AAPL", "MIL"),  # Another stock market, in another currency.
            ("BTCUSDT", "NASDAQ"),
            ("BINANCE:BTCUSDT", "BYBIT"),  # Names two exchanges.
            ("OLDUSD", "BITFINEX"),  # No longer traded.
            ("", None),
            ("BTC", None),
            (":", None),
        ],
    )
    def test_what_is_not_certain_is_not_found(
        self, listed: None, ticker: str, exchange: str | None
    ) -> None:
        assert selectors.find_instrument(ticker, exchange) is None

    def test_a_batch_is_one_query(
        self, listed: None, django_assert_num_queries: Callable[..., object]
    ) -> None:
        pairs = [("BTC-USDT", None), ("BTCUSDT.P", "BINANCE"), ("NOSUCH", None)]

        with django_assert_num_queries(1):  # type: ignore[attr-defined]
            found = selectors.instruments_by_ticker(pairs)

        assert [str(found[pair]) for pair in pairs] == [
            "BINANCE:BTCUSDT",
            "BINANCE:BTCUSDT.P",
            "None",
        ]


def put(instrument: Instrument, bars: Bars, interval_s: int = 60) -> None:
    store.merge(instrument_id=instrument.pk, interval_s=interval_s, bars=bars)


def keep_hot(instrument: Instrument, bars: Bars) -> None:
    """Write closed bars into the hot tail."""
    with acting_across("test"):
        Bar.objects.bulk_create(
            Bar(
                instrument=instrument,
                interval_s=60,
                opened_at=to_datetime(bar.time),
                **{name: Decimal(str(getattr(bar, name))) for name in store.COLUMNS[1:]},
            )
            for bar in (bars[row] for row in range(len(bars)))
        )


class TestClosedBars:
    def test_store_and_tail_are_one_history(self, bitcoin: Instrument) -> None:
        put(bitcoin, make_bars(range(10)))
        keep_hot(bitcoin, make_bars(range(10, 15)))

        assert same(selectors.bars_between(bitcoin.pk, 60), make_bars(range(15)))
        assert same(selectors.latest_bars(bitcoin.pk, 60, 7), make_bars(range(8, 15)))
        assert same(selectors.latest_bars(bitcoin.pk, 60, 99), make_bars(range(15)))

    def test_a_bar_in_both_is_one_bar(self, bitcoin: Instrument) -> None:
        put(bitcoin, make_bars(range(10)))
        keep_hot(bitcoin, make_bars(range(6, 12)))

        assert same(selectors.bars_between(bitcoin.pk, 60), make_bars(range(12)))
        assert same(selectors.latest_bars(bitcoin.pk, 60, 5), make_bars(range(7, 12)))

    def test_history_stored_around_the_tail_leaves_the_tail_in_its_place(
        self, bitcoin: Instrument
    ) -> None:
        put(bitcoin, make_bars([1, 2, 8, 9]))
        keep_hot(bitcoin, make_bars([4, 5]))

        assert same(selectors.bars_between(bitcoin.pk, 60), make_bars([1, 2, 4, 5, 8, 9]))
        assert same(selectors.latest_bars(bitcoin.pk, 60, 3), make_bars([5, 8, 9]))

    def test_a_range_holds_its_start_and_not_its_end(self, bitcoin: Instrument) -> None:
        put(bitcoin, make_bars(range(5)))
        keep_hot(bitcoin, make_bars(range(5, 10)))
        start, end = (to_datetime(MONDAY + minute * MINUTE_NS) for minute in (3, 7))

        assert same(selectors.bars_between(bitcoin.pk, 60, start, end), make_bars([3, 4, 5, 6]))

    def test_an_instrument_without_bars_has_none(self, bitcoin: Instrument) -> None:
        assert len(selectors.latest_bars(bitcoin.pk, 60, 5)) == 0
        assert len(selectors.bars_between(bitcoin.pk, 3600)) == 0

    def test_compaction_between_the_two_reads_hides_nothing(
        self, bitcoin: Instrument, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keep_hot(bitcoin, make_bars(range(20)))
        real = {selectors: selectors.hot_bars, store: store.read}

        def compacted_after(read: Any) -> Any:
            def first_read(*args: Any, **options: Any) -> Bars:
                monkeypatch.setattr(selectors, "hot_bars", real[selectors])
                monkeypatch.setattr(store, "read", real[store])
                found: Bars = read(*args, **options)
                services.compact(keep=timedelta(0))
                return found

            return first_read

        monkeypatch.setattr(selectors, "hot_bars", compacted_after(selectors.hot_bars))
        monkeypatch.setattr(store, "read", compacted_after(store.read))

        assert same(selectors.latest_bars(bitcoin.pk, 60, 20), make_bars(range(20)))
        assert Bar.objects.count() == 1

    def test_an_interval_that_cannot_be_made_is_refused(self, bitcoin: Instrument) -> None:
        put(bitcoin, make_bars(range(3), step=5 * MINUTE_NS), interval_s=300)

        for asked in (60, 450):
            with pytest.raises(Invalid, match="300 s"):
                selectors.latest_bars(bitcoin.pk, asked, 5)


class TestResampled:
    def test_real_minutes_make_the_days_that_pandas_makes(self, bitcoin: Instrument) -> None:
        table = pd.read_parquet(real_file("crypto_minute/BTCUSD_1m_2018_bitfinex.parquet"))
        names = ("open", "high", "low", "close", "volume")
        columns = [table[name].to_numpy(np.float64) for name in names]
        put(bitcoin, Bars(table["ts"].to_numpy(np.int64) * SECOND_NS, *columns))
        table.index = pd.to_datetime(table["ts"], unit="s", utc=True)
        rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}

        for rule, interval_s in (("5min", 300), ("1h", 3600), ("1D", 86_400)):
            wanted = table.resample(rule).agg(rules).dropna(subset=["open"])
            found = selectors.bars_between(bitcoin.pk, interval_s)
            times = pd.DatetimeIndex(wanted.index).as_unit("ns").asi8
            np.testing.assert_array_equal(found.time, times)
            for name in names[:4]:
                np.testing.assert_array_equal(getattr(found, name), wanted[name].to_numpy())
            np.testing.assert_allclose(found.volume, wanted["volume"].to_numpy(), rtol=1e-12)
            assert same(selectors.latest_bars(bitcoin.pk, interval_s, 40), found[len(found) - 40 :])

    def test_store_and_tail_join_inside_a_longer_bar(self, bitcoin: Instrument) -> None:
        put(bitcoin, make_bars(range(7)))
        keep_hot(bitcoin, make_bars(range(7, 10)))

        found = selectors.bars_between(bitcoin.pk, 300)

        assert found.time.tolist() == [MONDAY, MONDAY + 5 * MINUTE_NS]
        assert found.volume[1] == make_bars(range(5, 10)).volume.sum()

    def test_a_longer_bar_that_is_still_forming_is_not_returned(self, bitcoin: Instrument) -> None:
        keep_hot(bitcoin, make_bars(range(9)))

        assert len(selectors.bars_between(bitcoin.pk, 300)) == 1
        keep_hot(bitcoin, make_bars([9]))
        assert len(selectors.bars_between(bitcoin.pk, 300)) == 2

    def test_a_quiet_last_minute_does_not_hold_the_bar_back(self, bitcoin: Instrument) -> None:
        keep_hot(bitcoin, make_bars(range(9)))
        opened_at = to_datetime(MONDAY + 10 * MINUTE_NS)

        with acting_across("test"):
            feed.write([Message(Kind.OPEN, bitcoin.pk, opened_at, Decimal(100), opened_at)])

        assert len(selectors.bars_between(bitcoin.pk, 300)) == 2
        assert len(selectors.latest_bars(bitcoin.pk, 300, 5)) == 2

    def test_a_stocks_day_is_closed_when_its_session_is(self, ops: None) -> None:
        stock = make_instrument("AAPL", "NASDAQ", asset_class="stock", calendar="XNYS")
        opens = int(datetime(2024, 7, 2, 13, 30, tzinfo=UTC).timestamp()) * SECOND_NS
        put(stock, make_bars(range(389), start=opens))

        assert len(selectors.bars_between(stock.pk, 86_400)) == 0
        put(stock, make_bars([389], start=opens))
        assert selectors.bars_between(stock.pk, 86_400).time.tolist() == [opens // DAY_NS * DAY_NS]

    def test_kept_hours_go_on_with_hours_made_of_minutes(self, bitcoin: Instrument) -> None:
        put(bitcoin, make_bars(range(3), step=HOUR_NS), interval_s=3600)
        put(bitcoin, make_bars(range(60), start=MONDAY + 3 * HOUR_NS))

        found = selectors.bars_between(bitcoin.pk, 3600)

        assert found.time.tolist() == [MONDAY + hour * HOUR_NS for hour in range(4)]
        assert same(found[:3], make_bars(range(3), step=HOUR_NS))


class TestForming:
    def test_no_closed_bar_read_ever_returns_the_forming_bar(self, bitcoin: Instrument) -> None:
        bars = make_bars(range(12))

        def look(message: Message) -> None:
            closed_until = MONDAY if message.kind is not Kind.CLOSE else MONDAY + MINUTE_NS
            closed_until += int(message.opened_at.timestamp()) * SECOND_NS - MONDAY
            for interval_s in (60, 300):
                for found in (
                    selectors.latest_bars(bitcoin.pk, interval_s, 50),
                    selectors.bars_between(bitcoin.pk, interval_s),
                ):
                    closed = (closed_until - MONDAY) // (interval_s * SECOND_NS)
                    assert len(found) == closed
                    assert (found.time + interval_s * SECOND_NS <= closed_until).all()

        replay.play(bitcoin, bars, interval_s=60, after=look)

        assert same(selectors.bars_between(bitcoin.pk, 60), bars)


def test_quotes_are_of_those_that_have_one(bitcoin: Instrument, ops: None) -> None:
    euro = make_instrument("EURUSD")
    feed.open_bar(bitcoin, to_datetime(MONDAY), Decimal(100))

    assert list(selectors.quotes([bitcoin.pk, euro.pk])) == [bitcoin.pk]
    assert selectors.quote(euro.pk) is None
    quote = selectors.quote(bitcoin.pk)
    assert quote is not None
    assert quote.price == 100
