import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from apps.core.errors import Invalid
from apps.marketdata import imports, store
from apps.marketdata.files import Plan
from apps.marketdata.imports import Report
from apps.marketdata.models import Instrument
from apps.marketdata.sessions import to_datetime
from tests.apps.marketdata.market import real_file

HOUR_S = 3600
DAY_S = 86_400
HEADER = "time,open,high,low,close,volume"


def load(path: Path, *, calendar: str = "24/7", rejects: Path | None = None, **plan: Any) -> Report:
    values: dict[str, Any] = {"interval_s": 60}
    return imports.import_bars(
        path,
        instrument=Instrument(calendar=calendar),
        plan=Plan(**(values | plan)),
        rejects=rejects,
    )


def stored(interval_s: int = 60) -> list[str]:
    """The open times of everything in the store."""
    (held,) = [each for each in store.contents() if each.interval_s == interval_s]
    bars = store.read(held.instrument_id, interval_s)
    return [to_datetime(int(time)).strftime("%Y-%m-%dT%H:%M") for time in bars.time]


class TestRealFiles:
    """What MANIFEST.md states of each file is what the report finds."""

    def adds_up(self, report: Report) -> bool:
        return report.rows == report.stored + report.repeated + len(report.rejected)

    def test_a_year_of_bitcoin_minutes(self) -> None:
        path = real_file("crypto_minute/BTCUSD_1m_2018_bitfinex.parquet")

        report = load(path)

        assert self.adds_up(report)
        assert (report.rows, report.stored) == (520_499, 520_499)
        assert (report.duplicates, report.unsorted, report.bad_ticks) == (0, 0, 0)
        assert (report.gaps, report.session_gaps) == (3_992, 3_992)
        # 99.03 % of the year's minutes.
        assert report.missing_bars == 365 * 1440 - 520_499
        assert (report.first, report.last) == ("2018-01-01T00:00:00Z", "2018-12-31T23:59:00Z")

    def test_euro_hours_have_weekends_which_are_no_gaps(self) -> None:
        path = real_file("fx_hourly/EURUSD_1h_oanda_bidask.csv.gz")

        report = load(path, calendar="FX", interval_s=HOUR_S)

        assert self.adds_up(report)
        assert (report.rows, report.stored, report.bad_ticks) == (74_439, 74_439, 0)
        assert report.gaps == 641
        assert report.session_gaps < 40
        assert report.columns["open"] == "open"

    def test_unit_test_gaps(self) -> None:
        report = load(real_file("crypto/UNITTEST_BTC_1m_freqtrade.csv.gz"))

        assert self.adds_up(report)
        assert (report.rows, report.gaps, report.bad_ticks) == (13_681, 538, 0)

    def test_stoxx_stamped_at_the_bars_end(self) -> None:
        path = real_file("index_minute/EUROSTOXX50_5m_2006-01.csv.gz")

        report = load(
            path, calendar="XETR", interval_s=300, timezone="Europe/Berlin", stamp="close"
        )

        assert self.adds_up(report)
        assert (report.rows, report.gaps, report.bad_ticks) == (2_142, 20, 0)
        # With the stamps moved to the open all bars lie in the session, 09:00 to 17:30 in Berlin.
        assert (report.session_gaps, report.outside_hours) == (0, 0)
        assert (report.first, report.last) == ("2006-01-02T08:00:00Z", "2006-01-30T16:25:00Z")

    @pytest.mark.parametrize(("symbol", "bad"), [("AAPL", 2), ("JPM", 4), ("CAT", 11)])
    def test_impossible_days_are_set_aside_and_shown(
        self, symbol: str, bad: int, tmp_path: Path
    ) -> None:
        path = real_file(f"us_daily_adj/{symbol}_1d_2006_2017.csv.gz")
        rejects = tmp_path / "rejects.csv"

        report = load(path, calendar="XNYS", interval_s=DAY_S, rejects=rejects)

        assert self.adds_up(report)
        assert report.bad_ticks == bad  # ohlc_bad and, where there is one, the row without prices.
        assert report.stored == report.rows - bad
        with gzip.open(path, "rt") as file:
            source = list(csv.DictReader(file))
        with rejects.open() as file:
            for rejected in csv.DictReader(file):
                row = source[int(rejected.pop("rejected_row")) - 1]
                assert rejected.pop("rejected_reason") in ("high_low", "not_a_price")
                assert rejected == row

    def test_the_same_file_again_stores_nothing_twice(self) -> None:
        path = real_file("crypto/UNITTEST_BTC_1m_freqtrade.csv.gz")
        instrument, plan = Instrument(), Plan(interval_s=60)
        imports.import_bars(path, instrument=instrument, plan=plan)

        again = imports.import_bars(path, instrument=instrument, plan=plan)

        assert (again.stored, again.repeated, again.rejected) == (0, 13_681, ())


