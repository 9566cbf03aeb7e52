from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.bars import HOUR_NS, MINUTE_NS
from ml.markets import Shape, random_walk
from ml.raw_bars import Gap, RawBars, Rejection, clean, findings

COLUMNS = ("time", "open", "high", "low", "close", "volume")


def raw_walk(count: int = 200, seed: int = 3) -> RawBars:
    bars = random_walk(Shape(bars=count, interval_ns=MINUTE_NS, start_ns=0), seed=seed)
    return RawBars(*(getattr(bars, name).copy() for name in COLUMNS))


def taken(raw: RawBars, rows: list[int] | np.ndarray) -> RawBars:
    return RawBars(*(getattr(raw, name)[rows] for name in COLUMNS))


class TestFindings:
    def test_good_rows_are_clean(self) -> None:
        found = findings(raw_walk())

        assert found.is_clean
        assert found.rows == 200

    @pytest.mark.parametrize(
        ("column", "value", "reason"),
        [
            ("open", np.nan, "not_a_price"),
            ("close", 0.0, "not_a_price"),
            ("low", -1.0, "not_a_price"),
            ("high", np.inf, "not_a_price"),
            ("high", 1.0, "high_low"),
            ("low", 1e6, "high_low"),
            ("volume", -1.0, "bad_volume"),
            ("volume", np.nan, "bad_volume"),
        ],
    )
    def test_a_bad_tick_is_rejected_and_leaves_a_gap(
        self, column: str, value: float, reason: str
    ) -> None:
        raw = raw_walk()
        getattr(raw, column)[7] = value

        found = findings(raw)

        assert [(each.row, each.reason) for each in found.rejected] == [(7, reason)]
        assert found.gaps == (Gap(7 * MINUTE_NS, 8 * MINUTE_NS, 1),)

    def test_a_spike_comes_back_and_a_crash_does_not(self) -> None:
        raw = raw_walk()
        for name in ("open", "high", "low", "close"):
            getattr(raw, name)[50] *= 3.0  # there and back
            getattr(raw, name)[100:] *= 0.5  # a split stays

        found = findings(raw)

        assert [(each.row, each.reason) for each in found.rejected] == [(50, "spike")]
        assert 0.0 < found.spike_limit < np.log(3.0)
        assert findings(raw, spike_deviations=np.inf).rejected == ()

    def test_gaps_are_counted_by_the_interval(self) -> None:
        raw = taken(raw_walk(20), [0, 1, 2, 5, 6, 10])

        assert findings(raw).gaps == (
            Gap(3 * MINUTE_NS, 5 * MINUTE_NS, 2),
            Gap(7 * MINUTE_NS, 10 * MINUTE_NS, 3),
        )

    def test_a_calendar_makes_nights_no_gaps_and_knows_unexpected_rows(self) -> None:
        raw = taken(raw_walk(40), [0, 1, 2, 20, 22, 30])
        expected = np.array([0, 1, 2, 3, 20, 21, 22, 23, 24]) * MINUTE_NS

        found = findings(raw, expected=expected)

        assert [(gap.start // MINUTE_NS, gap.bars) for gap in found.gaps] == [
            (3, 1),
            (21, 1),
            (23, 2),
        ]
        assert found.unexpected == (5,)

    def test_nonsense_is_refused(self) -> None:
        raw = raw_walk(5)

        with pytest.raises(ValueError, match="must be positive"):
            findings(raw, spike_deviations=0.0)
        with pytest.raises(ValueError, match="must be positive"):
            findings(raw, interval_ns=0)
        with pytest.raises(ValueError, match="must increase"):
            findings(raw, expected=np.array([1, 1]))
        with pytest.raises(ValueError, match=r"close must be \(5,\), was \(4,\)"):
            RawBars(raw.time, raw.open, raw.high, raw.low, raw.close[1:], raw.volume)


class TestClean:
    def test_of_a_repeated_bar_the_last_is_kept_and_the_first_reported(self) -> None:
        raw = taken(raw_walk(5), [0, 1, 1, 2])
        raw.volume[1], raw.volume[2] = 5.0, 6.0

        cleaned = clean(raw)

        assert cleaned.findings.rejected == (Rejection(1, MINUTE_NS, "duplicate"),)
        assert cleaned.bars.volume[1] == 6.0

    def test_a_bad_repetition_does_not_displace_a_good_bar(self) -> None:
        raw = taken(raw_walk(5), [0, 1, 1, 2])
        raw.close[2] = np.nan

        cleaned = clean(raw)

        assert cleaned.findings.rejected == (Rejection(2, MINUTE_NS, "not_a_price"),)
        assert len(cleaned.bars) == 3

    def test_unsorted_rows_are_moved_and_reported(self) -> None:
        raw = taken(raw_walk(6), [0, 3, 1, 2, 4, 5])

        cleaned = clean(raw)

        assert cleaned.findings.unsorted == (2, 3)
        assert cleaned.findings.rejected == ()
        np.testing.assert_array_equal(cleaned.bars.time, np.arange(6) * MINUTE_NS)

    @given(seed=st.integers(0, 2**32 - 1), rows=st.integers(0, 60))
    @settings(max_examples=200, deadline=None)
    def test_every_row_is_kept_or_reported_once(self, seed: int, rows: int) -> None:
        chance = np.random.default_rng(seed)
        raw = taken(raw_walk(60), chance.integers(0, 60, rows))
        for name in ("open", "high", "low", "close", "volume"):
            struck = chance.random(rows) < 0.1
            getattr(raw, name)[struck] = chance.choice([np.nan, 0.0, -1.0, 1e9], struck.sum())

        cleaned = clean(raw)

        rejected = [each.row for each in cleaned.findings.rejected]
        assert len(cleaned.bars) + len(rejected) == rows
        assert len(set(rejected)) == len(rejected)
        assert not clean(
            RawBars(*(getattr(cleaned.bars, name) for name in COLUMNS)), spike_deviations=np.inf
        ).findings.rejected

    def test_a_year_of_real_minutes_keeps_every_row(self, real: Callable[[str], Path]) -> None:
        frame = pd.read_parquet(real("ohlcv/crypto_minute/BTCUSD_1m_2018_bitfinex.parquet"))
        stamps = frame["ts"].to_numpy(np.int64) * 1_000_000_000
        raw = RawBars(stamps, *(frame[name].to_numpy() for name in COLUMNS[1:]))

        cleaned = clean(raw)

        # The manifest of this file: 520,499 rows, 3,992 gaps, nothing bad.
        assert len(cleaned.bars) == 520_499
        assert len(cleaned.findings.gaps) == 3_992
        assert cleaned.findings.rejected == ()

    def test_real_daily_rows_with_faults_are_named(self, real: Callable[[str], Path]) -> None:
        frame = pd.read_csv(real("ohlcv/us_daily_adj/JPM_1d_2006_2017.csv.gz"))
        stamps = pd.to_datetime(frame["time"]).to_numpy("datetime64[ns]").astype(np.int64)
        raw = RawBars(stamps, *(frame[name].to_numpy() for name in COLUMNS[1:]))

        cleaned = clean(raw)

        # The manifest: one row without prices, three whose range does not hold the body.
        reasons = sorted(each.reason for each in cleaned.findings.rejected)
        assert reasons == ["high_low"] * 3 + ["not_a_price"]

    def test_real_hours_have_weekends_as_gaps(self, real: Callable[[str], Path]) -> None:
        frame = pd.read_csv(real("ohlcv/backtestingpy/EURUSD_1h_2017_2018.csv.gz"))
        stamps = (
            pd.to_datetime(frame["time"], utc=True).dt.tz_convert(None).to_numpy("datetime64[ns]")
        ).astype(np.int64)
        raw = RawBars(stamps, *(frame[name].to_numpy() for name in COLUMNS[1:]))

        found = findings(raw)

        assert clean(raw).bars.interval_ns == HOUR_NS
        assert (len(found.gaps), found.rejected) == (42, ())
