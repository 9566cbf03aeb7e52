import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.bars import DAY_NS, HOUR_NS, MINUTE_NS, Bar, Bars, resample
from ml.markets import Shape, random_walk

COLUMNS = ("open", "high", "low", "close", "volume")


def some_bars(count: int = 5, interval_ns: int = MINUTE_NS) -> Bars:
    return random_walk(Shape(bars=count, interval_ns=interval_ns), seed=1)


def changed(bars: Bars, column: str, row: int, value: float) -> dict[str, np.ndarray]:
    columns = {name: getattr(bars, name).copy() for name in ("time", *COLUMNS)}
    columns[column][row] = value
    return columns


def oracle(bars: Bars, rule: str, **options: Any) -> Any:
    frame = pd.DataFrame(
        {name: getattr(bars, name) for name in COLUMNS},
        index=pd.to_datetime(bars.time, unit="ns", utc=True),
    )
    grouped = frame.resample(rule, label="left", closed="left", **options)
    joined = grouped.agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )
    return joined[joined["open"].notna()]


def assert_equal(bars: Bars, frame: Any) -> None:
    np.testing.assert_array_equal(bars.time, frame.index.as_unit("ns").asi8)
    for name in COLUMNS[:-1]:
        np.testing.assert_array_equal(getattr(bars, name), frame[name].to_numpy(), err_msg=name)
    # pandas sums with compensation, so the last digits may differ.
    np.testing.assert_allclose(bars.volume, frame["volume"].to_numpy(), rtol=1e-12)