class TestFindings:
    def test_every_row_is_accounted_for(self, tmp_path: Path) -> None:
        path = tmp_path / "bars.csv"
        rows = (
            "2024-01-01T00:00Z,10,12,9,11,1",
            "2024-01-01T00:03Z,10,12,9,11,1",  # A gap of two before it.
            "2024-01-01T00:02Z,10,12,9,11,1",  # Out of order.
            "2024-01-01T00:03Z,10,13,9,11,1",  # The same minute again: the later one counts.
            "2024-01-01T00:04Z,10,9,9,11,1",  # High below open.
            "2024-01-01T00:05Z,10,12,,11,1",  # No low.
            "2024-01-01T00:06Z,-1,12,-2,11,1",  # Below zero.
            "2024-01-01T00:07Z,10,12,9,11,-5",  # Negative volume.
            "yesterdayZ,10,12,9,11,1",
            "2024-01-01T00:08Z,ten,12,9,11,1",
        )
        path.write_text("\n".join([HEADER, *rows]))

        report = load(path, rejects=tmp_path / "rejects.csv")

        assert {(each.row, each.reason) for each in report.rejected} == {
            (2, "duplicate"),
            (5, "high_low"),
            (6, "not_a_price"),
            (7, "not_a_price"),
            (8, "bad_volume"),
            (9, "bad_time"),
            (10, "not_a_price"),
        }
        assert stored() == ["2024-01-01T00:00", "2024-01-01T00:02", "2024-01-01T00:03"]
        assert (report.rows, report.stored, report.unsorted, report.gaps) == (10, 3, 1, 1)
        assert report.examples["gaps"] == ["2024-01-01T00:01:00Z to 2024-01-01T00:02:00Z: 1 bar"]
        assert report.examples["bad_time"] == ["row 9: yesterdayZ, 10, 12, 9, 11, 1"]
        assert len((tmp_path / "rejects.csv").read_text().splitlines()) == 8

    def test_a_spike_is_shown_and_stored(self, tmp_path: Path) -> None:
        path = tmp_path / "bars.csv"
        prices = [100 + row % 3 for row in range(50)]
        prices[20] = 10_000
        minutes = pd.date_range("2024-01-01", periods=50, freq="min", tz="UTC")
        rows = (
            f"{at:%Y-%m-%dT%H:%M}Z,{p},{p},{p},{p},1" for at, p in zip(minutes, prices, strict=True)
        )
        path.write_text("\n".join([HEADER, *rows]))

        report = load(path)

        assert (report.stored, report.suspects) == (50, 1)
        assert report.examples["suspects"] == ["2024-01-01T00:20:00Z"]

    def test_what_contradicts_the_store_is_refused_or_replaces(self, tmp_path: Path) -> None:
        instrument, path = Instrument(), tmp_path / "bars.csv"
        path.write_text(f"{HEADER}\n2024-01-01T00:00Z,10,12,9,11,1\n2024-01-01T00:01Z,10,12,9,11,1")
        imports.import_bars(path, instrument=instrument, plan=Plan(interval_s=60))
        path.write_text(f"{HEADER}\n2024-01-01T00:00Z,10,12,9,11,1\n2024-01-01T00:01Z,10,12,9,12,1")

        refused = imports.import_bars(path, instrument=instrument, plan=Plan(interval_s=60))
        assert (refused.stored, refused.repeated, refused.conflicting) == (0, 1, 1)
        assert refused.rejected == (imports.Rejected(2, "conflicting"),)

        path.write_text(path.read_text() + "\n2024-01-01T00:01Z,10,12,9,12,1")
        twice = imports.import_bars(path, instrument=instrument, plan=Plan(interval_s=60))
        assert [each.reason for each in twice.rejected] == ["duplicate", "conflicting"]

        path.write_text(path.read_text().rsplit("\n", 1)[0])
        plan = Plan(interval_s=60, replace=True)
        replaced = imports.import_bars(path, instrument=instrument, plan=plan)
        assert (replaced.stored, replaced.repeated, replaced.conflicting) == (1, 1, 0)
        assert store.read(instrument.pk, 60).close.tolist() == [11, 12]


