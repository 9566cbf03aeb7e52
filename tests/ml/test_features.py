from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import indicators
from ml.bars import Bars
from ml.features import NAMES, latest, table
from ml.markets import Shape, random_walk

MARKET = random_walk(Shape(bars=400, session_bars=30, gap_volatility=0.01), seed=11)


class TestIndicators:
    def test_averages_worked_by_hand(self) -> None:
        # Seed (1 + 2 + 6) / 3 = 3; ema: ½·5 + ½·3 = 4; rma: ⅓·6 + ⅔·3 = 4.
        assert indicators.ema(np.array([1.0, 2.0, 6.0, 5.0]), 3) == pytest.approx(
            [np.nan, np.nan, 3.0, 4.0], nan_ok=True
        )
        assert indicators.rma(np.array([1.0, 2.0, 6.0, 6.0]), 3) == pytest.approx(
            [np.nan, np.nan, 3.0, 4.0], nan_ok=True
        )
        assert indicators.deviation(np.array([1.0, 2.0, 3.0]), 3)[2] == 1.0

    def test_rsi_without_losses_is_100_and_without_gains_0(self) -> None:
        rising = np.arange(1.0, 20.0)

        assert indicators.rsi(rising, 14)[-1] == 100.0
        assert indicators.rsi(rising[::-1].copy(), 14)[-1] == 0.0

    def test_too_few_bars_give_no_number(self) -> None:
        assert np.isnan(indicators.ema(np.ones(3), 4)).all()
        with pytest.raises(ValueError, match="length"):
            indicators.ema(np.ones(3), 0)

    @pytest.mark.parametrize(
        ("file", "column"),
        [
            ("mfi+rsi+stoch.csv", "ta.rsi(close, 14)"),
            ("tr.csv", "ta.atr(14)"),
            ("tr.csv", "ta.tr(true)"),
            ("ma.csv", "ta.ema(close, 20)"),
            ("ma.csv", "ta.rma(high, 15)"),
            ("ma.csv", "ta.sma(close, 10)"),
        ],
    )
    def test_it_equals_what_tradingview_plotted(
        self, real: Callable[[str], Path], file: str, column: str
    ) -> None:
        frame = pd.read_csv(real(f"tradingview/pynecore_ta/{file}"))
        high, low, close = (frame[name].to_numpy() for name in ("high", "low", "close"))
        expected = frame[column].to_numpy(np.float64)
        expected = np.where(expected > 1e99, np.nan, expected)
        series: dict[str, Callable[[], np.ndarray]] = {
            "ta.rsi(close, 14)": lambda: indicators.rsi(close, 14),
            "ta.atr(14)": lambda: indicators.atr(high, low, close, 14),
            "ta.tr(true)": lambda: indicators.true_range(high, low, close),
            "ta.ema(close, 20)": lambda: indicators.ema(close, 20),
            "ta.rma(high, 15)": lambda: indicators.rma(high, 15),
            "ta.sma(close, 10)": lambda: indicators.sma(close, 10),
        }
        computed = series[column]()

        assert np.isfinite(expected).sum() > 80
        np.testing.assert_allclose(computed, expected, rtol=1e-9, atol=1e-12)


class TestTable:
    def test_each_column_is_its_definition(self) -> None:
        features, t = table(MARKET), 200
        close = pd.Series(MARKET.close)
        returns = pd.Series(np.log(MARKET.close)).diff()
        last = slice(t - 19, t + 1)
        highest, lowest = MARKET.high[last].max(), MARKET.low[last].min()
        expected = {
            "return_1": close[t] / close[t - 1] - 1,
            "return_5": close[t] / close[t - 5] - 1,
            "return_20": close[t] / close[t - 20] - 1,
            "ema20_distance": close[t] / indicators.ema(MARKET.close, 20)[t] - 1,
            "ema50_distance": close[t] / indicators.ema(MARKET.close, 50)[t] - 1,
            "volatility_20": returns[last].std(),
            "range_position_20": (close[t] - lowest) / (highest - lowest),
            "volume_ratio_20": MARKET.volume[t] / MARKET.volume[last].mean(),
            "atr14_fraction": features.column("atr14")[t] / close[t],
        }

        for name, value in expected.items():
            assert features.column(name)[t] == pytest.approx(value), name
        assert features.values.shape == (400, len(NAMES))
        assert np.isfinite(features.values[49:]).all()

    @given(cut=st.integers(1, 399), seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=150, deadline=None)
    def test_no_row_changes_when_later_bars_arrive(self, cut: int, seed: int) -> None:
        # The future is not only cut off but also replaced by another one.
        full = table(MARKET).values[:cut]
        other = random_walk(Shape(bars=400, price=37.0), seed=seed)
        mixed = Bars(
            MARKET.time,
            *(
                np.concatenate([getattr(MARKET, name)[:cut], getattr(other, name)[cut:]])
                for name in ("open", "high", "low", "close", "volume")
            ),
        )

        np.testing.assert_array_equal(table(MARKET[:cut]).values, full)
        np.testing.assert_array_equal(table(mixed).values[:cut], full)

    def test_a_market_without_volume_or_movement_has_no_false_numbers(self) -> None:
        flat = np.full(60, 5.0)
        bars = Bars(np.arange(60), flat, flat, flat, flat, np.zeros(60))

        last = latest(bars)

        assert np.isnan(last["volume_ratio_20"])
        assert (last["range_position_20"], last["rsi14"], last["atr14"]) == (0.5, 100.0, 0.0)

    def test_an_unknown_name_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no feature named rsi; there are return_1"):
            table(MARKET[:3]).column("rsi")


class TestLatest:
    @pytest.mark.parametrize("count", [1, 2, 14, 15, 20, 21, 50, 51, 400])
    def test_it_is_the_last_row_of_the_table(self, count: int) -> None:
        values = latest(MARKET[:count])

        assert tuple(values) == NAMES
        np.testing.assert_array_equal(list(values.values()), table(MARKET).values[count - 1])

    def test_no_bars_are_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            latest(MARKET[:0])
