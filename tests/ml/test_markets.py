import numpy as np
import pytest

from ml.bars import HOUR_NS, Bars
from ml.markets import Regime, Shape, planted_signal, random_walk, switching_regimes

COLUMNS = ("time", "open", "high", "low", "close", "volume")


def log_returns(bars: Bars) -> np.ndarray:
    return np.asarray(np.log(bars.close / bars.open))


class TestRandomWalk:
    def test_a_seed_is_a_market(self) -> None:
        shape = Shape(bars=300)
        one, same, other = (random_walk(shape, seed=seed) for seed in (1, 1, 2))

        for name in COLUMNS:
            np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
        assert (one.close != other.close).any()

    def test_drift_and_volatility_are_those_asked_for(self) -> None:
        bars = random_walk(Shape(bars=40_000, tick=0.0), seed=5, drift=0.0002, volatility=0.01)
        returns = log_returns(bars)

        # Standard errors: 0.01/√40000 = 0.00005 and 0.01/√80000 = 0.000035.
        assert returns.mean() == pytest.approx(0.0002, abs=0.0002)
        assert returns.std() == pytest.approx(0.01, abs=0.00015)

    def test_bars_open_where_the_last_closed_and_lie_on_the_grid(self) -> None:
        bars = random_walk(Shape(bars=500, tick=0.25), seed=5)

        np.testing.assert_array_equal(bars.open[1:], bars.close[:-1])
        for name in ("open", "high", "low", "close"):
            np.testing.assert_array_equal(getattr(bars, name) % 0.25, 0.0)
        assert (bars.high > np.maximum(bars.open, bars.close)).mean() > 0.3

    def test_a_closed_market_jumps_in_time_and_price(self) -> None:
        shape = Shape(bars=70, session_bars=7, closed_ns=17 * HOUR_NS, gap_volatility=0.02)
        bars = random_walk(shape, seed=5)
        gapped = np.flatnonzero(bars.open[1:] != bars.close[:-1]) + 1

        np.testing.assert_array_equal(gapped, np.arange(7, 70, 7))
        np.testing.assert_array_equal(np.diff(bars.time)[gapped - 1], 18 * HOUR_NS)


class TestPlantedSignal:
    def test_holding_the_signal_earns_the_edge(self) -> None:
        planted = planted_signal(
            Shape(bars=40_000, tick=0.0), seed=9, edge=0.0005, volatility=0.005
        )
        earned = planted.signal[:-1] * log_returns(planted.bars)[1:]

        # Standard error 0.005/√40000 = 0.000025.
        assert earned.mean() == pytest.approx(0.0005, abs=0.0001)

    def test_the_signal_is_the_sign_of_the_lookback(self) -> None:
        planted = planted_signal(Shape(bars=500, tick=0.0), seed=9, edge=-0.001, lookback=5)
        close = planted.bars.close

        assert (planted.signal[:5] == 0.0).all()
        np.testing.assert_array_equal(planted.signal[5:], -np.sign(close[5:] - close[:-5]))

    def test_without_an_edge_there_is_nothing_to_earn(self) -> None:
        planted = planted_signal(Shape(bars=100), seed=9, edge=0.0)

        assert (planted.signal == 0.0).all()


class TestSwitchingRegimes:
    REGIMES = (Regime(0.001, 0.002), Regime(-0.001, 0.01))

    def test_each_regime_moves_as_it_says(self) -> None:
        market = switching_regimes(
            Shape(bars=40_000, tick=0.0), seed=4, regimes=self.REGIMES, stay=0.98
        )
        returns = log_returns(market.bars)

        for number, regime in enumerate(self.REGIMES):
            inside = returns[market.regime == number]
            assert inside.mean() == pytest.approx(regime.drift, abs=0.0004)
            assert inside.std() == pytest.approx(regime.volatility, rel=0.03)

    def test_it_stays_as_long_as_it_says(self) -> None:
        market = switching_regimes(
            Shape(bars=40_000, moves=1), seed=4, regimes=self.REGIMES, stay=0.98
        )

        assert (np.diff(market.regime) != 0).mean() == pytest.approx(0.02, abs=0.003)


class TestNonsense:
    def test_it_is_refused(self) -> None:
        shape = Shape(bars=10)

        with pytest.raises(ValueError, match="at least 1"):
            Shape(bars=0)
        with pytest.raises(ValueError, match="above tick"):
            Shape(bars=10, price=1.0, tick=2.0)
        with pytest.raises(ValueError, match="must not be negative"):
            Shape(bars=10, session_bars=-1)
        with pytest.raises(ValueError, match="volatility"):
            random_walk(shape, seed=1, volatility=-0.1)
        with pytest.raises(ValueError, match="lookback"):
            planted_signal(shape, seed=1, edge=0.1, lookback=0)
        with pytest.raises(ValueError, match="two regimes"):
            switching_regimes(shape, seed=1, regimes=[Regime(0.0, 0.1)])
        with pytest.raises(ValueError, match="probability"):
            switching_regimes(shape, seed=1, regimes=TestSwitchingRegimes.REGIMES, stay=1.5)