class TestStamps:
    def write(self, path: Path, stamps: list[str], header: str = HEADER) -> Path:
        path.write_text("\n".join([header, *(f"{stamp},10,12,9,11,1" for stamp in stamps)]))
        return path

    @pytest.mark.parametrize(
        ("stamps", "timezone", "opens"),
        [
            (["1704067200", "1704067260"], "America/New_York", "2024-01-01T00:00"),
            (["1704067200000"], "UTC", "2024-01-01T00:00"),
            (["1704067200000000"], "UTC", "2024-01-01T00:00"),
            (["1704067200000000000"], "UTC", "2024-01-01T00:00"),
            (["1704067200.0"], "UTC", "2024-01-01T00:00"),
            (["2024-01-01T00:00:00Z"], "America/New_York", "2024-01-01T00:00"),
            (["2024-01-01 01:00:00+01:00"], "America/New_York", "2024-01-01T00:00"),
            (["2024-01-01 00:00"], "UTC", "2024-01-01T00:00"),
            (["2024-01-01 00:00:00"], "America/New_York", "2024-01-01T05:00"),
            (["2024-07-01 00:00:00"], "America/New_York", "2024-07-01T04:00"),
            (["2024-07-01"], "America/New_York", "2024-07-01T04:00"),
        ],
    )
    def test_each_way_to_write_a_time(
        self, tmp_path: Path, stamps: list[str], timezone: str, opens: str
    ) -> None:
        load(self.write(tmp_path / "bars.csv", stamps), timezone=timezone)

        assert stored()[0] == opens

    def test_a_days_date_is_the_same_in_every_time_zone(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "bars.csv", ["2024-07-01", "2024-07-02"])

        load(path, timezone="America/New_York", interval_s=DAY_S)

        assert stored(DAY_S) == ["2024-07-01T00:00", "2024-07-02T00:00"]

    def test_an_hour_that_comes_twice_is_no_moment(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "bars.csv", ["2024-11-03 00:30", "2024-11-03 01:30"])

        report = load(path, timezone="America/New_York")

        assert report.rejected == (imports.Rejected(2, "bad_time"),)

    def test_stamps_of_two_kinds_are_refused(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "bars.csv", ["2024-11-03T00:30Z", "2024-11-03T01:30"])

        with pytest.raises(Invalid, match="some stamps say their time zone"):
            load(path)

        assert list(store.contents()) == []

    @pytest.mark.parametrize(
        ("header", "row"),
        [
            ("Date,Open,High,Low,Close,Adj Close,Volume", "2024-01-01,10,12,9,11,5,1"),
            ("ts;o;h;l;c;v", "1704067200;10;12;9;11;1"),
            (
                "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>",
                "2024.01.01\t00:00:00\t10\t12\t9\t11\t1",
            ),
            ("open_time,close,open,low,high,volume", "1704067200000,11,10,9,12,1"),
            ("timestamp,open,high,low,close", "2024-01-01T00:00:00Z,10,12,9,11"),
        ],
    )
    def test_the_columns_of_the_field_are_recognised(
        self, tmp_path: Path, header: str, row: str
    ) -> None:
        path = tmp_path / "bars.csv"
        path.write_text(f"{header}\n{row}\n")

        load(path)

        (held,) = store.contents()
        bar = store.read(held.instrument_id, 60)[0]
        assert stored() == ["2024-01-01T00:00"]
        assert bar[1:5] == (10, 12, 9, 11)

    def test_a_compressed_file_and_a_parquet_are_read_alike(self, tmp_path: Path) -> None:
        text = self.write(tmp_path / "bars.csv", ["2024-01-01T00:00Z"]).read_text()
        with gzip.open(tmp_path / "bars.csv.gz", "wt") as file:
            file.write(text)
        frame = pd.DataFrame(
            {
                "time": pd.date_range("2024-01-01", periods=1, tz="Europe/Berlin"),
                **{
                    name: [value]
                    for name, value in zip("ohlc", (10.0, 12.0, 9.0, 11.0), strict=True)
                },
            }
        )
        frame.to_parquet(tmp_path / "bars.parquet")

        assert load(tmp_path / "bars.csv.gz").first == "2024-01-01T00:00:00Z"
        assert load(tmp_path / "bars.parquet").first == "2023-12-31T23:00:00Z"


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "plan", "said"),
        [
            ("time,open,high,low\n1,2,3,4", {}, "no column is the close"),
            ("a,b\n1,2", {}, "no column is the time, the open"),
            ("time,open,Open,high,low,close\n1,2,3,4,5,6", {}, "two columns could be the open"),
            (f"{HEADER}\n2024-01-01,1,1,1,1,1", {"timezone": "Mars"}, "no time zone 'Mars'"),
            (f"{HEADER}\n2024-01-01,1,1,1,1,1", {"columns": {"time": "at"}}, "no column 'at'"),
            ("", {}, "cannot be read"),
        ],
    )
    def test_a_file_that_cannot_be_understood_stores_nothing(
        self, tmp_path: Path, text: str, plan: dict[str, Any], said: str
    ) -> None:
        path = tmp_path / "bars.csv"
        path.write_text(text)

        with pytest.raises(Invalid, match=said):
            load(path, **plan)

        assert list(store.contents()) == []

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(Invalid, match="there is no file"):
            load(tmp_path / "nothing.csv")

    def test_a_file_of_a_header_alone_is_an_empty_report(self, tmp_path: Path) -> None:
        path = tmp_path / "bars.csv"
        path.write_text(HEADER + "\n")

        report = load(path)

        assert (report.rows, report.stored, report.first) == (0, 0, "")

    def test_named_columns_go_before_recognised_ones(self, tmp_path: Path) -> None:
        path = tmp_path / "bars.csv"
        path.write_text("time,open,high,low,close,ask_close\n2024-01-01T00:00Z,10,12,9,11,11.5\n")

        load(path, columns={"close": "ask_close"})

        (held,) = store.contents()
        assert np.array_equal(store.read(held.instrument_id, 60).close, [11.5])