class TestBars:
    @pytest.mark.parametrize(
        ("column", "row", "value", "message"),
        [
            ("time", 2, 0, "row 2: time is not later"),
            ("open", 1, np.nan, "row 1: open is not a positive price"),
            ("close", 3, 0.0, "row 3: close is not a positive price"),
            ("high", 4, np.inf, "row 4: high is not a positive price"),
            ("high", 2, 1.0, "row 2: high is below the body"),
            ("low", 1, 1e9, "row 1: low is above the body"),
            ("volume", 0, -1.0, "row 0: volume is negative"),
            ("volume", 0, np.nan, "row 0: volume is negative or not a number"),
        ],
    )
    def test_the_first_bad_row_is_named(
        self, column: str, row: int, value: float, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            Bars(**changed(some_bars(), column, row, value))

    def test_a_repeated_time_is_refused(self) -> None:
        bars = some_bars()

        with pytest.raises(ValueError, match="row 3: time is not later"):
            Bars(**changed(bars, "time", 3, bars.time[2]))

    def test_shape_and_dtype_are_checked(self) -> None:
        bars = some_bars()
        columns = {name: getattr(bars, name) for name in ("time", *COLUMNS)}

        with pytest.raises(ValueError, match="close must be float64, was int64"):
            Bars(**(columns | {"close": bars.time}))
        with pytest.raises(ValueError, match="close must be 1-D, was 2-D"):
            Bars(**(columns | {"close": bars.close[:, None]}))
        with pytest.raises(ValueError, match="close has 4 rows, time has 5"):
            Bars(**(columns | {"close": bars.close[1:]}))

    def test_columns_cannot_be_written(self) -> None:
        bars = some_bars()

        with pytest.raises(ValueError, match="read-only"):
            bars.close[0] = 1.0

    def test_a_row_is_a_bar_and_a_slice_is_bars(self) -> None:
        bars = some_bars()

        assert bars[-1] == Bar(
            int(bars.time[4]),
            bars.open[4],
            bars.high[4],
            bars.low[4],
            bars.close[4],
            bars.volume[4],
        )
        np.testing.assert_array_equal(bars[1:3].close, bars.close[1:3])
        assert (len(bars), len(bars[1:3]), len(bars[:0])) == (5, 2, 0)
        with pytest.raises(ValueError, match="not skipped"):
            bars[::2]

    @pytest.mark.parametrize(
        ("minutes", "expected"),
        [([0, 1, 2, 60, 61], 1), ([0, 5, 10, 11, 16], 5), ([0, 3, 4, 8, 9, 14], 1)],
    )
    def test_the_interval_is_the_commonest_step(self, minutes: list[int], expected: int) -> None:
        time_ = np.array(minutes) * MINUTE_NS
        flat = np.ones(time_.size)

        assert Bars(time_, flat, flat, flat, flat, flat).interval_ns == expected * MINUTE_NS

    def test_one_bar_has_no_interval(self) -> None:
        with pytest.raises(ValueError, match="two bars"):
            _ = some_bars(1).interval_ns


class TestResample:
    @pytest.mark.parametrize(
        ("interval", "rule"),
        [
            (5 * MINUTE_NS, "5min"),
            (15 * MINUTE_NS, "15min"),
            (HOUR_NS, "1h"),
            (4 * HOUR_NS, "4h"),
            (DAY_NS, "1D"),
        ],
    )
    @given(
        seed=st.integers(0, 2**32 - 1),
        count=st.integers(1, 900),
        first=st.integers(0, 3000),
        kept=st.sampled_from([1.0, 0.9, 0.3]),
    )
    @settings(max_examples=60, deadline=None)
    def test_it_equals_pandas_with_and_without_holes(
        self, interval: int, rule: str, seed: int, count: int, first: int, kept: float
    ) -> None:
        bars = random_walk(
            Shape(bars=count, interval_ns=MINUTE_NS, start_ns=first * MINUTE_NS, moves=2), seed=seed
        )
        rows = np.random.default_rng(seed).random(count) < kept
        rows[:1] = True
        bars = Bars(bars.time[rows], *(getattr(bars, name)[rows] for name in COLUMNS))
        if len(bars) > 1 and bars.interval_ns != MINUTE_NS:
            return

        assert_equal(resample(bars, interval, closed_only=False), oracle(bars, rule))

    def test_a_year_of_real_minutes_equals_pandas(self, real: Callable[[str], Path]) -> None:
        frame = pd.read_parquet(real("ohlcv/crypto_minute/BTCUSD_1m_2018_bitfinex.parquet"))
        bars = Bars(
            frame["ts"].to_numpy(np.int64) * 1_000_000_000,
            *(frame[name].to_numpy(np.float64) for name in COLUMNS),
        )

        for interval, rule in ((HOUR_NS, "1h"), (4 * HOUR_NS, "4h"), (DAY_NS, "1D")):
            assert_equal(resample(bars, interval), oracle(bars, rule))

    def test_weeks_begin_where_the_anchor_says(self) -> None:
        bars = some_bars(24 * 40, HOUR_NS)

        weeks = resample(bars, 7 * DAY_NS, anchor_ns=4 * DAY_NS, closed_only=False)

        assert_equal(weeks, oracle(bars, "168h", origin="1970-01-05T00:00Z"))

    def test_a_bucket_that_has_not_ended_is_left_out(self) -> None:
        bars = some_bars(125)

        assert len(resample(bars, HOUR_NS)) == 2
        assert len(resample(bars, HOUR_NS, closed_only=False)) == 3
        assert len(resample(bars[:120], HOUR_NS)) == 2
        assert len(resample(bars[:119], HOUR_NS)) == 1

    def test_until_says_that_the_missing_minutes_are_over(self) -> None:
        bars = some_bars(119)
        two_hours = int(bars.time[0]) + 2 * HOUR_NS

        assert len(resample(bars, HOUR_NS, until=two_hours - 1)) == 1
        assert len(resample(bars, HOUR_NS, until=two_hours)) == 2

    def test_sessions_make_days_of_their_own_length(self) -> None:
        # Three sessions of 7, 3 and 7 hours, as around a half holiday.
        starts = np.array([9, 33, 57, 81]) * HOUR_NS
        opens = np.concatenate(
            [
                starts[0] + np.arange(7) * HOUR_NS,
                starts[1] + np.arange(3) * HOUR_NS,
                starts[2] + np.arange(7) * HOUR_NS,
            ]
        )
        price = np.arange(1.0, 18.0)
        bars = Bars(opens, price, price, price, price, np.ones(17))

        days = resample(bars, None, boundaries=starts, until=int(starts[-1]))
        halves = resample(bars, 4 * HOUR_NS, boundaries=starts, until=int(starts[-1]))

        np.testing.assert_array_equal(days.time, starts[:3])
        np.testing.assert_array_equal(days.volume, [7.0, 3.0, 7.0])
        np.testing.assert_array_equal(halves.volume, [4.0, 3.0, 3.0, 4.0, 3.0])
        np.testing.assert_array_equal(
            halves.time,
            [starts[0], starts[0] + 4 * HOUR_NS, starts[1], starts[2], starts[2] + 4 * HOUR_NS],
        )

    def test_what_cannot_be_joined_is_refused(self) -> None:
        bars = some_bars(10, HOUR_NS)

        with pytest.raises(ValueError, match="no multiple"):
            resample(bars, 90 * MINUTE_NS)
        with pytest.raises(ValueError, match="no multiple"):
            resample(bars, MINUTE_NS)
        with pytest.raises(ValueError, match="positive"):
            resample(bars, 0)
        with pytest.raises(ValueError, match="need boundaries"):
            resample(bars, None)
        with pytest.raises(ValueError, match="increasing"):
            resample(bars, None, boundaries=np.array([5, 5]))
        with pytest.raises(ValueError, match="row 3: outside all sessions"):
            resample(bars, None, boundaries=np.array([0, int(bars.time[3])]))

    @given(cut=st.integers(1, 500))
    @settings(max_examples=50, deadline=None)
    def test_closed_bars_never_change_when_later_ones_arrive(self, cut: int) -> None:
        bars = some_bars(500)

        early, late = resample(bars[:cut], 15 * MINUTE_NS), resample(bars, 15 * MINUTE_NS)

        for name in ("time", *COLUMNS):
            np.testing.assert_array_equal(getattr(early, name), getattr(late, name)[: len(early)])

    @pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="measures compiled code")
    def test_five_years_of_minutes_take_less_than_50_ms(self) -> None:
        count = 2_628_000
        price = np.linspace(100.0, 200.0, count)
        bars = Bars(np.arange(count) * MINUTE_NS, price, price, price, price, price)
        resample(bars[:100], HOUR_NS)

        took = []
        for _ in range(5):
            bars.__dict__.pop("interval_ns", None)
            begun = time.perf_counter()
            resample(bars, HOUR_NS)
            took.append(time.perf_counter() - begun)

        assert min(took) < 0.05
