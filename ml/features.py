"""The feature table: what was known at each bar's close, one causal column per name."""

from dataclasses import dataclass

import numpy as np

from ml import indicators
from ml.bars import Bars
from ml.types import FloatMatrix, FloatVector, IntVector

NAMES = (
    "return_1",
    "return_5",
    "return_20",
    "ema20_distance",
    "ema50_distance",
    "rsi14",
    "atr14",
    "atr14_fraction",
    "volatility_20",
    "range_position_20",
    "volume_ratio_20",
)


@dataclass(frozen=True, eq=False)
class Features:
    """T bars by K features; row t uses bars 0 … t and nothing later.

    Attributes:
        time: (T,) open time of the bar, ns UTC; the row is known when that bar closes.
        names: K column names.
        values: (T, K) float64, NaN where too few bars went before.
    """

    time: IntVector
    names: tuple[str, ...]
    values: FloatMatrix

    def column(self, name: str) -> FloatVector:
        """(T,) one feature.

        Raises:
            ValueError: no feature of that name.
        """
        if name not in self.names:
            raise ValueError(f"no feature named {name}; there are {', '.join(self.names)}")
        return self.values[:, self.names.index(name)]


def table(bars: Bars) -> Features:
    """Compute every feature for every bar.

        return_n            close_t / close_{t−n} − 1                              fraction
        ema20_distance      close / ema(close, 20) − 1, and so for 50              fraction
        rsi14               Wilder's index, as ta.rsi                              0 … 100
        atr14               rma of the true range, as ta.atr                       quote per unit
        atr14_fraction      atr14 / close                                          fraction
        volatility_20       sample deviation of 20 log returns, per bar            fraction
        range_position_20   (close − lowest low) / (highest high − lowest low)     0 … 1
        volume_ratio_20     volume / mean of 20, its own included         NaN where there is none

    Args:
        bars: T closed bars; a forming bar must not be among them.

    Returns:
        (T, K) in the order of ``NAMES``.
    """
    close = bars.close
    atr14 = indicators.atr(bars.high, bars.low, close, 14)
    log_return = np.full(len(bars), np.nan)
    log_return[1:] = np.diff(np.log(close))
    usual = indicators.sma(bars.volume, 20)
    columns = (
        _change(close, 1),
        _change(close, 5),
        _change(close, 20),
        close / indicators.ema(close, 20) - 1.0,
        close / indicators.ema(close, 50) - 1.0,
        indicators.rsi(close, 14),
        atr14,
        atr14 / close,
        indicators.deviation(log_return, 20),
        indicators.range_position(bars.high, bars.low, close, 20),
        np.divide(bars.volume, usual, out=np.full(len(bars), np.nan), where=usual > 0.0),
    )
    return Features(time=bars.time, names=NAMES, values=np.column_stack(columns))


def latest(bars: Bars) -> dict[str, float]:
    """The features of the last closed bar: the last row of ``table``, by name.

    Recursive averages reach back to the first bar: a shorter history gives slightly other numbers,
    so give the same bars that the table a model was trained on began with.

    Raises:
        ValueError: no bars.
    """
    if len(bars) == 0:
        raise ValueError("features need at least one closed bar")
    features = table(bars)
    return dict(zip(features.names, features.values[-1].tolist(), strict=True))


def _change(close: FloatVector, bars: int) -> FloatVector:
    change = np.full(close.size, np.nan)
    change[bars:] = close[bars:] / close[:-bars] - 1.0
    return change
